// SPDX-License-Identifier: Apache-2.0
//
// Symmetric filters along a row and down a column, in loops that vector units take whole. Filtering
// row by row with the last N results at hand keeps a picture of any height in the cache.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace plimsoll::quality {

// The right half of an odd kernel that sums to 1, its middle first.
template <int N>
using HalfKernel = std::array<float, N / 2 + 1>;

template <int N>
[[nodiscard]] HalfKernel<N> gaussian(double sigma) {
    std::array<double, N / 2 + 1> weights{};
    double sum = 0;
    for (int i = 0; i <= N / 2; ++i) {
        weights.at(i) = std::exp(-0.5 * i * i / (sigma * sigma));
        sum += (i == 0 ? 1 : 2) * weights.at(i);
    }
    HalfKernel<N> kernel{};
    for (int i = 0; i <= N / 2; ++i) kernel.at(i) = static_cast<float>(weights.at(i) / sum);
    return kernel;
}

// into[x] from the N values from[x] to from[x + N - 1].
template <int N>
void filter_row(const HalfKernel<N>& kernel, const float* from, std::span<float> into) {
    constexpr int kMiddle = N / 2;
    for (std::size_t x = 0; x < into.size(); ++x) {
        float sum = kernel[0] * from[x + kMiddle];
        for (int i = 1; i <= kMiddle; ++i)
            sum += kernel[i] * (from[x + kMiddle - i] + from[x + kMiddle + i]);
        into[x] = sum;
    }
}

// The newest N rows of some signals that belong together.
template <int N, int Signals>
class RowRing {
  public:
    explicit RowRing(int width) : width_(width), values_(std::size_t{N} * Signals * width_) {}

    [[nodiscard]] std::span<float> row(int y, int signal) {
        return {&values_[static_cast<std::size_t>((y % N) * Signals + signal) * width_], width_};
    }

    // into[x] from rows y to y + N - 1, which must be the newest.
    void filter_column(const HalfKernel<N>& kernel, int y, int signal, std::span<float> into) {
        constexpr int kMiddle = N / 2;
        std::array<const float*, N> rows{};
        for (int i = 0; i < N; ++i) rows[i] = row(y + i, signal).data();
        for (std::size_t x = 0; x < into.size(); ++x) {
            float sum = kernel[0] * rows[kMiddle][x];
            for (int i = 1; i <= kMiddle; ++i)
                sum += kernel[i] * (rows[kMiddle - i][x] + rows[kMiddle + i][x]);
            into[x] = sum;
        }
    }

  private:
    std::size_t width_;
    std::vector<float> values_;
};

}  // namespace plimsoll::quality
