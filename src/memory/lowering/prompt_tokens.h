// SPDX-License-Identifier: Apache-2.0
//
// How long a prompt is in CLIP's tokens. An estimate: the vocabulary is not at hand, and only the
// number of chunks of 77 matters, which is right unless a prompt ends within a few tokens of a
// chunk's border.
#pragma once
#include <string_view>

namespace plimsoll::memory {

struct PromptLength {
    int tokens = 0;
    int chunks = 1;         // of 77 tokens, 75 of them text
    bool weighted = false;  // words carry weights: ComfyUI encodes an empty text beside
};

[[nodiscard]] PromptLength estimate_prompt_length(std::string_view text);

}  // namespace plimsoll::memory
