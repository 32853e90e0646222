// SPDX-License-Identifier: Apache-2.0
#include "service/media.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace plimsoll::service {

namespace {

constexpr std::size_t kHeadBytes = 32;
constexpr std::uint64_t kSideMax = 1 << 16;  // pixels: far above what ComfyUI's own nodes accept
constexpr std::uint64_t kFramesMax = 1 << 14;
constexpr double kSecondsMax = 86'400;  // chosen: a day
constexpr int kSegmentsMax = 1024;      // chosen: far above what JPEGs carry before their size

using Head = std::array<std::byte, kHeadBytes>;

std::uint64_t byte_at(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<std::uint64_t>(bytes[at]);
}
std::uint64_t big_endian(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8U | byte_at(bytes, at + i);
    return value;
}
std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = count; i-- > 0;) value = value << 8U | byte_at(bytes, at + i);
    return value;
}
bool has(std::span<const std::byte> bytes, std::size_t at, std::string_view text) {
    return std::ranges::equal(text, bytes.subspan(at, text.size()), {},
                              [](char c) { return static_cast<std::byte>(c); });
}

Result<memory::MediaSize> sized(const ByteSource& source, std::uint64_t width,
                                std::uint64_t height) {
    if (width == 0 || height == 0)
        return fail(Errc::Corrupt, fmt::format("{}: the picture has no pixels", source.name()));
    if (width > kSideMax || height > kSideMax)
        return fail(Errc::LimitExceeded, fmt::format("{}: {} x {} pixels, limit {} a side",
                                                     source.name(), width, height, kSideMax));
    return memory::MediaSize{.width = static_cast<int>(width), .height = static_cast<int>(height)};
}

Result<memory::MediaSize> read_jpeg(ByteSource& source) {
    constexpr std::uint64_t kMarkerBytes = 4;  // 0xFF, its number, the segment's length
    std::uint64_t at = 2;
    for (int i = 0; i < kSegmentsMax; ++i) {
        std::array<std::byte, 9> segment{};
        const std::uint64_t left = source.size_bytes() - std::min(at, source.size_bytes());
        if (left < segment.size()) break;
        TRY_DO(source.read_at(at, segment));
        if (byte_at(segment, 0) != 0xFF) break;
        const std::uint64_t marker = byte_at(segment, 1);
        if (marker == 0xFF) {  // padding
            ++at;
            continue;
        }
        const bool alone = marker == 0x01 || (marker >= 0xD0 && marker <= 0xD9);
        if (alone) {
            at += 2;
            continue;
        }
        // A frame's header; of the same range three are tables.
        const bool frame =
            marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
        if (frame) return sized(source, big_endian(segment, 7, 2), big_endian(segment, 5, 2));
        const std::uint64_t length = big_endian(segment, 2, 2);
        if (length < 2) break;
        at += kMarkerBytes - 2 + length;
    }
    return fail(Errc::Corrupt, fmt::format("{}: the JPEG says no size", source.name()));
}

Result<memory::MediaSize> read_webp(const ByteSource& source, const Head& head) {
    if (has(head, 12, "VP8X"))
        return sized(source, little_endian(head, 24, 3) + 1, little_endian(head, 27, 3) + 1);
    if (has(head, 12, "VP8L")) {
        const std::uint64_t bits = little_endian(head, 21, 4);
        return sized(source, (bits & 0x3FFFU) + 1, (bits >> 14U & 0x3FFFU) + 1);
    }
    if (has(head, 12, "VP8 "))
        return sized(source, little_endian(head, 26, 2) & 0x3FFFU,
                     little_endian(head, 28, 2) & 0x3FFFU);
    return fail(Errc::Corrupt, fmt::format("{}: the WebP says no size", source.name()));
}

std::optional<double> whole(std::string_view text, double max) {
    const auto number = parse_integer(text);
    if (!number || *number < 1 || static_cast<double>(*number) > max) return std::nullopt;
    return static_cast<double>(*number);
}

// "832x480", "832x480x81", "832x480x81@16", "30s".
std::optional<memory::MediaSize> spoken_size(std::string_view text) {
    memory::MediaSize size;
    if (text.ends_with('s')) {
        const auto seconds = parse_number(text.substr(0, text.size() - 1));
        if (!seconds || *seconds <= 0 || *seconds > kSecondsMax) return std::nullopt;
        size.seconds = *seconds;
        return size;
    }
    const std::size_t mark = text.find('@');
    if (mark != std::string_view::npos) {
        const auto rate = parse_number(text.substr(mark + 1));
        constexpr double kRateMax = 1000;
        if (!rate || *rate <= 0 || *rate > kRateMax) return std::nullopt;
        size.frames_per_second = *rate;
    }
    const std::vector<std::string_view> sides = split(text.substr(0, mark), 'x');
    if (sides.size() < 2 || sides.size() > 3) return std::nullopt;
    const auto width = whole(sides[0], kSideMax);
    const auto height = whole(sides[1], kSideMax);
    const auto frames = sides.size() == 3 ? whole(sides[2], kFramesMax) : 1.0;
    if (!width || !height || !frames) return std::nullopt;
    size.width = static_cast<int>(*width);
    size.height = static_cast<int>(*height);
    size.frames = static_cast<int>(*frames);
    if (size.frames_per_second > 0) size.seconds = *frames / size.frames_per_second;
    return size;
}

}  // namespace

Result<memory::MediaSize> read_picture_size(ByteSource& source) {
    Head head{};
    const std::size_t count = std::min<std::uint64_t>(head.size(), source.size_bytes());
    TRY_DO(source.read_at(0, std::span(head).first(count)));
    if (has(head, 0, "\x89PNG\r\n\x1a\n") && has(head, 12, "IHDR"))
        return sized(source, big_endian(head, 16, 4), big_endian(head, 20, 4));
    if (has(head, 0, "\xFF\xD8")) return read_jpeg(source);
    if (has(head, 0, "RIFF") && has(head, 8, "WEBP")) return read_webp(source, head);
    if (has(head, 0, "GIF8"))
        return sized(source, little_endian(head, 6, 2), little_endian(head, 8, 2));
    if (has(head, 0, "BM")) {
        // Rows from the top down are said by a height below zero.
        const auto height = static_cast<std::int32_t>(little_endian(head, 22, 4));
        return sized(source, little_endian(head, 18, 4),
                     static_cast<std::uint64_t>(std::abs(std::int64_t{height})));
    }
    return fail(Errc::Corrupt, fmt::format("{}: no PNG, JPEG, WebP, GIF or BMP", source.name()));
}

Result<memory::MediaSize> read_picture_size(const std::filesystem::path& path) {
    TRY_ASSIGN(const std::unique_ptr<ByteSource> source, open_file(path));
    return read_picture_size(*source);
}

Result<memory::MediaSize> parse_media_size(std::string_view text) {
    if (const auto size = spoken_size(text)) return *size;
    return fail(
        Errc::InvalidInput,
        fmt::format("'{}' is no size like 832x1216, 832x480x81@16 or 30s", text.substr(0, 80)));
}

Result<std::pair<std::string, memory::MediaSize>> parse_media(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos || equals + 1 == text.size())
        return fail(Errc::InvalidInput,
                    fmt::format("'{}' is not NAME=WxH, NAME=WxHxFRAMES, NAME=30s or NAME=FILE",
                                text.substr(0, 80)));
    std::string name(text.substr(0, equals));
    const std::string_view value = text.substr(equals + 1);
    if (const auto size = spoken_size(value)) return std::pair(std::move(name), *size);
    std::error_code error;
    const std::filesystem::path path(value);
    if (!std::filesystem::is_regular_file(path, error))
        return fail(Errc::InvalidInput,
                    fmt::format("'{}' is neither a size (832x1216, 832x480x81, 30s) nor a file",
                                value.substr(0, 80)));
    TRY_ASSIGN(const memory::MediaSize size, read_picture_size(path));
    return std::pair(std::move(name), size);
}

}  // namespace plimsoll::service
