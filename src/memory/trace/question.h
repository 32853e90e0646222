// SPDX-License-Identifier: Apache-2.0
//
// Question: the fields of a trace line, read and checked, and what every family's answer needs of
// them.
#pragma once
#include "base/json.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/walk.h"

#include <string>
#include <string_view>

namespace plimsoll::memory::trace {

inline constexpr int kPixelsMax = 16384;  // along a side; ComfyUI's MAX_RESOLUTION

struct Types {
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float16;
    bool compute_named = false;  // false: what the phase computes in by itself
    bool scaled_fp8 = false;     // stored in fp8 with a scale for each Linear layer
};

struct Question {
    std::string family;
    std::string variant;
    std::string phase;
    std::string call;
    bool one_cond = false;  // at CFG 1 ComfyUI hands on no negative prompt
    int width = 0;
    int height = 0;
    int frames = 1;
    int latent_width = 0;
    int latent_height = 0;
    int batch = 1;
    int tokens = 77;
    int audio_latents = 0;  // of the sound beside a video; 0: not named
    Types types;
    ForwardRules rules;
    char recorder = 'a';
    double total_vram_gib = 0;  // of the card, where the forward depends on it; 0: not said
    const json::value* config = nullptr;  // constructor arguments, where given
    std::string note;                     // what is special: sizes of reference images, ...
};

// InvalidInput when a field cannot be.
[[nodiscard]] Result<Question> read_question(const json::value& line);
// "0.3.64" -> 3064, "0.33.0" -> 33000; at most three digits of each part count.
[[nodiscard]] int version_key(std::string_view version);

// The answer to what is not simulated: NotFound with the names.
[[nodiscard]] std::unexpected<Error> unknown(const Question& q);
[[nodiscard]] bool contains(std::string_view text, std::string_view part);
// Variants that say how the base network was run, not which network it is.
[[nodiscard]] bool is_way_of_running(std::string_view variant);
// Whether a variant is the network `name`, by itself or with the types it is run in: "2B",
// "2B_fp16", "2B_fp8_e4m3fn_store_cast_bf16".
[[nodiscard]] bool names_network(std::string_view variant, std::string_view name);
// "dev_edit_2ref" is "dev_edit" with two reference images, one digit: takes the ending off a
// variant. 0 where there is none.
[[nodiscard]] int take_references(std::string_view& variant);
[[nodiscard]] Result<void> check_size(const Question& q);

// The walk with the network's buffers among its parameters, as recorders b and c counted them.
[[nodiscard]] Walk with_buffers(const Question& q, const Network& network, Walk walk);

// What a denoiser's step is asked with; its entry is answer_step's to set.
[[nodiscard]] Result<StepCall> step_call(const Question& q);
// The step's walk, with what the question's recorder counts beside the network.
[[nodiscard]] Result<Walk> answer_step(const Question& q, const Denoiser& model, StepCall call);

}  // namespace plimsoll::memory::trace
