// SPDX-License-Identifier: Apache-2.0
//
// How many tokens a prompt becomes, for each text encoder and for the network that takes their
// output. Tokenizers are not run: the prompt's own length is an estimate; templates, padding and
// what is cut off again are ComfyUI's.
#pragma once
#include "memory/lowering/prompt_tokens.h"
#include "memory/program.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct PromptUse {
    std::vector<EncoderRun> runs;  // in the order of the encoders
    int tokens = 77;               // of the condition
};

// `encoders`: names as BuiltTextEncoder has them. `purpose`: the `type` of the loader node, or the
// family of the checkpoint.
[[nodiscard]] PromptUse use_prompt(std::span<const std::string> encoders, std::string_view purpose,
                                   const PromptLength& prompt);

}  // namespace plimsoll::memory
