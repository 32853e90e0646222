// SPDX-License-Identifier: Apache-2.0
//
// What is known of how good settings of a model are: measured by the quality lab, and judged by the
// user's blind votes. The advisor's prices of quality come from it where it speaks about the change
// at hand, else from a prior; the price says which. Plain values and pure functions.
//
// One scale for all: 0 none to 1 worst, and at kHardlyShows a change hardly shows. Three points of
// a hundred, what the lab calls "not worse", are that much; so is a vote of 45 to 55.
#pragma once
#include "advisor/settings.h"
#include "base/phrase.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::advisor {

inline constexpr double kHardlyShows = 0.1;
inline constexpr double kPointsOfHardlyShows = 3;

struct SettingQuality {
    Settings settings;   // `model` is the checkpoint's file; seed and batch do not count
    double quality = 0;  // points of 100
    double low = 0;      // 95 %
    double high = 0;
    std::size_t pairs = 0;  // pictures it was compared on
};

// How much the user minds what the lab measures: 1 as points say, 0.5 half as much. From votes.
struct Minding {
    double weight = 1;
    double low = 1;  // 95 %
    double high = 1;
    std::size_t votes = 0;  // of the model that say something; 0: none were asked, or too few
};

struct QualityEvidence {
    std::vector<SettingQuality> settings;
    Minding minding;
};

enum class PriceBasis : std::uint8_t { Prior, Measured, Votes };
[[nodiscard]] std::string_view price_basis_name(PriceBasis basis);  // "prior", "measured", "votes"

struct QualityPrice {
    double cost = 0;  // 0 to 1
    double low = 0;   // 95 %
    double high = 0;
    PriceBasis basis = PriceBasis::Measured;
    Phrase words;
};

// The price of going from `before` to `after`. nullopt where the lab says nothing about it: both
// must have been measured with everything else alike. Steps between two that were measured are
// interpolated, none beyond; the size may be another one when it stays the same. An interval wider
// than it is useful (kUsefulPoints either way) is no evidence.
inline constexpr double kUsefulPoints = 10;  // chosen: a third of the scale
[[nodiscard]] std::optional<QualityPrice> price_of(const QualityEvidence& evidence,
                                                   const Settings& before, const Settings& after);

}  // namespace plimsoll::advisor
