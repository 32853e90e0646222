// SPDX-License-Identifier: Apache-2.0
//
// What flows along the links of a graph, as far as memory cares.
#pragma once
#include "base/phrase.h"
#include "memory/program.h"

#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace plimsoll::memory {

// Nothing that memory understands came out of a node; `why` is for people.
struct Nothing {
    Phrase why;
};
struct ModelValue {
    ModelUse use;
    ModelRole role = ModelRole::Unet;
    SamplingPatches patches = {};  // NOLINT(readability-redundant-member-init)
};
struct ConditioningValue {
    std::vector<ConditionUse> conditions;
};
struct SamplerValue {
    std::string sampler;
};
struct ScheduleValue {
    std::string scheduler;
    int steps = 20;
};
struct GuideValue {
    ModelValue model;
    std::vector<ConditionUse> positive;
    std::vector<ConditionUse> negative;
    double cfg = 1.0;
};
struct VideoShape {
    ImageShape images;
    double frames_per_second = 0;
};
struct SoundShape {
    double seconds = 0;
};
struct NumberValue {
    double number = 0;
};
struct TextValue {
    std::shared_ptr<const std::string> text;  // never empty; shared, for it may be long
};

struct Value;
// A node that is not known: whatever it was given may come out of it again.
struct PassedOn {
    Phrase why;  // "node 12 (MyNode) is not known"
    // Through several such nodes in a row: what came into the first. None is of this kind.
    std::vector<std::shared_ptr<const Value>> inputs;
    bool crowded = false;  // too many to keep: nothing is taken to come out
};

struct Value {
    std::variant<Nothing, ModelValue, ConditioningValue, LatentShape, ImageShape, VideoShape,
                 SoundShape, SamplerValue, ScheduleValue, GuideValue, NumberValue, TextValue,
                 PassedOn>
        what;
};

}  // namespace plimsoll::memory
