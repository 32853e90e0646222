// SPDX-License-Identifier: Apache-2.0
#include "quality/image.h"

#include "base/check.h"

#include <fmt/format.h>

#include <cmath>

namespace plimsoll::quality {

namespace {

std::size_t pixels_of(int width, int height) {
    CHECK(width >= 0 && height >= 0);
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
}

}  // namespace

Plane::Plane(int columns, int rows)
    : width(columns), height(rows), values(pixels_of(columns, rows)) {}

std::span<float> Plane::row(int y) {
    return {values.data() + pixels_of(width, y), static_cast<std::size_t>(width)};
}

std::span<const float> Plane::row(int y) const {
    return {values.data() + pixels_of(width, y), static_cast<std::size_t>(width)};
}

Image::Image(int columns, int rows) : width(columns), height(rows) {
    for (std::vector<std::uint16_t>& channel : channels) channel.resize(pixels_of(columns, rows));
}

std::span<std::uint16_t> Image::row(int channel, int y) {
    return {channels.at(channel).data() + pixels_of(width, y), static_cast<std::size_t>(width)};
}

std::span<const std::uint16_t> Image::row(int channel, int y) const {
    return {channels.at(channel).data() + pixels_of(width, y), static_cast<std::size_t>(width)};
}

Image image_of_rgb8(std::span<const std::uint8_t> rgb, int width, int height) {
    Image image(width, height);
    CHECK(rgb.size() == image.count() * 3);
    for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < image.count(); ++i)
            image.channels.at(c)[i] = static_cast<std::uint16_t>(rgb[i * 3 + c] * kSamplesPerLevel);
    return image;
}

Plane luma(const Image& image) {
    Plane plane(image.width, image.height);
    for (std::size_t i = 0; i < plane.count(); ++i)
        plane.values[i] = (0.299F * static_cast<float>(image.channels[0][i]) +
                           0.587F * static_cast<float>(image.channels[1][i]) +
                           0.114F * static_cast<float>(image.channels[2][i])) /
                          static_cast<float>(kSamplesPerLevel);
    return plane;
}

Plane whole_luma(const Image& image) {
    Plane plane = luma(image);
    for (float& value : plane.values) value = std::floor(value + 0.5F);
    return plane;
}

Plane halved(const Plane& plane) {
    Plane half(plane.width / 2, plane.height / 2);
    for (int y = 0; y < half.height; ++y) {
        const std::span<const float> above = plane.row(2 * y);
        const std::span<const float> below = plane.row(2 * y + 1);
        const std::span<float> into = half.row(y);
        for (std::size_t x = 0; x < into.size(); ++x)
            into[x] = 0.25F * (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]);
    }
    return half;
}

Image halved(const Image& image) {
    Image half(image.width / 2, image.height / 2);
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < half.height; ++y) {
            const std::span<const std::uint16_t> above = image.row(c, 2 * y);
            const std::span<const std::uint16_t> below = image.row(c, 2 * y + 1);
            const std::span<std::uint16_t> into = half.row(c, y);
            for (std::size_t x = 0; x < into.size(); ++x)
                into[x] = static_cast<std::uint16_t>(
                    (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1] + 2) / 4);
        }
    return half;
}

std::string size_text(int width, int height) {
    return fmt::format("{} x {}", width, height);
}

}  // namespace plimsoll::quality
