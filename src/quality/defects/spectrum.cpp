// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/spectrum.h"

#include "base/check.h"

#include <kissfft/kiss_fft.h>
#include <kissfft/kiss_fftr.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numbers>
#include <span>
#include <vector>

namespace plimsoll::quality {

namespace {

struct FreePlan {
    void operator()(kiss_fft_state* plan) const { kiss_fft_free(plan); }
    void operator()(kiss_fftr_state* plan) const { kiss_fftr_free(plan); }
};

// The transform of a square of real numbers: rows first, then columns. (The library's own for
// several dimensions, kiss_fftndr_alloc of 131.1.0, gave no plan for 64 x 64.)
class SquareTransform {
  public:
    explicit SquareTransform(int side)
        : side_(side),
          rows_(kiss_fftr_alloc(side, 0, nullptr, nullptr)),
          columns_(kiss_fft_alloc(side, 0, nullptr, nullptr)),
          column_(static_cast<std::size_t>(side)) {
        CHECK(rows_ != nullptr && columns_ != nullptr);  // they fail only without memory
    }

    // Into side rows of side/2 + 1 bins.
    void transform(std::span<const float> samples, std::span<kiss_fft_cpx> bins) {
        const auto side = static_cast<std::size_t>(side_);
        const std::size_t width = side / 2 + 1;
        for (std::size_t y = 0; y < side; ++y)
            kiss_fftr(rows_.get(), &samples[y * side], &bins[y * width]);
        for (std::size_t x = 0; x < width; ++x) {
            kiss_fft_stride(columns_.get(), &bins[x], column_.data(), static_cast<int>(width));
            for (std::size_t y = 0; y < side; ++y) bins[y * width + x] = column_[y];
        }
    }

  private:
    int side_;
    std::unique_ptr<kiss_fftr_state, FreePlan> rows_;
    std::unique_ptr<kiss_fft_state, FreePlan> columns_;
    std::vector<kiss_fft_cpx> column_;
};

// The power of one block of side n at each whole radius, summed over the blocks that went in.
class RadialPower {
  public:
    explicit RadialPower(int side)
        : side_(side),
          samples_(static_cast<std::size_t>(side) * static_cast<std::size_t>(side)),
          bins_(static_cast<std::size_t>(side) * (static_cast<std::size_t>(side) / 2 + 1)),
          power_(radii()),
          counts_(radii()),
          transform_(side) {
        for (int i = 0; i < side; ++i)
            window_.push_back(
                static_cast<float>(0.5 - 0.5 * std::cos(2 * std::numbers::pi * (i + 0.5) / side)));
    }

    void add(const Plane& plane, int left, int top) {
        fill(plane, left, top);
        transform_.transform(samples_, bins_);
        const int columns = side_ / 2 + 1;
        for (int y = 0; y < side_; ++y) {
            const int fy = y <= side_ / 2 ? y : side_ - y;
            for (int x = 0; x < columns; ++x) {
                const auto radius = static_cast<std::size_t>(std::lround(std::hypot(x, fy)));
                if (radius >= power_.size()) continue;
                // Columns stand for their mirror image too, the first and the last for themselves.
                const double times = x == 0 || x == columns - 1 ? 1 : 2;
                const kiss_fft_cpx bin =
                    bins_[static_cast<std::size_t>(y) * static_cast<std::size_t>(columns) +
                          static_cast<std::size_t>(x)];
                power_[radius] += times * (static_cast<double>(bin.r) * static_cast<double>(bin.r) +
                                           static_cast<double>(bin.i) * static_cast<double>(bin.i));
                counts_[radius] += times;
            }
        }
    }

    // The slope by least squares of log power over log frequency between two frequencies.
    [[nodiscard]] double slope(double from, double to) const {
        double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
        for (std::size_t r = 1; r < power_.size(); ++r) {
            const double frequency = static_cast<double>(r) / side_;
            if (frequency < from || frequency > to) continue;
            const double x = std::log10(frequency);
            const double y = std::log10(power_[r] / counts_[r] + least());
            n += 1;
            sx += x;
            sy += y;
            sxx += x * x;
            sxy += x * y;
        }
        return (n * sxy - sx * sy) / (n * sxx - sx * sx);
    }

    [[nodiscard]] double total() const {
        double sum = 0;
        for (std::size_t r = 1; r < power_.size(); ++r) sum += power_[r];
        return sum;
    }
    [[nodiscard]] double share_above(double frequency) const {
        double sum = 0;
        for (std::size_t r = 1; r < power_.size(); ++r)
            if (static_cast<double>(r) / side_ > frequency) sum += power_[r];
        return sum / total();
    }

  private:
    // Up to the corner of the plane of frequencies.
    [[nodiscard]] std::size_t radii() const {
        return static_cast<std::size_t>(std::ceil(side_ * std::numbers::sqrt2 / 2)) + 1;
    }
    // What rounding of floats leaves beside the strongest: keeps the logarithm of nothing finite.
    [[nodiscard]] double least() const { return total() * 1e-12; }

    void fill(const Plane& plane, int left, int top) {
        const auto side = static_cast<std::size_t>(side_);
        double sum = 0;
        for (int y = 0; y < side_; ++y)
            for (const float value :
                 plane.row(top + y).subspan(static_cast<std::size_t>(left), side))
                sum += static_cast<double>(value);
        const auto mean = static_cast<float>(sum / (static_cast<double>(side_) * side_));
        for (std::size_t y = 0; y < side; ++y) {
            const float* const row = plane.row(top + static_cast<int>(y)).data() + left;
            for (std::size_t x = 0; x < side; ++x)
                samples_[y * side + x] = (row[x] - mean) * window_[x] * window_[y];
        }
    }

    int side_;
    std::vector<float> samples_;
    std::vector<kiss_fft_cpx> bins_;
    std::vector<double> power_;
    std::vector<double> counts_;
    std::vector<float> window_;
    SquareTransform transform_;
};

}  // namespace

std::optional<Spectrum> measure_spectrum(const Plane& whole_luma) {
    const int shorter = std::min(whole_luma.width, whole_luma.height);
    CHECK(shorter >= kSpectrumSideLeast);
    const int side = shorter >= 256 ? 256 : shorter >= 128 ? 128 : 64;
    RadialPower power(side);
    for (int top = 0; top + side <= whole_luma.height; top += side)
        for (int left = 0; left + side <= whole_luma.width; left += side)
            power.add(whole_luma, left, top);
    if (power.total() <= 0) return std::nullopt;
    return Spectrum{.slope = power.slope(0.05, 0.45),
                    .tail_slope = power.slope(0.35, 0.5),
                    .high_share = power.share_above(0.25)};
}

}  // namespace plimsoll::quality
