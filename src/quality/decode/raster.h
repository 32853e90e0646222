// SPDX-License-Identifier: Apache-2.0
//
// What the readers of the formats hand over: samples as they lie in the file, before colour profile
// and transparency.
#pragma once
#include "base/error.h"
#include "quality/decode/decode.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::quality {

enum class ColourModel : std::uint8_t { Grey, Rgb, Cmyk };

// PNG's description of colours without a profile: gamma and primaries (gAMA, cHRM).
struct Calibration {
    double gamma = 0;  // the file's exponent, 0.45455 for most
    struct Point {
        double x = 0;
        double y = 0;
    };
    struct Primaries {
        Point white, red, green, blue;
    };
    std::optional<Primaries> primaries;
};

struct Raster {
    int width = 0;
    int height = 0;
    ColourModel model = ColourModel::Rgb;
    bool has_alpha = false;            // after the colours
    int file_bits = 8;                 // a sample, as the file has them
    bool is_wide = false;              // samples hold 16 bits here, otherwise 8
    bool is_inverted = false;          // CMYK as Adobe writes it: 255 is no ink
    int orientation = 1;               // Exif's, 1 to 8
    std::vector<std::uint8_t> bytes;   // 8 bits a sample
    std::vector<std::uint16_t> words;  // or 16
    std::vector<std::byte> profile;    // ICC
    std::optional<Calibration> calibration;

    [[nodiscard]] int colours() const {
        return model == ColourModel::Grey ? 1 : model == ColourModel::Rgb ? 3 : 4;
    }
    [[nodiscard]] int channels() const { return colours() + (has_alpha ? 1 : 0); }
};

inline constexpr std::size_t kProfileBytesMax = std::size_t{8}
                                                << 20;  // chosen: large ones have 2 MB

// LimitExceeded with the numbers, Corrupt for a side of 0.
[[nodiscard]] Result<void> check_size(std::uint64_t width, std::uint64_t height,
                                      const DecodeLimits& limits);

[[nodiscard]] Result<Raster> read_png(std::span<const std::byte> bytes, const DecodeLimits& limits);
[[nodiscard]] Result<Raster> read_jpeg(std::span<const std::byte> bytes,
                                       const DecodeLimits& limits);
[[nodiscard]] Result<Raster> read_webp(std::span<const std::byte> bytes,
                                       const DecodeLimits& limits);

// Exif's orientation in a TIFF block, 1 when it has none or cannot be read.
[[nodiscard]] int exif_orientation(std::span<const std::byte> tiff);

}  // namespace plimsoll::quality
