// SPDX-License-Identifier: Apache-2.0
//
// The language models that encode prompts, each as one image or video model uses it. Sizes stand
// in the catalogue (data/architectures.json).
#pragma once
#include "memory/networks/text/decoder.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct KnownLanguageModel {
    std::string_view family;
    std::string_view user;  // how variants name the model it serves; empty: they name only types
    std::string_view class_name;  // of ComfyUI's wrapper
    modelfile::DecoderConfig config;
    DecoderOutput output;
};
[[nodiscard]] std::vector<KnownLanguageModel> known_language_models();

}  // namespace plimsoll::memory
