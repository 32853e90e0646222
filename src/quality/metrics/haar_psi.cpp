// SPDX-License-Identifier: Apache-2.0
#include "quality/metrics/haar_psi.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

namespace plimsoll::quality {

namespace {

// From the paper.
constexpr float kC = 30;
constexpr float kAlpha = 4.2F;

constexpr int kReach = 8;  // zeros on either side of a row, more than any wavelet reaches
constexpr int kRows = 8;   // that the coarse wavelet spans

using Row = std::vector<float>;

// Wavelets of 2, 4 and 8 pixels.
enum Side { Two, Four, Eight, kSides };

// The six wavelets at every pixel of a row: the upper half less the lower one, and the left half
// less the right one, by 1/side; zeros lie around the picture.
struct Wavelets {
    std::array<Row, kSides> down;
    std::array<Row, kSides> across;
};

// Rows from the top go in, wavelets come out four rows later. Along a row, the sum and the step of
// each side are made of those of half the side.
class HaarRows {
  public:
    explicit HaarRows(int width) : line_(width + 2 * kReach), two_(line_), four_(line_) {
        for (auto* const ring : {&sums_, &steps_})
            for (auto& rows : *ring)
                for (Row& row : rows) row.resize(width);
        for (int s = 0; s < kSides; ++s) {
            wavelets_.down.at(s).resize(width);
            wavelets_.across.at(s).resize(width);
        }
    }

    // Empty: a row below the picture.
    void push(std::span<const float> luma) {
        const std::size_t width = sums_[Two][0].size();
        const int slot = static_cast<int>(pushed_++ % kRows);
        if (luma.empty()) {
            for (int s = 0; s < kSides; ++s) {
                std::ranges::fill(sums_[s][slot], 0.0F);
                std::ranges::fill(steps_[s][slot], 0.0F);
            }
            return;
        }
        std::ranges::copy(luma, line_.begin() + kReach);
        const std::size_t whole = line_.size();
        for (std::size_t x = 0; x + 1 < whole; ++x) two_[x] = line_[x] + line_[x + 1];
        for (std::size_t x = 1; x + 2 < whole; ++x) four_[x] = two_[x - 1] + two_[x + 1];
        for (std::size_t x = 0; x < width; ++x) {
            const std::size_t i = x + kReach;
            sums_[Two][slot][x] = two_[i];
            sums_[Four][slot][x] = four_[i];
            sums_[Eight][slot][x] = four_[i - 2] + four_[i + 2];
            steps_[Two][slot][x] = line_[i] - line_[i + 1];
            steps_[Four][slot][x] = two_[i - 1] - two_[i + 1];
            steps_[Eight][slot][x] = four_[i - 2] - four_[i + 2];
        }
    }

    // Of row y, after row y + 4 was pushed.
    const Wavelets& take(int y) {
        take_side<2>(y, sums_[Two], steps_[Two], wavelets_.down[Two], wavelets_.across[Two]);
        take_side<4>(y, sums_[Four], steps_[Four], wavelets_.down[Four], wavelets_.across[Four]);
        take_side<8>(y, sums_[Eight], steps_[Eight], wavelets_.down[Eight],
                     wavelets_.across[Eight]);
        return wavelets_;
    }

  private:
    using Ring = std::array<Row, kRows>;

    template <int N>
    static void take_side(int y, const Ring& sums, const Ring& steps, Row& down, Row& across) {
        std::array<const float*, N> sum{};
        std::array<const float*, N> step{};
        for (int i = 0; i < N; ++i) {
            const int slot = (y - (N / 2 - 1) + i + kRows) % kRows;
            sum[i] = sums[slot].data();
            step[i] = steps[slot].data();
        }
        float* const into_down = down.data();
        float* const into_across = across.data();
        for (std::size_t x = 0; x < down.size(); ++x) {
            float upper = sum[0][x];
            float lower = sum[N / 2][x];
            float all = step[0][x] + step[N / 2][x];
            for (int i = 1; i < N / 2; ++i) {
                upper += sum[i][x];
                lower += sum[N / 2 + i][x];
                all += step[i][x] + step[N / 2 + i][x];
            }
            into_down[x] = (upper - lower) * (1.0F / N);
            into_across[x] = all * (1.0F / N);
        }
    }

    Row line_;
    Row two_;
    Row four_;
    std::array<Ring, kSides> sums_;
    std::array<Ring, kSides> steps_;
    Wavelets wavelets_;
    unsigned pushed_ = 0;
};

// YIQ as the paper has it.
Plane luma_of(const Colours& colours) {
    Plane out(colours.width(), colours.height());
    const float* const red = colours.planes[0].values.data();
    const float* const green = colours.planes[1].values.data();
    const float* const blue = colours.planes[2].values.data();
    for (std::size_t i = 0; i < out.count(); ++i)
        out.values[i] = 0.299F * red[i] + 0.587F * green[i] + 0.114F * blue[i];
    return out;
}

struct Chroma {
    Row in_phase;
    Row quadrature;
};

// Means of 2 x 2 pixels, to the right and below; zeros lie around the picture.
void take_chroma(const Colours& colours, int y, Row& work, Chroma& into) {
    const std::size_t width = into.in_phase.size();
    const int next = y + 1;
    for (std::size_t channel = 0; channel < 3; ++channel) {
        const float* const here = colours.planes[channel].row(y).data();
        float* const sums = &work[channel * (width + 1)];
        std::copy_n(here, width, sums);
        if (next < colours.height()) {
            const float* const below = colours.planes[channel].row(next).data();
            for (std::size_t x = 0; x < width; ++x) sums[x] += below[x];
        }
        sums[width] = 0;
    }
    const float* const red = work.data();
    const float* const green = red + width + 1;
    const float* const blue = green + width + 1;
    for (std::size_t x = 0; x < width; ++x) {
        const float r = 0.25F * (red[x] + red[x + 1]);
        const float g = 0.25F * (green[x] + green[x + 1]);
        const float b = 0.25F * (blue[x] + blue[x + 1]);
        into.in_phase[x] = 0.596F * r - 0.274F * g - 0.322F * b;
        into.quadrature[x] = 0.211F * r - 0.523F * g + 0.312F * b;
    }
}

inline float similarity(float a, float b) {
    return (2 * std::abs(a * b) + kC) / (a * a + b * b + kC);
}

// 1 / (1 + e^(-4.2 x)) for x from 0 to 1: e^(-4.2 x / 8) by its series, whose seventh power's
// remainder is below 2e-7, then squared three times. A call for each pixel would cost more than all
// the rest.
inline float logistic(float x) {
    const float t = -kAlpha / 8 * x;
    float e = 1 + t * (1.0F / 7);
    e = 1 + t * (1.0F / 6) * e;
    e = 1 + t * (1.0F / 5) * e;
    e = 1 + t * (1.0F / 4) * e;
    e = 1 + t * (1.0F / 3) * e;
    e = 1 + t * (1.0F / 2) * e;
    e = 1 + t * e;
    e *= e;
    e *= e;
    e *= e;
    return 1 / (1 + e);
}

// What a row of both pictures comes to: for edges down and across and for colour, the logistic
// similarity and its weight.
struct Weighted {
    std::array<Row, 3> alike;
    std::array<Row, 3> weight;

    explicit Weighted(int width) {
        for (int i = 0; i < 3; ++i) {
            alike.at(i).resize(width);
            weight.at(i).resize(width);
        }
    }
};

void weigh_edges(const std::array<Row, kSides>& a, const std::array<Row, kSides>& b, Row& alike,
                 Row& weight) {
    const float* const a2 = a[Two].data();
    const float* const b2 = b[Two].data();
    const float* const a4 = a[Four].data();
    const float* const b4 = b[Four].data();
    const float* const a8 = a[Eight].data();
    const float* const b8 = b[Eight].data();
    float* const into_alike = alike.data();
    float* const into_weight = weight.data();
    for (std::size_t x = 0; x < alike.size(); ++x) {
        into_alike[x] = logistic(0.5F * (similarity(a2[x], b2[x]) + similarity(a4[x], b4[x])));
        into_weight[x] = std::max(std::abs(a8[x]), std::abs(b8[x]));
    }
}

void weigh_colour(const Chroma& a, const Chroma& b, Weighted& row) {
    float* const alike = row.alike[2].data();
    float* const weight = row.weight[2].data();
    for (std::size_t x = 0; x < row.alike[2].size(); ++x) {
        alike[x] = logistic(0.5F * (similarity(a.in_phase[x], b.in_phase[x]) +
                                    similarity(a.quadrature[x], b.quadrature[x])));
        weight[x] = 0.5F * (row.weight[0][x] + row.weight[1][x]);
    }
}

// Calls take(y, row) with every row of the pair.
template <class Take>
void for_each_row(const Colours& half_a, const Colours& half_b, Take take) {
    CHECK(half_a.width() == half_b.width() && half_a.height() == half_b.height());
    CHECK(half_a.planes[0].count() > 0);
    const int width = half_a.width();
    const int height = half_a.height();
    const std::array<Plane, 2> lumas{luma_of(half_a), luma_of(half_b)};
    std::array<HaarRows, 2> haar{HaarRows(width), HaarRows(width)};
    std::array<Chroma, 2> chroma;
    for (Chroma& one : chroma) one = {.in_phase = Row(width), .quadrature = Row(width)};
    Row work(3 * (static_cast<std::size_t>(width) + 1));
    Weighted row(width);
    const auto push = [&](int y) {
        for (std::size_t i = 0; i < 2; ++i)
            haar.at(i).push(y < height ? lumas.at(i).row(y) : std::span<const float>{});
    };
    for (int y = 0; y < kRows / 2; ++y) push(y);
    for (int y = 0; y < height; ++y) {
        push(y + kRows / 2);
        const Wavelets& a = haar[0].take(y);
        const Wavelets& b = haar[1].take(y);
        weigh_edges(a.down, b.down, row.alike[0], row.weight[0]);
        weigh_edges(a.across, b.across, row.alike[1], row.weight[1]);
        take_chroma(half_a, y, work, chroma[0]);
        take_chroma(half_b, y, work, chroma[1]);
        weigh_colour(chroma[0], chroma[1], row);
        take(y, row);
    }
}

struct Sums {
    double alike = 0;
    double weight = 0;
};

void sum_row(const Row& alike, const Row& weight, Sums& sums) {
#pragma clang fp reassociate(on)
    float weighted = 0;
    float weights = 0;
    for (std::size_t x = 0; x < alike.size(); ++x) {
        weighted += alike[x] * weight[x];
        weights += weight[x];
    }
    sums.alike += static_cast<double>(weighted);
    sums.weight += static_cast<double>(weights);
}

}  // namespace

double haar_psi(const Colours& half_a, const Colours& half_b) {
    Sums sums;
    for_each_row(half_a, half_b, [&](int, const Weighted& row) {
        for (std::size_t i = 0; i < 3; ++i) sum_row(row.alike.at(i), row.weight.at(i), sums);
    });
    // Without any edge there is nothing that could differ in shape: of two flat pictures the metric
    // has 0/0 and nothing to say, the caller sees to them.
    if (sums.weight == 0) return 1;
    const double mean = sums.alike / sums.weight;
    const double root = std::log(mean / (1 - mean)) / static_cast<double>(kAlpha);
    return std::min(1.0, root * root);
}

Plane haar_psi_loss(const Colours& half_a, const Colours& half_b) {
    Plane loss(half_a.width(), half_a.height());
    const float most = logistic(1);
    for_each_row(half_a, half_b, [&](int y, const Weighted& row) {
        const std::span<float> into = loss.row(y);
        for (std::size_t x = 0; x < into.size(); ++x) {
            float lost = 0;
            for (std::size_t i = 0; i < 3; ++i)
                lost += (most - row.alike.at(i)[x]) * row.weight.at(i)[x];
            into[x] = lost;
        }
    });
    return loss;
}

}  // namespace plimsoll::quality
