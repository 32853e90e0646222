// SPDX-License-Identifier: Apache-2.0
#include "quality/decode/raster.h"

#include <fmt/format.h>
#include <webp/decode.h>

#include <string_view>

namespace plimsoll::quality {

namespace {

std::uint32_t little_endian(std::span<const std::byte> bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
        value |= std::to_integer<std::uint32_t>(bytes[at + i]) << (8 * i);
    return value;
}

// The body of a chunk of the RIFF file, empty when it has none. (The library for that,
// libwebpdemux, would be a second one to link for eight lines.)
std::span<const std::byte> find_chunk(std::span<const std::byte> bytes, std::string_view name) {
    constexpr std::size_t kFileHeader = 12;
    constexpr std::size_t kChunkHeader = 8;
    for (std::size_t at = kFileHeader; at + kChunkHeader <= bytes.size();) {
        const std::size_t size = little_endian(bytes, at + 4);
        if (size > bytes.size() - at - kChunkHeader) return {};
        if (std::string_view(reinterpret_cast<const char*>(&bytes[at]), 4) == name)
            return bytes.subspan(at + kChunkHeader, size);
        at += kChunkHeader + size + size % 2;
    }
    return {};
}

}  // namespace

Result<Raster> read_webp(std::span<const std::byte> bytes, const DecodeLimits& limits) {
    const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    WebPBitstreamFeatures features{};
    const VP8StatusCode status = WebPGetFeatures(data, bytes.size(), &features);
    if (status == VP8_STATUS_NOT_ENOUGH_DATA)
        return fail(Errc::Corrupt, fmt::format("the WebP is cut off after {} bytes", bytes.size()));
    if (status != VP8_STATUS_OK) return fail(Errc::Corrupt, "the WebP's header is damaged");
    if (features.has_animation != 0)
        return fail(Errc::InvalidInput, "an animated WebP has no one picture: save a frame of it");
    TRY_DO(check_size(static_cast<std::uint64_t>(features.width),
                      static_cast<std::uint64_t>(features.height), limits));
    Raster raster;
    raster.width = features.width;
    raster.height = features.height;
    raster.has_alpha = features.has_alpha != 0;
    const int row_bytes = features.width * raster.channels();
    raster.bytes.resize(static_cast<std::size_t>(row_bytes) *
                        static_cast<std::size_t>(features.height));
    const auto decode = raster.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
    if (decode(data, bytes.size(), raster.bytes.data(), raster.bytes.size(), row_bytes) == nullptr)
        return fail(Errc::Corrupt,
                    fmt::format("the WebP is damaged, or cut off after {} bytes", bytes.size()));
    if (const auto profile = find_chunk(bytes, "ICCP"); profile.size() <= kProfileBytesMax)
        raster.profile.assign(profile.begin(), profile.end());
    if (const auto exif = find_chunk(bytes, "EXIF"); !exif.empty()) {
        // Some writers keep JPEG's prefix.
        constexpr std::string_view kPrefix("Exif\0\0", 6);
        const std::string_view text(reinterpret_cast<const char*>(exif.data()), exif.size());
        raster.orientation =
            exif_orientation(exif.subspan(text.starts_with(kPrefix) ? kPrefix.size() : 0));
    }
    return raster;
}

}  // namespace plimsoll::quality
