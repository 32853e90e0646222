// SPDX-License-Identifier: Apache-2.0
//
// What flows between nodes: not tensors, but descriptions of what a tensor would hold, with the
// sizes that memory and time depend on.
//
// Threads: values are shared and never changed once handed on.
#pragma once
#include "simulator/card/loader.h"
#include "simulator/picture/scene.h"
#include "simulator/python_value.h"

#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace plimsoll::simulator {

struct ModelValue {
    Patcher patcher;
    std::string network;    // of the recordings: "sdxl"
    std::string name;       // of the file
    int element_bytes = 2;  // in which it computes
    double factor = 1;      // memory_usage_factor
    double share = 1;       // of the recorded sizes, for the small test model
    int native_side = 512;
    int lora_count = 0;
    double forward_seconds = 0;  // at least; see ModelFile
    double forward_seconds_per_cell = 0;
};

struct ClipValue {
    Patcher patcher;
    std::vector<std::string> networks;
    std::string name;
};

struct VaeValue {
    Patcher patcher;
    int element_bytes = 2;
    double share = 1;
};

struct ControlNetValue {
    std::shared_ptr<Weights> weights;
    std::string network;
};

struct UpscaleModelValue {
    std::shared_ptr<Weights> weights;
    int scale = 4;
};

struct Condition {
    std::string text;
    std::string model;  // of the text encoder
    int tokens = 77;
    std::shared_ptr<const ControlNetValue> control;
};
struct Conditioning {
    std::vector<Condition> all;
};

struct LatentValue {
    int width = 0;  // cells of 8 x 8 pixels
    int height = 0;
    std::vector<Recipe> items;
    bool masked = false;  // inpainting
};

struct ImageValue {
    std::vector<std::shared_ptr<const Pixels>> items;
};
struct MaskValue {
    int width = 0;
    int height = 0;
};

// A literal of the prompt is a Value.
using NodeValue = std::variant<Value, ModelValue, ClipValue, VaeValue, ControlNetValue,
                               UpscaleModelValue, Conditioning, LatentValue, ImageValue, MaskValue>;

// str(x) as error messages of the real server show it, abridged: the simulator has no numbers.
[[nodiscard]] Value describe(const NodeValue& value);

}  // namespace plimsoll::simulator
