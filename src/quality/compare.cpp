// SPDX-License-Identifier: Apache-2.0
#include "quality/compare.h"

#include "base/check.h"
#include "quality/defects/colour.h"
#include "quality/defects/grid.h"
#include "quality/defects/noise.h"
#include "quality/defects/sharpness.h"
#include "quality/defects/spectrum.h"
#include "quality/metrics/gmsd.h"
#include "quality/metrics/haar_psi.h"
#include "quality/metrics/mdsi.h"
#include "quality/metrics/psnr.h"
#include "quality/metrics/ssim.h"
#include "quality/pyramid.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

namespace plimsoll::quality {

namespace {

constexpr std::array<Scale, 3> kScales{Scale::Full, Scale::Half, Scale::Quarter};

std::string too_small(int side_least, int width, int height) {
    return fmt::format("needs {} pixels, this has {}", size_text(side_least, side_least),
                       size_text(width, height));
}

// Adds what `measure` gives, or that the picture is under `side_least` pixels at the scale.
void add_where_large_enough(Scores& scores, Measure measure, Scale scale, int side_least, int width,
                            int height, const std::function<double()>& value) {
    if (std::min(width, height) < side_least)
        scores.add_missing(measure, scale, too_small(side_least, width, height));
    else
        scores.add(measure, scale, value());
}

// Both pictures of a pair at every scale.
struct Pair {
    const Image& reference;
    const Image& candidate;
    Pyramid a;
    Pyramid b;
};

int side_at(int side, Scale scale) {
    return side >> std::to_underlying(scale);
}

void add_psnr(const Pair& pair, Scores& scores) {
    for (const Scale scale : kScales) {
        const auto level = static_cast<std::size_t>(std::to_underlying(scale));
        add_where_large_enough(
            scores, Measure::Psnr, scale, 1, side_at(pair.reference.width, scale),
            side_at(pair.reference.height, scale), [&] {
                return scale == Scale::Full
                           ? psnr(pair.reference, pair.candidate)
                           : psnr(pair.a.colours[level - 1], pair.b.colours[level - 1]);
            });
    }
}

// MS-SSIM's first three scales are SSIM's three.
void add_ssim(const Pair& pair, Scores& scores) {
    std::array<SsimMeans, kLumaLevels> means;
    const int side = std::min(pair.reference.width, pair.reference.height);
    const std::size_t levels = side >= kMsSsimSideLeast ? kLumaLevels : kScales.size();
    for (std::size_t i = 0; i < levels; ++i) {
        const Plane& plane = pair.a.luma[i];
        if (std::min(plane.width, plane.height) >= kSsimSideLeast)
            means.at(i) = ssim_means(plane, pair.b.luma[i]);
    }
    for (const Scale scale : kScales) {
        const auto level = static_cast<std::size_t>(std::to_underlying(scale));
        add_where_large_enough(scores, Measure::Ssim, scale, kSsimSideLeast,
                               pair.a.luma[level].width, pair.a.luma[level].height,
                               [&] { return means.at(level).ssim; });
    }
    add_where_large_enough(scores, Measure::MsSsim, Scale::Full, kMsSsimSideLeast,
                           pair.reference.width, pair.reference.height,
                           [&] { return ms_ssim(means); });
}

void add_gmsd(const Pair& pair, Scores& scores) {
    for (const Scale scale : kScales) {
        const auto level = static_cast<std::size_t>(std::to_underlying(scale));
        add_where_large_enough(scores, Measure::Gmsd, scale, kGmsdSideLeast,
                               pair.a.luma[level].width, pair.a.luma[level].height, [&] {
                                   return gmsd(pair.a.luma[level + 1], pair.b.luma[level + 1]);
                               });
    }
}

void add_haar_psi(const Pair& pair, Scores& scores) {
    for (const Scale scale : kScales) {
        const auto level = static_cast<std::size_t>(std::to_underlying(scale));
        add_where_large_enough(
            scores, Measure::HaarPsi, scale, kHaarPsiSideLeast,
            side_at(pair.reference.width, scale), side_at(pair.reference.height, scale),
            [&] { return haar_psi(pair.a.colours[level], pair.b.colours[level]); });
    }
}

void add_mdsi(const Pair& pair, Scores& scores) {
    const int pool = mdsi_pool_side(pair.reference.width, pair.reference.height);
    Colours a = pooled(pair.reference, pool);
    Colours b = pooled(pair.candidate, pool);
    for (const Scale scale : kScales) {
        if (scale != Scale::Full) {
            a = halved(a);
            b = halved(b);
        }
        add_where_large_enough(scores, Measure::Mdsi, scale, kMdsiSideLeast, a.width(), a.height(),
                               [&] { return mdsi(a, b); });
    }
}

void add_sharpness_ratio(const Pair& pair, Scores& scores) {
    if (std::min(pair.reference.width, pair.reference.height) < kSharpnessSideLeast) {
        scores.add_missing(
            Measure::SharpnessRatio, Scale::Full,
            too_small(kSharpnessSideLeast, pair.reference.width, pair.reference.height));
        return;
    }
    const std::optional<double> ratio =
        sharpness_ratio(measure_sharpness(pair.a.luma[0]), measure_sharpness(pair.b.luma[0]));
    if (ratio)
        scores.add(Measure::SharpnessRatio, Scale::Full, *ratio);
    else
        scores.add_missing(Measure::SharpnessRatio, Scale::Full,
                           "one of the pictures has no detail");
}

Scores compare_pair(const Image& reference, const Image& candidate) {
    const Pair pair{reference, candidate, make_pyramid(reference), make_pyramid(candidate)};
    Scores scores;
    add_psnr(pair, scores);
    add_ssim(pair, scores);
    add_gmsd(pair, scores);
    add_haar_psi(pair, scores);
    add_mdsi(pair, scores);
    add_sharpness_ratio(pair, scores);
    return scores;
}

Scores without_pair(const std::string& reason) {
    Scores scores;
    for (const MeasureFacts& facts : all_measures()) {
        if (facts.needs != Needs::Pair) continue;
        for (const Scale scale : kScales)
            if (scale == Scale::Full || facts.has_scales)
                scores.add_missing(facts.measure, scale, reason);
    }
    return scores;
}

Likeness likeness_of(const Scores& pair) {
    const std::optional<double> coarse = pair.value(Measure::HaarPsi, Scale::Quarter);
    if (!coarse) return Likeness::Unknown;
    return *coarse < kSamePictureLeast ? Likeness::OtherPicture : Likeness::SamePicture;
}

void add_optional(Scores& scores, Measure measure, const std::optional<double>& value,
                  std::string_view reason) {
    if (value)
        scores.add(measure, Scale::Full, *value);
    else
        scores.add_missing(measure, Scale::Full, std::string(reason));
}

void add_sharpness(const Plane& luma, Scores& scores) {
    const bool is_large = std::min(luma.width, luma.height) >= kSharpnessSideLeast;
    const Sharpness sharpness = is_large ? measure_sharpness(luma) : Sharpness{};
    const std::string reason = is_large ? "the picture has one level only"
                                        : too_small(kSharpnessSideLeast, luma.width, luma.height);
    add_optional(scores, Measure::Sharpness, sharpness.for_contrast(), reason);
    add_optional(scores, Measure::EdgeEnergy, sharpness.edges_for_contrast(), reason);
}

void add_grid(const Plane& luma, Measure measure, int period, Scores& scores) {
    const bool is_large = std::min(luma.width, luma.height) / period >= 2;
    add_optional(scores, measure, grid_ratio(luma, period),
                 is_large ? "the picture has one level only"
                          : too_small(2 * period, luma.width, luma.height));
}

void add_seams(const Plane& luma, std::optional<int> stride, Scores& scores) {
    if (stride && *stride >= 2)
        add_grid(luma, Measure::TilingSeams, *stride, scores);
    else
        scores.add_missing(Measure::TilingSeams, Scale::Full,
                           stride ? "tiles of under 2 pixels" : "no tile size is given");
}

void add_colour(const Image& image, const Plane& luma, Scores& scores) {
    const ColourStatistics colour = measure_colour(image);
    const ToneStatistics tones = measure_tones(luma);
    scores.add(Measure::ClippedShare, Scale::Full, colour.clipped_share);
    scores.add(Measure::Saturation, Scale::Full, colour.saturation);
    scores.add(Measure::SaturatedShare, Scale::Full, colour.saturated_share);
    scores.add(Measure::Chroma95, Scale::Full, colour.chroma95);
    scores.add(Measure::Contrast, Scale::Full, tones.contrast);
    scores.add(Measure::Entropy, Scale::Full, tones.entropy);
    scores.add(Measure::Colourfulness, Scale::Full, colour.colourfulness);
}

void add_spectrum(const Plane& luma, Scores& scores) {
    const bool is_large = std::min(luma.width, luma.height) >= kSpectrumSideLeast;
    const std::optional<Spectrum> spectrum = is_large ? measure_spectrum(luma) : std::nullopt;
    const std::string reason = is_large ? "the picture has one level only"
                                        : too_small(kSpectrumSideLeast, luma.width, luma.height);
    const auto part = [&](double Spectrum::* field) {
        return spectrum ? std::optional((*spectrum).*field) : std::nullopt;
    };
    add_optional(scores, Measure::SpectralSlope, part(&Spectrum::slope), reason);
    add_optional(scores, Measure::HighFrequencyShare, part(&Spectrum::high_share), reason);
    add_optional(scores, Measure::SpectralTail, part(&Spectrum::tail_slope), reason);
}

void add_niqe(const Plane& luma, const NiqeModel* model, Scores& scores) {
    if (model == nullptr) {
        scores.add_missing(Measure::Niqe, Scale::Full,
                           "no references of this run to hold it against");
        return;
    }
    const Result<double> distance = niqe(*model, sample_niqe(luma));
    if (distance)
        scores.add(Measure::Niqe, Scale::Full, *distance);
    else
        scores.add_missing(Measure::Niqe, Scale::Full, distance.error().message);
}

void add_brisque(const Plane& luma, const BrisqueModel* model, Scores& scores) {
    if (model == nullptr) {
        scores.add_missing(Measure::Brisque, Scale::Full, "no BRISQUE model is given");
        return;
    }
    if (std::min(luma.width, luma.height) < kBrisqueSideLeast) {
        scores.add_missing(Measure::Brisque, Scale::Full,
                           too_small(kBrisqueSideLeast, luma.width, luma.height));
        return;
    }
    const std::optional<BrisqueFeatures> features = brisque_features(luma);
    add_optional(scores, Measure::Brisque,
                 features ? std::optional(brisque(*model, *features)) : std::nullopt,
                 "the picture has one level only");
}

}  // namespace

Scores inspect(const Image& image, const Models& models) {
    CHECK(image.count() > 0);
    const Plane luma = whole_luma(image);
    Scores scores;
    add_optional(
        scores, Measure::FlatNoise, flat_noise(luma),
        fmt::format("under {} blocks of 16 x 16 pixels are not clipped", kFlatBlocksLeast));
    add_sharpness(luma, scores);
    add_grid(luma, Measure::LatentGrid8, 8, scores);
    add_grid(luma, Measure::LatentGrid16, 16, scores);
    add_seams(luma, models.tile_stride, scores);
    add_colour(image, luma, scores);
    add_spectrum(luma, scores);
    add_niqe(luma, models.niqe, scores);
    add_brisque(luma, models.brisque, scores);
    return scores;
}

Comparison compare(const Image& reference, const Image& candidate, const Models& models) {
    CHECK(reference.count() > 0 && candidate.count() > 0);
    Comparison out;
    if (reference.width == candidate.width && reference.height == candidate.height)
        out.pair = compare_pair(reference, candidate);
    else
        out.pair = without_pair(fmt::format("the reference has {} pixels, this has {}",
                                            size_text(reference.width, reference.height),
                                            size_text(candidate.width, candidate.height)));
    out.likeness = likeness_of(out.pair);
    out.reference = inspect(reference, models);
    out.candidate = inspect(candidate, models);
    return out;
}

Image difference_map(const Image& reference, const Image& candidate) {
    CHECK(reference.width == candidate.width && reference.height == candidate.height);
    CHECK(reference.width >= 2 && reference.height >= 2);
    const Colours seen = pooled(candidate, 2);
    const Plane loss = haar_psi_loss(pooled(reference, 2), seen);
    // A loss that the eye minds fully: the whole logistic range under an edge of 8 levels (chosen,
    // so that the faintest visible differences already show).
    constexpr float kFull = 0.48F * 8;
    Image map(loss.width * 2, loss.height * 2);
    for (int y = 0; y < map.height; ++y)
        for (int x = 0; x < map.width; ++x) {
            const auto at = static_cast<std::size_t>(x / 2);
            const float grey = 0.299F * seen.planes[0].row(y / 2)[at] +
                               0.587F * seen.planes[1].row(y / 2)[at] +
                               0.114F * seen.planes[2].row(y / 2)[at];
            const float heat = std::sqrt(std::clamp(loss.row(y / 2)[at] / kFull, 0.0F, 1.0F));
            // Half as bright, so that red stands out on white too.
            const float calm = 0.5F * grey * (1 - heat);
            const std::array<float, 3> levels{calm + 255 * heat, calm, calm};
            for (int c = 0; c < 3; ++c)
                map.row(c, y)[static_cast<std::size_t>(x)] = static_cast<std::uint16_t>(
                    levels.at(static_cast<std::size_t>(c)) * float{kSamplesPerLevel});
        }
    return map;
}

}  // namespace plimsoll::quality
