// SPDX-License-Identifier: Apache-2.0
#include "simulator/picture/judgement.h"

#include "base/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

namespace plimsoll::simulator {
namespace {

// In points, chosen; see the header.
constexpr double kPromptLuck = 8;
constexpr double kSeedLuck = 4;
constexpr double kResidual = 2;
constexpr double kSpoiltShare = 0.05;
constexpr double kSpoilt = 8;         // SD of what chance spoils (or makes) then
constexpr double kPromptMinds = 0.4;  // of the logarithm of how much a prompt minds a defect
constexpr double kSeedMinds = 0.2;

// What of all badness a setting owes to what; a prompt minds each by itself.
constexpr std::size_t kKinds = 5;  // noise, burn, wash, size, taste
using Parts = std::array<double, kKinds>;

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    return Random(a * 0x9E3779B97F4A7C15ULL ^ Random(b).next_u64()).next_u64();
}
std::uint64_t hashed(std::string_view text) {
    std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}
double normal_of(std::uint64_t key) {
    return Random(key).next_normal();
}
// Log-normal with mean 1.
double minds_of(std::uint64_t key, double spread) {
    return std::exp(spread * normal_of(key) - spread * spread / 2);
}

Parts badness_parts(const PictureSettings& settings, std::uint64_t model) {
    const std::uint64_t sampler = mixed(model, hashed(settings.sampler));
    const std::uint64_t scheduler = mixed(sampler, hashed(settings.scheduler));
    // How fast this model converges with this sampler: 15 % either way, in steps.
    const double pace = std::exp(0.15 * normal_of(sampler));
    const Defects defects = true_defects(settings);
    const double converged = settings.steps * sampler_rate(settings.sampler) / 8;
    Parts parts{};
    parts[0] = 4 * defects.noise * std::exp(-converged * (pace - 1));
    parts[1] = 0.8 * std::max(0.0, defects.contrast - 1.04);
    parts[2] = defects.wash;
    parts[3] = 2 * defects.softness + 1.5 * defects.doubling;
    // Somewhere between 4 and 8 a model looks best; two units aside cost two points.
    const double liked_cfg = 4 + 4 * Random(model).next_unit();
    const double aside = (settings.cfg - liked_cfg) / 2;
    parts[4] = 0.02 * aside * aside;
    // Some samplers and some of their schedules never suit a model: up to some points.
    parts[4] += 0.015 * std::abs(normal_of(sampler + 1)) + 0.01 * std::abs(normal_of(scheduler));
    return parts;
}

double sum_of(const Parts& parts) {
    double sum = 0;
    for (const double part : parts) sum += part;
    return sum;
}

// Pictures with the same composition share their luck.
std::uint64_t composition_of(const PictureSettings& settings, const Defects& defects) {
    std::uint64_t key = mixed(static_cast<std::uint64_t>(settings.width),
                              static_cast<std::uint64_t>(settings.height));
    key = mixed(key, static_cast<std::uint64_t>(std::lround(settings.cfg * 100)));
    if (defects.drift > 0)
        key =
            mixed(mixed(key, hashed(settings.sampler)), static_cast<std::uint64_t>(settings.steps));
    return key;
}

}  // namespace

double true_quality(const PictureSettings& settings, std::uint64_t model) {
    return 100 * std::exp(-sum_of(badness_parts(settings, model)));
}

double judged_quality(const PictureSettings& settings, std::uint64_t model, std::uint64_t prompt,
                      std::uint64_t seed) {
    const Parts parts = badness_parts(settings, model);
    const double badness_sum = sum_of(parts);
    const double lost = 100 * (1 - std::exp(-badness_sum));
    const std::uint64_t prompt_key = mixed(model + 1, prompt);
    const std::uint64_t block_key = mixed(prompt_key, seed);
    double minded = 0;
    for (std::size_t kind = 0; kind < kKinds; ++kind)
        minded += parts[kind] * minds_of(mixed(prompt_key, kind + 1), kPromptMinds) *
                  minds_of(mixed(block_key, kind + 1), kSeedMinds);
    const double share = badness_sum > 0 ? minded / badness_sum : 0;
    const std::uint64_t composed =
        mixed(block_key, composition_of(settings, true_defects(settings)));
    std::uint64_t picture =
        mixed(mixed(composed, hashed(settings.sampler)), hashed(settings.scheduler));
    picture = mixed(picture, static_cast<std::uint64_t>(settings.steps));
    Random chance(picture);
    double residual = kResidual * chance.next_normal();
    if (chance.next_unit() < kSpoiltShare) residual += kSpoilt * chance.next_normal();
    return 100 - lost * share + kPromptLuck * normal_of(prompt_key) +
           kSeedLuck * normal_of(composed) + residual;
}

}  // namespace plimsoll::simulator
