// SPDX-License-Identifier: Apache-2.0
#include "advisor/evidence.h"

#include "base/say.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace plimsoll::advisor {
namespace {

struct Level {
    double quality = 0;
    double half = 0;  // of the 95 % interval
    std::size_t pairs = 0;
};

std::string_view file_of(std::string_view name) {
    return name.substr(name.find_last_of("/\\") + 1);
}

Level level_of(const SettingQuality& measured) {
    return {.quality = measured.quality,
            .half = std::max(measured.quality - measured.low, measured.high - measured.quality),
            .pairs = measured.pairs};
}

bool is_alike_but_steps(const Settings& a, const Settings& b, bool same_size) {
    return file_of(a.model) == file_of(b.model) && a.cfg == b.cfg && a.sampler == b.sampler &&
           a.scheduler == b.scheduler && a.vae_tiling == b.vae_tiling &&
           (!same_size || (a.width == b.width && a.height == b.height));
}

// Of one size, so that no two sizes are mixed: the wanted one, else any.
std::vector<const SettingQuality*> curve_of(const QualityEvidence& evidence, const Settings& wanted,
                                            bool same_size) {
    std::vector<const SettingQuality*> curve;
    for (const SettingQuality& one : evidence.settings) {
        if (!is_alike_but_steps(one.settings, wanted, same_size)) continue;
        if (!curve.empty() && (one.settings.width != curve.front()->settings.width ||
                               one.settings.height != curve.front()->settings.height))
            continue;
        curve.push_back(&one);
    }
    std::ranges::sort(curve, {}, [](const SettingQuality* one) { return one->settings.steps; });
    return curve;
}

std::optional<Level> at_steps(const std::vector<const SettingQuality*>& curve, int steps) {
    for (std::size_t i = 0; i < curve.size(); ++i) {
        const SettingQuality& upper = *curve[i];
        if (upper.settings.steps == steps) return level_of(upper);
        if (i == 0 || upper.settings.steps < steps) continue;
        const SettingQuality& lower = *curve[i - 1];
        if (lower.settings.steps > steps) break;
        const double t = static_cast<double>(steps - lower.settings.steps) /
                         (upper.settings.steps - lower.settings.steps);
        const Level a = level_of(lower);
        const Level b = level_of(upper);
        // As unsure as the less sure of the two: what lies between them was not looked at.
        return Level{.quality = std::lerp(a.quality, b.quality, t),
                     .half = std::max(a.half, b.half),
                     .pairs = std::min(a.pairs, b.pairs)};
    }
    // Beyond the most steps that were tried nothing gets worse, but by how much better is unknown.
    return std::nullopt;
}

struct Seen {
    Level before;
    Level after;
    const SettingQuality* example = nullptr;
};

std::optional<Seen> look_up(const QualityEvidence& evidence, const Settings& before,
                            const Settings& after) {
    const bool size_stays = before.width == after.width && before.height == after.height;
    for (const bool same_size : {true, false}) {
        if (!same_size && !size_stays) break;
        const auto curve_before = curve_of(evidence, before, same_size);
        const auto curve_after = curve_of(evidence, after, same_size);
        if (curve_before.empty() || curve_after.empty()) continue;
        const Settings& one = curve_before.front()->settings;
        const Settings& other = curve_after.front()->settings;
        if (size_stays && (one.width != other.width || one.height != other.height)) continue;
        const auto was = at_steps(curve_before, before.steps);
        const auto is = at_steps(curve_after, after.steps);
        if (was && is) return Seen{*was, *is, curve_after.front()};
    }
    return std::nullopt;
}

// As far as the numbers are worth telling.
double tenths(double points) {
    return std::round(points * 10) / 10;
}
double two_digits(double weight) {
    if (weight == 0 || !std::isfinite(weight)) return weight;
    const double unit = std::pow(10, std::floor(std::log10(std::abs(weight))) - 1);
    return std::round(weight / unit) * unit;
}

}  // namespace

std::string_view price_basis_name(PriceBasis basis) {
    constexpr std::array<std::string_view, 3> kNames{"prior", "measured", "votes"};
    return kNames.at(static_cast<std::size_t>(basis));
}

std::optional<QualityPrice> price_of(const QualityEvidence& evidence, const Settings& before,
                                     const Settings& after) {
    const auto seen = look_up(evidence, before, after);
    if (!seen) return std::nullopt;
    // Each is known against the reference; their own difference at most as badly as both together.
    const double half = std::hypot(seen->before.half, seen->after.half);
    if (!(half <= kUsefulPoints)) return std::nullopt;
    const double lost = seen->before.quality - seen->after.quality;
    const Minding& minding = evidence.minding;
    const double scale = minding.weight * kHardlyShows / kPointsOfHardlyShows;
    const auto cost = [&](double points) { return std::clamp(scale * points, 0.0, 1.0); };
    QualityPrice out;
    out.cost = cost(lost);
    out.low = cost(lost - half);
    out.high = cost(lost + half);
    out.basis = minding.votes > 0 ? PriceBasis::Votes : PriceBasis::Measured;
    const Settings& at = seen->example->settings;
    const double low = tenths(lost - half);
    const double high = tenths(lost + half);
    const std::size_t pairs = std::min(seen->before.pairs, seen->after.pairs);
    Phrases size;
    if (at.width != after.width || at.height != after.height)
        size.push_back(say<"price.of_size">(at.width, at.height));
    Phrases minded;
    if (minding.votes > 0)
        minded.push_back(say<"price.minded">(minding.votes, two_digits(minding.weight)));
    out.words = lost >= 0 ? say<"price.worse">(tenths(lost), low, high, pairs, std::move(size),
                                               std::move(minded))
                          : say<"price.better">(tenths(-lost), low, high, pairs, std::move(size),
                                                std::move(minded));
    return out;
}

}  // namespace plimsoll::advisor
