// SPDX-License-Identifier: Apache-2.0
#include "quality/scores.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::quality {

namespace {

using enum Better;
using enum Needs;

constexpr std::array<MeasureFacts, kMeasures> kFacts{{
    {Measure::Psnr, Pair, Higher, true, "psnr", "PSNR", "dB",
     "how small the differences of single pixels are; equal: infinite"},
    {Measure::Ssim, Pair, Higher, true, "ssim", "SSIM", "",
     "likeness of local means, contrasts and structure; equal: 1"},
    {Measure::MsSsim, Pair, Higher, false, "msSsim", "MS-SSIM", "",
     "SSIM's contrast and structure over five scales; equal: 1"},
    {Measure::Gmsd, Pair, Lower, true, "gmsd", "GMSD", "",
     "how unevenly edges differ over the picture; equal: 0"},
    {Measure::HaarPsi, Pair, Higher, true, "haarPsi", "HaarPSI", "",
     "likeness of details and colour as the eye weighs them; equal: 1"},
    {Measure::Mdsi, Pair, Lower, true, "mdsi", "MDSI", "",
     "how unevenly edges and colours differ over the picture; equal: 0"},
    {Measure::SharpnessRatio, Pair, Higher, false, "sharpnessRatio", "sharpness ratio", "",
     "sharpness beside the reference's; below 1: blurred, far above: noisy"},
    {Measure::FlatNoise, Picture, Lower, false, "flatNoise", "noise in flat areas", "",
     "standard deviation of what grain the smoothest blocks hold, of 255"},
    {Measure::Sharpness, Picture, Higher, false, "sharpness", "sharpness", "",
     "variance of the Laplacian for the picture's contrast; noise raises it too"},
    {Measure::EdgeEnergy, Picture, AsReference, false, "edgeEnergy", "edge energy", "",
     "mean squared gradient for the picture's own contrast"},
    {Measure::LatentGrid8, Picture, Lower, false, "latentGrid8", "latent grid of 8", "",
     "steps at every 8th pixel beside those elsewhere; none: near 1"},
    {Measure::LatentGrid16, Picture, Lower, false, "latentGrid16", "latent grid of 16", "",
     "steps at every 16th pixel beside those elsewhere; none: near 1"},
    {Measure::TilingSeams, Picture, Lower, false, "tilingSeams", "tiling seams", "",
     "steps where the VAE's tiles meet beside those elsewhere; none: near 1"},
    {Measure::ClippedShare, Picture, Lower, false, "clippedShare", "clipped", "share",
     "pixels with a channel at its end"},
    {Measure::Saturation, Picture, Lower, false, "saturation", "saturation", "",
     "mean saturation, 0 to 1"},
    {Measure::SaturatedShare, Picture, Lower, false, "saturatedShare", "fully saturated", "share",
     "pixels with hardly any grey left in them"},
    {Measure::Chroma95, Picture, Lower, false, "chroma95", "strongest chroma", "",
     "95th percentile of the chroma in CIELAB"},
    {Measure::Contrast, Picture, Lower, false, "contrast", "contrast", "",
     "standard deviation of the luma, 0 to 0.5"},
    {Measure::Entropy, Picture, AsReference, false, "entropy", "entropy", "bit",
     "spread of the luma's values"},
    {Measure::Colourfulness, Picture, AsReference, false, "colourfulness", "colourfulness", "",
     "Hasler and Suesstrunk's: 15 slight, 45 average, 109 extreme"},
    {Measure::SpectralSlope, Picture, AsReference, false, "spectralSlope", "spectral slope", "",
     "fall of power with frequency; natural pictures: near -2"},
    {Measure::HighFrequencyShare, Picture, AsReference, false, "highFrequencyShare", "fine detail",
     "share", "power above a quarter cycle a pixel"},
    {Measure::SpectralTail, Picture, AsReference, false, "spectralTail", "spectral tail", "",
     "slope of the finest details; near 0: noise, far below: smeared"},
    {Measure::Niqe, Model, Lower, false, "niqe", "NIQE of this run", "",
     "distance from the local statistics of the run's references"},
    {Measure::Brisque, Model, Lower, false, "brisque", "BRISQUE", "",
     "trained on photographs: below 0 clean, above 50 bad"},
}};

constexpr bool in_order() {
    for (std::size_t i = 0; i < kFacts.size(); ++i)
        if (std::to_underlying(kFacts.at(i).measure) != i) return false;
    return true;
}
static_assert(in_order());

}  // namespace

std::string_view name_of(Scale scale) {
    switch (scale) {
        case Scale::Full:
            return "full";
        case Scale::Half:
            return "half";
        case Scale::Quarter:
            return "quarter";
    }
    CHECK(false);
}

std::string_view name_of(Likeness likeness) {
    switch (likeness) {
        case Likeness::SamePicture:
            return "samePicture";
        case Likeness::OtherPicture:
            return "otherPicture";
        case Likeness::Unknown:
            return "unknown";
    }
    CHECK(false);
}

std::span<const MeasureFacts, kMeasures> all_measures() {
    return kFacts;
}

const MeasureFacts& facts_of(Measure measure) {
    return kFacts.at(std::to_underlying(measure));
}

std::optional<Measure> find_measure(std::string_view name) {
    const auto* const found = std::ranges::find(kFacts, name, &MeasureFacts::name);
    if (found == kFacts.end()) return std::nullopt;
    return found->measure;
}

const Score* Scores::find(Measure measure, Scale scale) const {
    const auto found = std::ranges::find_if(
        all, [&](const Score& score) { return score.measure == measure && score.scale == scale; });
    return found == all.end() ? nullptr : &*found;
}

std::optional<double> Scores::value(Measure measure, Scale scale) const {
    const Score* const score = find(measure, scale);
    return score == nullptr ? std::nullopt : score->value;
}

std::optional<double> Scores::mean_over_scales(Measure measure) const {
    double sum = 0;
    for (const Scale scale : {Scale::Full, Scale::Half, Scale::Quarter}) {
        const std::optional<double> one = value(measure, scale);
        if (!one) return std::nullopt;
        sum += *one;
    }
    return sum / 3;
}

void Scores::add(Measure measure, Scale scale, double value) {
    CHECK(!std::isnan(value));
    all.push_back({.measure = measure, .scale = scale, .value = value, .reason = {}});
}

void Scores::add_missing(Measure measure, Scale scale, std::string reason) {
    all.push_back(
        {.measure = measure, .scale = scale, .value = std::nullopt, .reason = std::move(reason)});
}

}  // namespace plimsoll::quality
