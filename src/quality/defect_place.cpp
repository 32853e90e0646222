// SPDX-License-Identifier: Apache-2.0
#include "quality/defect_place.h"

#include "base/check.h"
#include "quality/metrics/haar_psi.h"
#include "quality/pyramid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace plimsoll::quality {

namespace {

constexpr int kPartsOfSide = 8;    // chosen: a part is large enough to be seen in a thumbnail
constexpr int kPartLeast = 16;     // pixels
constexpr double kKernelNorm = 6;  // of Immerkaer's kernel, as in defects/noise.cpp
// Where noise is looked for: the smoother half. In texture it is not seen, nor told from it.
constexpr double kSmoothShare = 0.5;

// A value for each pixel whose mean over a part says how much of the defect is there.
Plane noise_of(const Plane& luma) {
    Plane out(luma.width, luma.height);
    for (int y = 1; y + 1 < luma.height; ++y) {
        const auto above = luma.row(y - 1);
        const auto here = luma.row(y);
        const auto below = luma.row(y + 1);
        const auto into = out.row(y);
        for (std::size_t x = 1; x + 1 < here.size(); ++x) {
            const float answer = above[x - 1] - 2 * above[x] + above[x + 1] - 2 * here[x - 1] +
                                 4 * here[x] - 2 * here[x + 1] + below[x - 1] - 2 * below[x] +
                                 below[x + 1];
            into[x] = answer * answer / static_cast<float>(kKernelNorm * kKernelNorm);
        }
    }
    return out;
}

Plane edges_of(const Plane& luma) {
    Plane out(luma.width, luma.height);
    for (int y = 1; y + 1 < luma.height; ++y) {
        const auto above = luma.row(y - 1);
        const auto here = luma.row(y);
        const auto below = luma.row(y + 1);
        const auto into = out.row(y);
        for (std::size_t x = 1; x + 1 < here.size(); ++x)
            into[x] = std::abs(here[x - 1] + here[x + 1] + above[x] + below[x] - 4 * here[x]);
    }
    return out;
}

// Steps at the lines of an 8-pixel grid, less those beside them.
Plane grid_of(const Plane& luma) {
    constexpr int kPeriod = 8;
    Plane out(luma.width, luma.height);
    for (int y = 0; y < luma.height; ++y) {
        const auto here = luma.row(y);
        const auto into = out.row(y);
        for (int x = kPeriod; x + 1 < luma.width; x += kPeriod) {
            const auto at = static_cast<std::size_t>(x);
            const float step = std::abs(here[at] - here[at - 1]);
            const float beside =
                (std::abs(here[at - 1] - here[at - 2]) + std::abs(here[at + 1] - here[at])) / 2;
            into[at] = kPeriod * (step - beside);
        }
    }
    return out;
}

// 1 where a channel is cut off, as defects/colour.cpp counts it: at either end of the range.
Plane burnt_of(const Image& image) {
    constexpr int kDarkBelow = 1 * kSamplesPerLevel;
    constexpr int kBrightFrom = 254 * kSamplesPerLevel;
    Plane out(image.width, image.height);
    for (int y = 0; y < image.height; ++y) {
        const auto into = out.row(y);
        for (int c = 0; c < 3; ++c) {
            const auto row = image.row(c, y);
            for (std::size_t x = 0; x < row.size(); ++x)
                if (row[x] < kDarkBelow || row[x] >= kBrightFrom) into[x] = 1;
        }
    }
    return out;
}

struct Part {
    int x = 0;
    int y = 0;
    double mean = 0;
};

// Means over parts that overlap by half, by sums of rows.
std::vector<Part> parts_of(const Plane& plane, int side) {
    std::vector<double> sums(static_cast<std::size_t>(plane.width + 1) *
                             static_cast<std::size_t>(plane.height + 1));
    const auto at = [&](int x, int y) -> double& {
        return sums[static_cast<std::size_t>(y) * static_cast<std::size_t>(plane.width + 1) +
                    static_cast<std::size_t>(x)];
    };
    for (int y = 0; y < plane.height; ++y) {
        double row = 0;
        for (int x = 0; x < plane.width; ++x) {
            row += static_cast<double>(plane.row(y)[static_cast<std::size_t>(x)]);
            at(x + 1, y + 1) = at(x + 1, y) + row;
        }
    }
    std::vector<Part> out;
    const int step = side / 2;
    for (int y = 0; y + side <= plane.height; y += step)
        for (int x = 0; x + side <= plane.width; x += step) {
            const double sum =
                at(x + side, y + side) - at(x, y + side) - at(x + side, y) + at(x, y);
            out.push_back({x, y, sum / (static_cast<double>(side) * side)});
        }
    return out;
}

// The part that speaks most for the defect: `sign` +1 where more of it is worse.
std::optional<DefectPlace> worst_part(const std::vector<Part>& here,
                                      const std::vector<Part>* reference, int side, double sign,
                                      double most = std::numeric_limits<double>::infinity()) {
    std::optional<DefectPlace> worst;
    double by = 0;
    for (std::size_t i = 0; i < here.size(); ++i) {
        // What `most` keeps out is judged by the reference, which has not the defect itself.
        const double calm = reference == nullptr ? here[i].mean : (*reference)[i].mean;
        if (calm > most) continue;
        const double more =
            sign * (here[i].mean - (reference == nullptr ? 0 : (*reference)[i].mean));
        if (more <= by) continue;
        by = more;
        worst = DefectPlace{.x = here[i].x,
                            .y = here[i].y,
                            .width = side,
                            .height = side,
                            .here = here[i].mean,
                            .in_reference = std::nullopt};
        if (reference != nullptr) worst->in_reference = (*reference)[i].mean;
    }
    return worst;
}

double share_of(std::vector<Part> parts, double share) {
    const auto at =
        parts.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(parts.size() - 1) * share);
    std::ranges::nth_element(parts, at, {}, &Part::mean);
    return at->mean;
}

std::optional<DefectPlace> find_difference(const Image& reference, const Image& candidate,
                                           int side) {
    const Plane loss = haar_psi_loss(pooled(reference, 2), pooled(candidate, 2));
    auto worst = worst_part(parts_of(loss, std::max(1, side / 2 / 2 * 2)), nullptr,
                            std::max(1, side / 2 / 2 * 2), 1);
    if (!worst) return std::nullopt;
    // The loss is of half the size.
    worst->x *= 2;
    worst->y *= 2;
    worst->width *= 2;
    worst->height *= 2;
    return worst;
}

}  // namespace

std::optional<DefectPlace> find_defect(const Image& reference, const Image& candidate,
                                       std::string_view defect) {
    CHECK(reference.count() > 0 && candidate.count() > 0);
    const int shorter = std::min(candidate.width, candidate.height);
    if (shorter < kPlaceSideLeast) return std::nullopt;
    const bool alike = reference.width == candidate.width && reference.height == candidate.height;
    const int side = std::max(kPartLeast, shorter / kPartsOfSide / 2 * 2);
    if (defect == kDifference)
        return alike ? find_difference(reference, candidate, side) : std::nullopt;
    const auto look = [&](const auto& plane_of, double sign, bool calm_only) {
        const std::vector<Part> here = parts_of(plane_of(candidate), side);
        std::vector<Part> there;
        if (alike) there = parts_of(plane_of(reference), side);
        const double most = calm_only ? share_of(alike ? there : here, kSmoothShare)
                                      : std::numeric_limits<double>::infinity();
        return worst_part(here, alike ? &there : nullptr, side, sign, most);
    };
    std::optional<DefectPlace> place;
    if (defect == "noise") {
        place = look([](const Image& image) { return noise_of(luma(image)); }, 1, true);
        // Sums of squares so far: the deviation is what is shown.
        if (place) place->here = std::sqrt(place->here);
        if (place && place->in_reference) place->in_reference = std::sqrt(*place->in_reference);
    } else if (defect == "blur") {
        if (alike)
            place = look([](const Image& image) { return edges_of(luma(image)); }, -1, false);
    } else if (defect == "grid" || defect == "seams") {
        place = look([](const Image& image) { return grid_of(luma(image)); }, 1, false);
    } else if (defect == "burn") {
        place = look(burnt_of, 1, false);
    }
    return place;
}

}  // namespace plimsoll::quality
