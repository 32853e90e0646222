// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/colour.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

namespace plimsoll::quality {

namespace {

constexpr int kSamples = 65536;

// sRGB's curve (IEC 61966-2-1) for every sample of 16 bits.
const std::vector<float>& linear_light() {
    static const std::vector<float> table = [] {
        std::vector<float> curve(kSamples);
        for (int i = 0; i < kSamples; ++i) {
            const double v = i / 65535.0;
            curve[static_cast<std::size_t>(i)] =
                static_cast<float>(v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
        }
        return curve;
    }();
    return table;
}

// The cube root of 0.0088 to 1.1: a guess from the exponent's third, then Newton's step twice.
// Within 1.2e-6 of std::cbrt (every float tried), which would be a call for each sample.
inline float cube_root(float x) {
    float root = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) / 3 + 0x2A514067U);
    root = (2 * root + x / (root * root)) * (1.0F / 3);
    root = (2 * root + x / (root * root)) * (1.0F / 3);
    return root;
}

// CIELAB's f.
inline float lab_curve(float x) {
    constexpr float kKnee = 216.0F / 24389;
    constexpr float kSlope = 24389.0F / 27;
    const float curve = cube_root(std::max(x, kKnee));
    return x > kKnee ? curve : (kSlope * x + 16) / 116;
}

struct LinearRow {
    std::array<std::vector<float>, 3> channels;
    std::vector<float> chroma;
};

// sRGB's primaries and white (D65), by the white: X, Y and Z run from 0 to 1.
void take_chroma(LinearRow& row) {
    const float* const red = row.channels[0].data();
    const float* const green = row.channels[1].data();
    const float* const blue = row.channels[2].data();
    float* const into = row.chroma.data();
    for (std::size_t i = 0; i < row.chroma.size(); ++i) {
        const float x =
            (0.4124564F * red[i] + 0.3575761F * green[i] + 0.1804375F * blue[i]) / 0.95047F;
        const float y = 0.2126729F * red[i] + 0.7151522F * green[i] + 0.0721750F * blue[i];
        const float z =
            (0.0193339F * red[i] + 0.1191920F * green[i] + 0.9503041F * blue[i]) / 1.08883F;
        const float a = 500 * (lab_curve(x) - lab_curve(y));
        const float b = 200 * (lab_curve(y) - lab_curve(z));
        into[i] = std::sqrt(a * a + b * b);
    }
}

// Chroma in steps of 1/64; sRGB's strongest is blue's 134.
class ChromaHistogram {
  public:
    void add(std::span<const float> chroma) {
        for (const float value : chroma)
            ++counts_.at(std::min(kBins - 1, static_cast<std::size_t>(value * kBinsPerUnit)));
    }
    [[nodiscard]] double percentile95() const {
        std::uint64_t all = 0;
        for (const std::uint32_t count : counts_) all += count;
        const std::uint64_t wanted = all - all / 20;
        std::uint64_t below = 0;
        for (std::size_t bin = 0; bin < kBins; ++bin) {
            below += counts_.at(bin);
            if (below >= wanted) return (static_cast<double>(bin) + 0.5) / double{kBinsPerUnit};
        }
        return 0;
    }

  private:
    static constexpr float kBinsPerUnit = 64;
    static constexpr std::size_t kBins = 192 * 64;
    std::array<std::uint32_t, kBins> counts_{};
};

struct Row {
    const std::uint16_t* red;
    const std::uint16_t* green;
    const std::uint16_t* blue;
    std::size_t width;
};

struct Sums {
    std::uint64_t clipped = 0;
    std::uint64_t saturated = 0;
    double saturation = 0;
    double red_green = 0;
    double red_green_squares = 0;
    double yellow_blue = 0;
    double yellow_blue_squares = 0;
};

// Level 1 and 254 in samples: from there to the end a channel may have been cut off. The dark end
// is open and the bright one is not, as in the reference's vectors.
constexpr int kDarkBelow = 1 * kSamplesPerLevel;
constexpr int kBrightFrom = 254 * kSamplesPerLevel;

void count_pixels(const Row& row, Sums& sums) {
#pragma clang fp reassociate(on)
    int clipped = 0;
    int saturated = 0;
    float saturation = 0;
    for (std::size_t x = 0; x < row.width; ++x) {
        const int r = row.red[x];
        const int g = row.green[x];
        const int b = row.blue[x];
        const int most = std::max(std::max(r, g), b);
        const int least = std::min(std::min(r, g), b);
        clipped += static_cast<int>(least < kDarkBelow) | static_cast<int>(most >= kBrightFrom);
        // S = (most - least) / most > 0.95 and V = most / 65535 > 0.3, in whole numbers.
        saturated += static_cast<int>(20 * least < most) & static_cast<int>(most > 3 * 65535 / 10);
        saturation += static_cast<float>(most - least) / static_cast<float>(std::max(most, 1));
    }
    sums.clipped += static_cast<std::uint64_t>(clipped);
    sums.saturated += static_cast<std::uint64_t>(saturated);
    sums.saturation += static_cast<double>(saturation);
}

void sum_opponents(const Row& row, Sums& sums) {
#pragma clang fp reassociate(on)
    constexpr float kLevel = 1.0F / kSamplesPerLevel;
    float red_green = 0;
    float red_green_squares = 0;
    float yellow_blue = 0;
    float yellow_blue_squares = 0;
    for (std::size_t x = 0; x < row.width; ++x) {
        const float r = static_cast<float>(row.red[x]) * kLevel;
        const float g = static_cast<float>(row.green[x]) * kLevel;
        const float b = static_cast<float>(row.blue[x]) * kLevel;
        const float rg = r - g;
        const float yb = 0.5F * (r + g) - b;
        red_green += rg;
        red_green_squares += rg * rg;
        yellow_blue += yb;
        yellow_blue_squares += yb * yb;
    }
    sums.red_green += static_cast<double>(red_green);
    sums.red_green_squares += static_cast<double>(red_green_squares);
    sums.yellow_blue += static_cast<double>(yellow_blue);
    sums.yellow_blue_squares += static_cast<double>(yellow_blue_squares);
}

double colourfulness_of(const Sums& sums, double count) {
    const double rg = sums.red_green / count;
    const double yb = sums.yellow_blue / count;
    const double rg_variance = sums.red_green_squares / count - rg * rg;
    const double yb_variance = sums.yellow_blue_squares / count - yb * yb;
    // From the paper.
    return std::sqrt(std::max(0.0, rg_variance + yb_variance)) + 0.3 * std::hypot(rg, yb);
}

}  // namespace

ColourStatistics measure_colour(const Image& image) {
    CHECK(image.count() > 0);
    const std::vector<float>& light = linear_light();
    LinearRow linear;
    for (std::vector<float>& channel : linear.channels) channel.resize(image.width);
    linear.chroma.resize(image.width);
    auto histogram = std::make_unique<ChromaHistogram>();
    Sums sums;
    for (int y = 0; y < image.height; ++y) {
        const Row row{image.row(0, y).data(), image.row(1, y).data(), image.row(2, y).data(),
                      static_cast<std::size_t>(image.width)};
        count_pixels(row, sums);
        sum_opponents(row, sums);
        for (int c = 0; c < 3; ++c) {
            const std::span<const std::uint16_t> samples = image.row(c, y);
            std::vector<float>& into = linear.channels.at(c);
            for (std::size_t x = 0; x < samples.size(); ++x) into[x] = light[samples[x]];
        }
        take_chroma(linear);
        histogram->add(linear.chroma);
    }
    const auto count = static_cast<double>(image.count());
    return {.clipped_share = static_cast<double>(sums.clipped) / count,
            .saturation = sums.saturation / count,
            .saturated_share = static_cast<double>(sums.saturated) / count,
            .chroma95 = histogram->percentile95(),
            .colourfulness = colourfulness_of(sums, count)};
}

ToneStatistics measure_tones(const Plane& whole_luma) {
    CHECK(whole_luma.count() > 0);
    std::array<std::uint64_t, 256> counts{};
    for (const float value : whole_luma.values)
        ++counts.at(static_cast<std::size_t>(std::clamp(value, 0.0F, 255.0F)));
    const auto all = static_cast<double>(whole_luma.count());
    double mean = 0;
    for (std::size_t i = 0; i < counts.size(); ++i)
        mean += static_cast<double>(i) * static_cast<double>(counts.at(i)) / all;
    ToneStatistics out;
    double variance = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts.at(i) == 0) continue;
        const double share = static_cast<double>(counts.at(i)) / all;
        const double off = static_cast<double>(i) - mean;
        variance += off * off * share;
        out.entropy -= share * std::log2(share);
    }
    out.contrast = std::sqrt(variance) / 255;
    return out;
}

}  // namespace plimsoll::quality
