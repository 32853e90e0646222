// SPDX-License-Identifier: Apache-2.0
//
// The three pictures of 256 x 256 that the reference's test vectors belong to, made by its recipe,
// and what is done to pictures in the tests: noise, blur, shift. For tests and benchmarks.
#pragma once
#include "quality/image.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <vector>

namespace plimsoll::quality::test {

inline constexpr int kVectorSide = 256;

inline std::size_t index_of(int x, int y, int width) {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
           static_cast<std::size_t>(x);
}

// Whole levels of three channels, as the recipe is written.
struct Levels {
    int width = 0;
    int height = 0;
    std::vector<int> rgb;

    [[nodiscard]] int& at(int x, int y, int c) {
        return rgb[index_of(x, y, width) * 3 + static_cast<std::size_t>(c)];
    }
    [[nodiscard]] int at(int x, int y, int c) const {
        return const_cast<Levels*>(this)->at(x, y, c);
    }
    [[nodiscard]] Image image() const {
        std::vector<std::uint8_t> bytes(rgb.size());
        for (std::size_t i = 0; i < rgb.size(); ++i)
            bytes[i] = static_cast<std::uint8_t>(std::clamp(rgb[i], 0, 255));
        return image_of_rgb8(bytes, width, height);
    }
};

// The linear congruential generator of the recipe; uniform() and normal() for other noise.
class Noise {
  public:
    explicit Noise(std::uint32_t seed) : state_(seed) {}
    int next() {
        state_ = state_ * 1664525U + 1013904223U;
        return static_cast<int>(state_ >> 24U);
    }
    double uniform() {
        const int high = next();
        return (high * 256 + next() + 0.5) / 65536.0;
    }
    double normal() {
        const double radius = std::sqrt(-2 * std::log(uniform()));
        return radius * std::cos(2 * std::numbers::pi * uniform());
    }

  private:
    std::uint32_t state_;
};

inline int triangle(int t) {
    return std::min(255, std::abs(((t % 512) + 512) % 512 - 256));
}

// A: waves with a little noise.
inline Levels picture_a(int side = kVectorSide) {
    Levels a{side, side, std::vector<int>(index_of(0, side, side) * 3)};
    Noise noise(1);
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
            const int k = noise.next() % 9 - 4;
            a.at(x, y, 0) = std::clamp(triangle(3 * x + 5 * y) + k, 0, 255);
            a.at(x, y, 1) = std::clamp(triangle(2 * x + y + 64) + k, 0, 255);
            a.at(x, y, 2) = std::clamp(triangle(x - 4 * y + 1000) + k, 0, 255);
        }
    return a;
}

// B: A with more noise.
inline Levels picture_b(int side = kVectorSide) {
    Levels b = picture_a(side);
    Noise noise(2);
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
            const int k = noise.next() % 25 - 12;
            for (int c = 0; c < 3; ++c) b.at(x, y, c) = std::clamp(b.at(x, y, c) + k, 0, 255);
        }
    return b;
}

// C: A blurred by a box of 3 x 3.
inline Levels picture_c(int side = kVectorSide) {
    const Levels a = picture_a(side);
    Levels out = a;
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x)
            for (int c = 0; c < 3; ++c) {
                int sum = 0;
                for (int dy = -1; dy <= 1; ++dy)
                    for (int dx = -1; dx <= 1; ++dx)
                        sum += a.at(std::clamp(x + dx, 0, side - 1),
                                    std::clamp(y + dy, 0, side - 1), c);
                out.at(x, y, c) = sum / 9;
            }
    return out;
}

// Something like a photograph: shapes with edges, shading and texture at every scale, from a seed.
inline Levels scene(int side, std::uint32_t seed) {
    Levels out{side, side, std::vector<int>(index_of(0, side, side) * 3)};
    Noise noise(seed);
    struct Disc {
        double x, y, radius, red, green, blue, tilt;
    };
    std::vector<Disc> discs(160);
    for (std::size_t i = 0; i < discs.size(); ++i) {
        // Radii as of things at all distances: most are small.
        const double radius =
            side * 0.5 / (1 + 40.0 * static_cast<double>(i) / 160 * noise.uniform());
        discs[i] = {
            noise.uniform() * side,     noise.uniform() * side,     radius,
            30 + 190 * noise.uniform(), 30 + 190 * noise.uniform(), 30 + 190 * noise.uniform(),
            noise.uniform() - 0.5};
    }
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
            double r = 90 + 60.0 * y / side, g = 110, b = 150 - 50.0 * y / side;
            for (const Disc& disc : discs) {
                const double dx = x - disc.x, dy = y - disc.y;
                if (dx * dx + dy * dy > disc.radius * disc.radius) continue;
                const double shade = 1 + disc.tilt * dx / disc.radius;
                r = disc.red * shade, g = disc.green * shade, b = disc.blue * shade;
            }
            const double grain = noise.normal();
            out.at(x, y, 0) = std::clamp(static_cast<int>(std::lround(r + grain)), 0, 255);
            out.at(x, y, 1) = std::clamp(static_cast<int>(std::lround(g + grain)), 0, 255);
            out.at(x, y, 2) = std::clamp(static_cast<int>(std::lround(b + grain)), 0, 255);
        }
    return out;
}

// Texture at every scale on top, each octave as strong as its length: a power that falls with the
// square of the frequency, as natural pictures have it.
inline Levels with_texture(Levels from, double strength, std::uint32_t seed) {
    Noise noise(seed);
    std::vector<double> texture(index_of(0, from.height, from.width));
    for (int period = 1; period <= 32; period *= 2) {
        const int columns = from.width / period + 2;
        std::vector<double> knots(index_of(0, from.height / period + 2, columns));
        for (double& knot : knots) knot = noise.normal();
        for (int y = 0; y < from.height; ++y)
            for (int x = 0; x < from.width; ++x) {
                const double fx = static_cast<double>(x % period) / period;
                const double fy = static_cast<double>(y % period) / period;
                const std::size_t at = index_of(x / period, y / period, columns);
                const auto below = at + static_cast<std::size_t>(columns);
                texture[index_of(x, y, from.width)] +=
                    period * ((knots[at] * (1 - fx) + knots[at + 1] * fx) * (1 - fy) +
                              (knots[below] * (1 - fx) + knots[below + 1] * fx) * fy);
            }
    }
    for (std::size_t i = 0; i < texture.size(); ++i)
        for (std::size_t c = 0; c < 3; ++c)
            from.rgb[i * 3 + c] = std::clamp(
                from.rgb[i * 3 + c] + static_cast<int>(std::lround(strength * texture[i])), 0, 255);
    return from;
}

inline Levels with_noise(Levels from, double sigma, std::uint32_t seed = 7) {
    Noise noise(seed);
    for (int& level : from.rgb)
        level = std::clamp(static_cast<int>(std::lround(level + sigma * noise.normal())), 0, 255);
    return from;
}

inline Levels blurred(const Levels& from, double sigma) {
    const int reach = static_cast<int>(std::ceil(3 * sigma));
    std::vector<double> kernel;
    double sum = 0;
    for (int i = -reach; i <= reach; ++i) {
        kernel.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
        sum += kernel.back();
    }
    std::vector<double> across(from.rgb.size());
    Levels out = from;
    for (const bool second : {false, true})
        for (int y = 0; y < from.height; ++y)
            for (int x = 0; x < from.width; ++x)
                for (int c = 0; c < 3; ++c) {
                    double value = 0;
                    for (int i = -reach; i <= reach; ++i) {
                        const int sx = second ? x : std::clamp(x + i, 0, from.width - 1);
                        const int sy = second ? std::clamp(y + i, 0, from.height - 1) : y;
                        const std::size_t at =
                            index_of(sx, sy, from.width) * 3 + static_cast<std::size_t>(c);
                        value +=
                            kernel[static_cast<std::size_t>(i) + static_cast<std::size_t>(reach)] /
                            sum * (second ? across[at] : from.rgb[at]);
                    }
                    if (second)
                        out.at(x, y, c) = std::clamp(static_cast<int>(std::lround(value)), 0, 255);
                    else
                        across[index_of(x, y, from.width) * 3 + static_cast<std::size_t>(c)] =
                            value;
                }
    return out;
}

// Chroma away from grey and contrast about the middle: what too high a CFG does.
inline Levels burnt(Levels from, double saturation, double contrast) {
    for (std::size_t i = 0; i + 2 < from.rgb.size(); i += 3) {
        const double grey = 0.299 * from.rgb[i] + 0.587 * from.rgb[i + 1] + 0.114 * from.rgb[i + 2];
        for (std::size_t c = 0; c < 3; ++c) {
            const double strong = grey + saturation * (from.rgb[i + c] - grey);
            from.rgb[i + c] = std::clamp(
                static_cast<int>(std::lround(127.5 + contrast * (strong - 127.5))), 0, 255);
        }
    }
    return from;
}

// A step of `levels` up and down at every `period` pixels, as a decoder's grid leaves it.
inline Levels with_grid(Levels from, int period, int levels) {
    for (int y = 0; y < from.height; ++y)
        for (int x = 0; x < from.width; ++x)
            for (int c = 0; c < 3; ++c) {
                const int sign = (x / period + y / period) % 2 == 0 ? 1 : -1;
                from.at(x, y, c) = std::clamp(from.at(x, y, c) + sign * levels, 0, 255);
            }
    return from;
}

inline Levels shifted(const Levels& from, int pixels) {
    Levels out = from;
    for (int y = 0; y < from.height; ++y)
        for (int x = 0; x < from.width; ++x)
            for (int c = 0; c < 3; ++c) out.at(x, y, c) = from.at(std::max(0, x - pixels), y, c);
    return out;
}

}  // namespace plimsoll::quality::test
