// SPDX-License-Identifier: Apache-2.0
#include "quality/natural/niqe.h"

#include "base/check.h"
#include "quality/natural/statistics.h"
#include "quality/natural/symmetric_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace plimsoll::quality {

namespace {

constexpr int kScaleFeatures = kNiqeFeatures / 2;
// Reference: half as strict as the paper's, which had photographs sharp all over.
constexpr double kSharpnessPart = 0.5;

// A block's rows with one pixel of the other end on either side: neighbours wrap around, as in the
// published code.
std::vector<float> wrapped_row(const Plane& plane, int left, int y, int side) {
    const std::span<const float> row = plane.row(y).subspan(left, side);
    std::vector<float> out(side + 2);
    out.front() = row.back();
    std::ranges::copy(row, out.begin() + 1);
    out.back() = row.front();
    return out;
}

struct BlockMoments {
    Moments values;
    std::array<Moments, 4>
        products;  // with the neighbour to the right, below, and on both diagonals
};

BlockMoments moments_of(const Plane& plane, int left, int top, int side) {
    BlockMoments out;
    std::vector<float> here = wrapped_row(plane, left, top, side);
    const std::vector<float> first = here;
    for (int y = 0; y < side; ++y) {
        std::vector<float> below =
            y + 1 < side ? wrapped_row(plane, left, top + y + 1, side) : first;
        const std::span<const float> row = std::span(here).subspan(1, side);
        const std::span<const float> next = std::span(below);
        add_values(row, out.values);
        add_products(row, std::span(here).subspan(2, side), out.products[0]);
        add_products(row, next.subspan(1, side), out.products[1]);
        add_products(row, next.subspan(2, side), out.products[2]);
        add_products(row, next.subspan(0, side), out.products[3]);
        here = std::move(below);
    }
    return out;
}

bool fill_features(const BlockMoments& moments, std::span<double, kScaleFeatures> into) {
    const std::optional<AsymmetricGaussian> fit = fit_asymmetric(moments.values);
    if (!fit) return false;
    into[0] = fit->alpha;
    into[1] = (fit->beta(fit->left) + fit->beta(fit->right)) / 2;
    for (std::size_t i = 0; i < 4; ++i) {
        const std::optional<AsymmetricGaussian> product = fit_asymmetric(moments.products.at(i));
        if (!product) return false;
        const double left = product->beta(product->left);
        const double right = product->beta(product->right);
        into[2 + 4 * i] = product->alpha;
        into[3 + 4 * i] = (right - left) * std::exp(std::lgamma(2 / product->alpha) -
                                                    std::lgamma(1 / product->alpha));
        into[4 + 4 * i] = left;
        into[5 + 4 * i] = right;
    }
    return std::ranges::all_of(into, [](double value) { return std::isfinite(value); });
}

double mean_deviation(const Plane& deviations, int left, int top) {
    double sum = 0;
    for (int y = 0; y < kNiqeBlock; ++y)
        for (const float value : deviations.row(top + y).subspan(left, kNiqeBlock))
            sum += static_cast<double>(value);
    return sum / (kNiqeBlock * kNiqeBlock);
}

Plane cropped(const Plane& plane, int width, int height) {
    Plane out(width, height);
    for (int y = 0; y < height; ++y)
        std::ranges::copy(plane.row(y).first(width), out.row(y).begin());
    return out;
}

NiqeModel normal_of(std::span<const NiqeFeatures> blocks) {
    NiqeModel model;
    model.blocks = blocks.size();
    const auto count = static_cast<double>(blocks.size());
    for (const NiqeFeatures& block : blocks)
        for (std::size_t i = 0; i < kNiqeFeatures; ++i) model.mean.at(i) += block.at(i) / count;
    model.covariance.resize(kNiqeFeatures * kNiqeFeatures);
    for (const NiqeFeatures& block : blocks)
        for (std::size_t i = 0; i < kNiqeFeatures; ++i)
            for (std::size_t j = 0; j < kNiqeFeatures; ++j)
                model.covariance[i * kNiqeFeatures + j] += (block.at(i) - model.mean.at(i)) *
                                                           (block.at(j) - model.mean.at(j)) /
                                                           (count - 1);
    return model;
}

}  // namespace

NiqeSample sample_niqe(const Plane& whole_luma) {
    const int columns = whole_luma.width / kNiqeBlock;
    const int rows = whole_luma.height / kNiqeBlock;
    NiqeSample sample;
    if (columns == 0 || rows == 0) return sample;
    const Plane full = cropped(whole_luma, columns * kNiqeBlock, rows * kNiqeBlock);
    const Mscn whole = take_mscn(full, Border::Nearest);
    const Mscn half = take_mscn(bicubic_half(full), Border::Nearest);
    for (int row = 0; row < rows; ++row)
        for (int column = 0; column < columns; ++column) {
            const int left = column * kNiqeBlock;
            const int top = row * kNiqeBlock;
            NiqeFeatures features{};
            const std::span<double, kNiqeFeatures> into(features);
            if (!fill_features(moments_of(whole.coefficients, left, top, kNiqeBlock),
                               into.first<kScaleFeatures>()) ||
                !fill_features(moments_of(half.coefficients, left / 2, top / 2, kNiqeBlock / 2),
                               into.last<kScaleFeatures>()))
                continue;
            sample.blocks.push_back(features);
            sample.sharpness.push_back(mean_deviation(whole.deviations, left, top));
        }
    return sample;
}

Result<NiqeModel> fit_niqe(std::span<const NiqeSample> references) {
    std::vector<NiqeFeatures> blocks;
    for (const NiqeSample& sample : references) {
        if (sample.blocks.empty()) continue;
        const double least = kSharpnessPart * std::ranges::max(sample.sharpness);
        for (std::size_t i = 0; i < sample.blocks.size(); ++i)
            if (sample.sharpness[i] >= least) blocks.push_back(sample.blocks[i]);
    }
    if (blocks.size() < kNiqeBlocksLeast)
        return fail(
            Errc::InvalidInput,
            fmt::format("the references have {} sharp blocks of {} pixels, {} are needed",
                        blocks.size(), size_text(kNiqeBlock, kNiqeBlock), kNiqeBlocksLeast));
    return normal_of(blocks);
}

Result<double> niqe(const NiqeModel& model, const NiqeSample& sample) {
    CHECK(model.covariance.size() == std::size_t{kNiqeFeatures} * kNiqeFeatures);
    if (sample.blocks.size() < 2)
        return fail(Errc::InvalidInput,
                    fmt::format("the picture has {} blocks of {} pixels with detail, 2 are needed",
                                sample.blocks.size(), size_text(kNiqeBlock, kNiqeBlock)));
    const NiqeModel own = normal_of(sample.blocks);
    std::vector<double> difference(kNiqeFeatures);
    for (std::size_t i = 0; i < kNiqeFeatures; ++i)
        difference[i] = own.mean.at(i) - model.mean.at(i);
    std::vector<double> pooled(model.covariance.size());
    for (std::size_t i = 0; i < pooled.size(); ++i)
        pooled[i] = (own.covariance[i] + model.covariance[i]) / 2;
    return std::sqrt(inverse_form(std::move(pooled), difference));
}

}  // namespace plimsoll::quality
