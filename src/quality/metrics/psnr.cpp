// SPDX-License-Identifier: Apache-2.0
#include "quality/metrics/psnr.h"

#include "base/check.h"

#include <cmath>
#include <cstdint>
#include <limits>

namespace plimsoll::quality {

namespace {

double decibels(double squares, double samples, double peak) {
    if (squares == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(peak * peak * samples / squares);
}

double squares_of(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const auto difference = static_cast<std::int64_t>(a[i]) - b[i];
        sum += static_cast<std::uint64_t>(difference * difference);
    }
    return static_cast<double>(sum);
}

double squares_of(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
        sum += difference * difference;
    }
    return sum;
}

}  // namespace

double psnr(const Image& a, const Image& b) {
    CHECK(a.width == b.width && a.height == b.height && a.count() > 0);
    double squares = 0;
    for (std::size_t c = 0; c < 3; ++c) squares += squares_of(a.channels[c], b.channels[c]);
    return decibels(squares, 3.0 * static_cast<double>(a.count()), 65535);
}

double psnr(const Colours& a, const Colours& b) {
    CHECK(a.width() == b.width() && a.height() == b.height() && a.planes[0].count() > 0);
    double squares = 0;
    for (std::size_t c = 0; c < 3; ++c)
        squares += squares_of(a.planes[c].values, b.planes[c].values);
    return decibels(squares, 3.0 * static_cast<double>(a.planes[0].count()), 255);
}

}  // namespace plimsoll::quality
