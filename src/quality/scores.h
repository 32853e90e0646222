// SPDX-License-Identifier: Apache-2.0
//
// What is known about a picture, or about a picture beside its reference, as values: which measures
// exist, in which direction each is better, what each came to, and why one has no value. A measure
// that does not apply says so in words; it never stands in with a number.
//
// Leaves through: Scores, Comparison.   Threads: no shared state.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

enum class Measure : std::uint8_t {
    // Of a candidate beside its reference: the same prompt, seed and size (Needs::Pair).
    Psnr,
    Ssim,
    MsSsim,
    Gmsd,
    HaarPsi,
    Mdsi,
    SharpnessRatio,
    // Of one picture (Needs::Picture).
    FlatNoise,
    Sharpness,
    EdgeEnergy,
    LatentGrid8,
    LatentGrid16,
    TilingSeams,
    ClippedShare,
    Saturation,
    SaturatedShare,
    Chroma95,
    Contrast,
    Entropy,
    Colourfulness,
    SpectralSlope,
    HighFrequencyShare,
    SpectralTail,
    // Of one picture beside a model (Needs::Model).
    Niqe,
    Brisque,
};
inline constexpr std::size_t kMeasures = static_cast<std::size_t>(Measure::Brisque) + 1;

enum class Needs : std::uint8_t { Pair, Picture, Model };

// AsReference: neither end is good in itself; what is far from the run's references is worse.
enum class Better : std::uint8_t { Higher, Lower, AsReference };

// Half and Quarter are the picture after one and two means of 2 x 2 pixels.
enum class Scale : std::uint8_t { Full, Half, Quarter };
[[nodiscard]] std::string_view name_of(Scale scale);  // "full", "half", "quarter"

struct MeasureFacts {
    Measure measure;
    Needs needs;
    Better better;
    bool has_scales;         // measured at Full, Half and Quarter, otherwise only at Full
    std::string_view name;   // in JSON: "haarPsi"
    std::string_view title;  // in tables: "HaarPSI"
    std::string_view unit;   // "dB", "bit", "share" (0 to 1, shown in per cent) or empty
    std::string_view what;   // one line in plain words
};
[[nodiscard]] std::span<const MeasureFacts, kMeasures> all_measures();
[[nodiscard]] const MeasureFacts& facts_of(Measure measure);
[[nodiscard]] std::optional<Measure> find_measure(std::string_view name);

// Either a value or the reason why there is none. The only value that is not finite is the PSNR of
// two equal pictures: +infinity. NaN never occurs.
struct Score {
    Measure measure = Measure::Psnr;
    Scale scale = Scale::Full;
    std::optional<double> value;
    std::string reason;  // "needs 176 x 176 pixels, this has 64 x 64"; empty beside a value

    friend bool operator==(const Score&, const Score&) = default;
};

struct Scores {
    std::vector<Score> all;  // in the order of Measure, then Scale

    [[nodiscard]] const Score* find(Measure measure, Scale scale = Scale::Full) const;
    [[nodiscard]] std::optional<double> value(Measure measure, Scale scale = Scale::Full) const;
    // The mean over the scales, none unless all have a value.
    [[nodiscard]] std::optional<double> mean_over_scales(Measure measure) const;
    void add(Measure measure, Scale scale, double value);
    void add_missing(Measure measure, Scale scale, std::string reason);
};

// Whether the pair shows one picture at all. Measures of a pair say nothing about quality when not.
enum class Likeness : std::uint8_t { SamePicture, OtherPicture, Unknown };
[[nodiscard]] std::string_view name_of(Likeness likeness);  // "samePicture"...

// HaarPSI of the quarter scale below which two pictures are taken for different ones
// (reference: "< ~0.6"; a shift of one pixel still reads above it).
inline constexpr double kSamePictureLeast = 0.6;

struct Comparison {
    Likeness likeness = Likeness::Unknown;
    Scores pair;       // Needs::Pair
    Scores reference;  // Needs::Picture and Needs::Model
    Scores candidate;  // the same measures in the same order
};

}  // namespace plimsoll::quality
