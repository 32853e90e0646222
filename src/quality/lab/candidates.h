// SPDX-License-Identifier: Apache-2.0
//
// Which settings a test tries, around a model's own: quick varies the steps, full also sampler,
// scheduler, CFG, size, tiling and the precisions that exist. Not every combination: each knob by
// itself, and steps together with the sampler, where they interact. Pure.
#pragma once
#include "quality/lab/setting.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

enum class TestKind : std::uint8_t { Quick, Full };
[[nodiscard]] std::string_view test_kind_name(TestKind kind);  // "quick", "full"

struct Surroundings {
    Setting base;            // what the model's profile asks for
    int native_side = 1024;  // pixels: the size that it was trained at
    bool distilled = false;  // turbo, lightning, LCM: few steps, CFG near 1
    int steps_min = 8;       // of generated settings
    int steps_max = 50;
    // What the server offers; empty: not known, all are taken to exist.
    std::vector<std::string> samplers;
    std::vector<std::string> schedulers;
    std::vector<std::string> precisions;  // other checkpoints of the same model
};

struct Candidates {
    std::vector<Setting> settings;  // no two alike
    std::size_t reference = 0;      // of them: the costliest, which all are compared with
    // Of them: another solver of the reference's equation at the same cost. How far the two are
    // apart is what no setting can be blamed for. nullopt where there is none.
    std::optional<std::size_t> second_reference;
};
inline constexpr std::size_t kCandidatesMax = 32;
[[nodiscard]] Candidates make_candidates(TestKind kind, const Surroundings& surroundings);

}  // namespace plimsoll::quality
