// SPDX-License-Identifier: Apache-2.0
//
// Pictures as values: three planes of samples as they would be shown (sRGB, nothing transparent),
// and one plane of floats for what is computed from them. Every measure reads these and no file.
//
// Threads: no shared state.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::quality {

// One value a pixel, rows from the top. Values that stand for brightness run from 0 to 255, as the
// published definitions of the measures have it.
struct Plane {
    int width = 0;
    int height = 0;
    std::vector<float> values;

    Plane() = default;
    Plane(int columns, int rows);

    [[nodiscard]] std::span<float> row(int y);
    [[nodiscard]] std::span<const float> row(int y) const;
    [[nodiscard]] std::size_t count() const { return values.size(); }
};

// 16 bits a sample, so that a 16-bit file keeps what it has; a sample of 8 bits is stored times
// 257, which is exact both ways. 6 bytes a pixel.
inline constexpr int kSamplesPerLevel = 257;  // 65535 / 255

struct Image {
    int width = 0;
    int height = 0;
    std::array<std::vector<std::uint16_t>, 3> channels;  // red, green, blue

    Image() = default;
    Image(int columns, int rows);

    [[nodiscard]] std::span<std::uint16_t> row(int channel, int y);
    [[nodiscard]] std::span<const std::uint16_t> row(int channel, int y) const;
    [[nodiscard]] std::size_t count() const { return channels[0].size(); }
    friend bool operator==(const Image&, const Image&) = default;
};

// An image of 8-bit samples, red, green and blue in turn.
[[nodiscard]] Image image_of_rgb8(std::span<const std::uint8_t> rgb, int width, int height);

// Y = 0.299 R + 0.587 G + 0.114 B (BT.601, which the measures' papers use), 0 to 255.
[[nodiscard]] Plane luma(const Image& image);
// The same, rounded to whole levels as MATLAB's rgb2gray gives: the statistics of natural scenes
// are defined on those.
[[nodiscard]] Plane whole_luma(const Image& image);

// The mean of 2 x 2 pixels; an odd last row or column is dropped.
[[nodiscard]] Plane halved(const Plane& plane);
[[nodiscard]] Image halved(const Image& image);

// "1024 x 768": how a size is said in every message.
[[nodiscard]] std::string size_text(int width, int height);

}  // namespace plimsoll::quality
