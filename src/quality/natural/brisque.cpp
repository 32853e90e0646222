// SPDX-License-Identifier: Apache-2.0
#include "quality/natural/brisque.h"

#include "base/check.h"
#include "quality/natural/statistics.h"

#include <cmath>
#include <span>

namespace plimsoll::quality {

namespace {

constexpr int kScaleFeatures = kBrisqueFeatures / 2;

// Neighbours wrap around the picture, as in the published code.
struct WrappedRows {
    const Plane& plane;
    std::vector<float> here;
    std::vector<float> below;

    explicit WrappedRows(const Plane& from)
        : plane(from), here(from.width + 2), below(from.width + 2) {
        take(0, below);
    }
    void advance(int y) {
        here.swap(below);
        take((y + 1) % plane.height, below);
    }
    void take(int y, std::vector<float>& into) const {
        const std::span<const float> row = plane.row(y);
        into.front() = row.back();
        std::copy(row.begin(), row.end(), into.begin() + 1);
        into.back() = row.front();
    }
};

bool fill_features(const Plane& coefficients, std::span<double, kScaleFeatures> into) {
    Moments values;
    std::array<Moments, 4> products;
    WrappedRows rows(coefficients);
    const auto width = static_cast<std::size_t>(coefficients.width);
    for (int y = 0; y < coefficients.height; ++y) {
        rows.advance(y);
        const std::span<const float> row = std::span(rows.here).subspan(1, width);
        const std::span<const float> below(rows.below);
        add_values(row, values);
        add_products(row, std::span(rows.here).subspan(2, width), products[0]);
        add_products(row, below.subspan(1, width), products[1]);
        add_products(row, below.subspan(2, width), products[2]);
        add_products(row, below.subspan(0, width), products[3]);
    }
    const std::optional<GeneralGaussian> own = fit_symmetric(values);
    if (!own) return false;
    into[0] = own->alpha;
    into[1] = own->variance;
    for (std::size_t i = 0; i < 4; ++i) {
        const std::optional<AsymmetricGaussian> fit = fit_asymmetric(products.at(i));
        if (!fit) return false;
        const double mean =
            (fit->right - fit->left) *
            std::exp(std::lgamma(2 / fit->alpha) -
                     0.5 * (std::lgamma(1 / fit->alpha) + std::lgamma(3 / fit->alpha)));
        into[2 + 4 * i] = fit->alpha;
        into[3 + 4 * i] = mean;
        into[4 + 4 * i] = fit->left * fit->left;
        into[5 + 4 * i] = fit->right * fit->right;
    }
    return true;
}

}  // namespace

std::optional<BrisqueFeatures> brisque_features(const Plane& whole_luma) {
    CHECK(whole_luma.width >= kBrisqueSideLeast && whole_luma.height >= kBrisqueSideLeast);
    BrisqueFeatures features{};
    const std::span<double, kBrisqueFeatures> into(features);
    if (!fill_features(take_mscn(whole_luma, Border::Zero).coefficients,
                       into.first<kScaleFeatures>()) ||
        !fill_features(take_mscn(bicubic_half(whole_luma), Border::Zero).coefficients,
                       into.last<kScaleFeatures>()))
        return std::nullopt;
    return features;
}

double brisque(const BrisqueModel& model, const BrisqueFeatures& features) {
    CHECK(model.support_vectors.size() == model.weights.size());
    BrisqueFeatures scaled{};
    for (std::size_t i = 0; i < scaled.size(); ++i)
        scaled.at(i) =
            -1 + 2 * (features.at(i) - model.least.at(i)) / (model.most.at(i) - model.least.at(i));
    double sum = -model.rho;
    for (std::size_t v = 0; v < model.weights.size(); ++v) {
        double squares = 0;
        for (std::size_t i = 0; i < scaled.size(); ++i) {
            const double off = scaled.at(i) - model.support_vectors[v].at(i);
            squares += off * off;
        }
        sum += model.weights[v] * std::exp(-model.gamma * squares);
    }
    return sum;
}

}  // namespace plimsoll::quality
