// SPDX-License-Identifier: Apache-2.0
#include "quality/decode/decode.h"

#include "base/check.h"
#include "quality/decode/colour_profile.h"
#include "quality/decode/raster.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace plimsoll::quality {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The first bytes for a message: `GIF89a`, `ff 00 12`.
std::string beginning_of(std::string_view text) {
    const std::string_view first = text.substr(0, 8);
    const bool is_text = std::ranges::all_of(first, [](char c) { return c >= ' ' && c <= '~'; });
    if (is_text) return fmt::format("'{}'", first);
    std::string out;
    for (const char c : first)
        out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<unsigned char>(c));
    return out;
}

Result<Raster> read_raster(FileFormat format, std::span<const std::byte> bytes,
                           const DecodeLimits& limits) {
    switch (format) {
        case FileFormat::Png:
            return read_png(bytes, limits);
        case FileFormat::Jpeg:
            return read_jpeg(bytes, limits);
        case FileFormat::Webp:
            return read_webp(bytes, limits);
    }
    CHECK(false);
}

// One row of samples on its way to sRGB.
struct Row {
    std::vector<std::uint16_t> colours;
    std::vector<std::uint16_t> alpha;
    std::vector<std::uint16_t> rgb;
};

void take_row(const Raster& raster, int y, Row& row) {
    const auto channels = static_cast<std::size_t>(raster.channels());
    const auto colours = static_cast<std::size_t>(raster.colours());
    const auto width = static_cast<std::size_t>(raster.width);
    const std::size_t start = static_cast<std::size_t>(y) * width * channels;
    for (std::size_t x = 0; x < width; ++x) {
        for (std::size_t c = 0; c < channels; ++c) {
            const std::size_t at = start + x * channels + c;
            auto sample = static_cast<std::uint16_t>(
                raster.is_wide ? raster.words[at] : raster.bytes[at] * kSamplesPerLevel);
            if (raster.is_inverted && raster.model == ColourModel::Cmyk) sample = ~sample;
            (c < colours ? row.colours[x * colours + c] : row.alpha[x]) = sample;
        }
    }
}

void to_rgb(const Raster& raster, const ColourTransform* transform, Row& row) {
    const auto width = static_cast<std::size_t>(raster.width);
    if (transform != nullptr)
        transform->convert(row.colours, row.rgb, width);
    else if (raster.model == ColourModel::Grey)
        for (std::size_t x = 0; x < width; ++x) std::fill_n(&row.rgb[x * 3], 3, row.colours[x]);
    else
        row.rgb.swap(row.colours);
}

std::uint16_t over_backdrop(std::uint32_t sample, std::uint32_t alpha) {
    constexpr std::uint32_t kBackdrop = kBackdropLevel * kSamplesPerLevel;
    constexpr std::uint32_t kOpaque = 65535;
    const std::uint64_t sum =
        std::uint64_t{sample} * alpha + std::uint64_t{kBackdrop} * (kOpaque - alpha);
    return static_cast<std::uint16_t>((sum + kOpaque / 2) / kOpaque);
}

// Pixels that were not opaque.
std::uint64_t put_row(const Raster& raster, const Row& row, int y, Image& into) {
    std::uint64_t transparent = 0;
    for (std::size_t x = 0; x < static_cast<std::size_t>(raster.width); ++x) {
        const std::uint32_t alpha = raster.has_alpha ? row.alpha[x] : 65535;
        transparent += alpha == 65535 ? 0 : 1;
        for (int c = 0; c < 3; ++c) {
            const std::uint16_t sample = row.rgb[x * 3 + static_cast<std::size_t>(c)];
            into.row(c, y)[x] = alpha == 65535 ? sample : over_backdrop(sample, alpha);
        }
    }
    return transparent;
}

// As Exif's orientation says the picture is to be seen.
Image turned(const Image& image, int orientation) {
    const bool is_swapped = orientation >= 5;
    Image out(is_swapped ? image.height : image.width, is_swapped ? image.width : image.height);
    const int right = image.width - 1;
    const int bottom = image.height - 1;
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < out.height; ++y)
            for (int x = 0; x < out.width; ++x) {
                const int across = is_swapped ? y : x;
                const int down = is_swapped ? x : y;
                const bool from_right = orientation == 2 || orientation == 3 || orientation >= 7;
                const bool from_bottom =
                    orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
                out.row(c, y)[static_cast<std::size_t>(x)] = image.row(
                    c, from_bottom
                           ? bottom - down
                           : down)[static_cast<std::size_t>(from_right ? right - across : across)];
            }
    return out;
}

Result<Decoded> finish(const Raster& raster, FileFormat format) {
    Decoded decoded;
    decoded.format = format;
    decoded.bits = raster.file_bits;
    decoded.is_grey = raster.model == ColourModel::Grey;
    Result<std::unique_ptr<ColourTransform>> transform = ColourTransform::create(raster);
    const bool is_converted = transform && *transform != nullptr;
    if (raster.model == ColourModel::Cmyk && !is_converted)
        return fail(Errc::InvalidInput,
                    "a CMYK picture without a usable colour profile: what its inks look like is "
                    "unknown, save it as RGB");
    if (!transform) decoded.notes.push_back(transform.error().message + ", it is taken as sRGB");
    if (is_converted) {
        decoded.profile = (*transform)->name();
        decoded.notes.push_back(fmt::format("converted to sRGB from {}", decoded.profile));
    }
    decoded.image = Image(raster.width, raster.height);
    const auto width = static_cast<std::size_t>(raster.width);
    Row row{
        .colours = std::vector<std::uint16_t>(width * static_cast<std::size_t>(raster.colours())),
        .alpha = std::vector<std::uint16_t>(width),
        .rgb = std::vector<std::uint16_t>(width * 3)};
    std::uint64_t transparent = 0;
    for (int y = 0; y < raster.height; ++y) {
        take_row(raster, y, row);
        to_rgb(raster, is_converted ? transform->get() : nullptr, row);
        transparent += put_row(raster, row, y, decoded.image);
    }
    decoded.transparent_share =
        static_cast<double>(transparent) / static_cast<double>(decoded.image.count());
    if (transparent > 0) decoded.notes.emplace_back("transparent pixels are laid over middle grey");
    if (raster.orientation != 1) {
        decoded.image = turned(decoded.image, raster.orientation);
        decoded.notes.emplace_back("turned as its orientation says");
    }
    return decoded;
}

}  // namespace

std::string_view name_of(FileFormat format) {
    switch (format) {
        case FileFormat::Png:
            return "PNG";
        case FileFormat::Jpeg:
            return "JPEG";
        case FileFormat::Webp:
            return "WebP";
    }
    CHECK(false);
}

Result<FileFormat> detect_format(std::span<const std::byte> bytes) {
    const std::string_view text = text_of(bytes);
    if (text.starts_with("\x89PNG\r\n\x1a\n")) return FileFormat::Png;
    if (text.starts_with("\xFF\xD8\xFF")) return FileFormat::Jpeg;
    if (text.starts_with("RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP")
        return FileFormat::Webp;
    if (text.empty()) return fail(Errc::InvalidInput, "the file is empty");
    return fail(
        Errc::InvalidInput,
        fmt::format("neither PNG, JPEG nor WebP: the file begins with {}", beginning_of(text)));
}

Result<void> check_size(std::uint64_t width, std::uint64_t height, const DecodeLimits& limits) {
    if (width == 0 || height == 0)
        return fail(Errc::Corrupt, fmt::format("a picture of {} x {} pixels", width, height));
    const auto side_max = static_cast<std::uint64_t>(limits.side_max);
    if (width > side_max || height > side_max)
        return fail(Errc::LimitExceeded, fmt::format("a picture of {} x {} pixels, limit {} a side",
                                                     width, height, side_max));
    if (width * height > limits.pixels_max)
        return fail(Errc::LimitExceeded,
                    fmt::format("a picture of {} x {} is {} pixels, limit {}", width, height,
                                width * height, limits.pixels_max));
    return {};
}

int exif_orientation(std::span<const std::byte> tiff) {
    const bool is_little = text_of(tiff).starts_with("II");
    if (tiff.size() < 8 || (!is_little && !text_of(tiff).starts_with("MM"))) return 1;
    // 0 beyond the end: no tag, no entries.
    const auto number = [&](std::size_t at, std::size_t size) {
        std::uint32_t value = 0;
        if (at > tiff.size() || size > tiff.size() - at) return value;
        for (std::size_t i = 0; i < size; ++i)
            value |= std::to_integer<std::uint32_t>(tiff[at + i])
                     << (8 * (is_little ? i : size - 1 - i));
        return value;
    };
    constexpr std::uint32_t kOrientation = 0x0112;
    constexpr std::uint32_t kShort = 3;
    const std::size_t directory = number(4, 4);
    const std::uint32_t entries = number(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t at = directory + 2 + 12 * i;
        if (at + 12 > tiff.size()) return 1;
        if (number(at, 2) != kOrientation || number(at + 2, 2) != kShort) continue;
        const std::uint32_t value = number(at + 8, 2);
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

Result<Decoded> decode_image(std::span<const std::byte> bytes, const DecodeLimits& limits) {
    TRY_ASSIGN(const FileFormat format, detect_format(bytes));
    TRY_ASSIGN(const Raster raster, read_raster(format, bytes, limits));
    return finish(raster, format);
}

}  // namespace plimsoll::quality
