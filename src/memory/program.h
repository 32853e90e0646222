// SPDX-License-Identifier: Apache-2.0
//
// Program: what a workflow does when it is executed: steps in ComfyUI's order, with every number a
// step needs resolved. The graph is drawn, the program is executed; the two are never mixed. Plain
// values.
#pragma once
#include "base/units.h"
#include "memory/networks/walk.h"
#include "modelfile/network_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace plimsoll::memory {

struct LatentShape {
    int batch = 1;
    int channels = 4;
    int frames = 1;
    int height = 0;  // cells
    int width = 0;
};

// Index into Program::models.
using ModelIndex = int;

enum class ModelRole : std::uint8_t { Unet, TextEncoder, Vae, ControlNet };

// One thing ComfyUI's loader can load: a patcher around a network.
struct ProgramModel {
    ModelRole role = ModelRole::Unet;
    std::string file;  // as the workflow names it
    std::shared_ptr<const modelfile::Contents> contents;
    bool known = false;  // false: file missing or network not recognised
    std::string why_unknown;
    bool weight_dtype_forced = false;  // UNETLoader weight_dtype
    modelfile::DType forced_dtype = modelfile::DType::Float16;
    int loras = 0;  // LoRA patches stacked on it
};

struct TextEncodeStep {
    ModelIndex text_encoder = -1;
    int chunks = 1;
    int rows = 1;
};  // chunks of 77 tokens

struct SampleStep {
    ModelIndex unet = -1;
    std::vector<ModelIndex> controlnets;
    LatentShape latent;
    int steps = 20;
    double denoise = 1.0;
    int first_step = 0;  // KSamplerAdvanced
    int last_step = 10000;
    double cfg = 1.0;
    std::string sampler;
    std::string scheduler;
    int positive_tokens = 77;  // after padding to chunks
    int negative_tokens = 77;
    int positive_conds = 1;  // ConditioningCombine makes several
    int negative_conds = 1;
};

struct VaeStep {
    ModelIndex vae = -1;
    int batch = 1;
    int height = 0;  // pixels
    int width = 0;
    bool encode = false;
    bool tiled = false;
    int tile_size = 512;  // pixels
    int overlap = 64;
};

struct LoadStep {
    std::vector<ModelIndex> models;
};
struct CpuStep {};  // runs without the card
struct UnknownStep {
    std::string reason;
};

struct Step {
    std::string node_id;
    std::string class_type;
    std::variant<LoadStep, TextEncodeStep, SampleStep, VaeStep, CpuStep, UnknownStep> what;
    std::vector<std::string> notes;
};

struct Program {
    std::vector<ProgramModel> models;
    std::vector<Step> steps;  // in order of execution
    std::vector<std::string> unknown_nodes;
    std::vector<std::string> warnings;
};

}  // namespace plimsoll::memory
