// SPDX-License-Identifier: Apache-2.0
//
// The ghost network of a text encoder, from the numbers of its file.
#pragma once
#include "base/error.h"
#include "memory/compute_type.h"
#include "memory/residency/dtypes.h"
#include "modelfile/network_config.h"

#include <memory>
#include <string>
#include <string_view>

namespace plimsoll::memory {

class ClipNetwork;
class Network;
class TextNetwork;
struct DecoderOutput;

// One of the two networks is there.
struct BuiltTextEncoder {
    std::string name;    // "clip_l", "t5_xxl", "qwen25_7b"
    std::string prefix;  // "clip_l.": before the module paths of a model with several encoders
    std::shared_ptr<const ClipNetwork> clip;
    std::shared_ptr<const TextNetwork> text;  // T5, language models, what follows them
    // What ComfyUI keeps of the file's type: two bytes at most for an element; CLIP follows the
    // server's own choice instead.
    ComputeType stored = ComputeType::Float16;
    bool follows_another = false;  // works on what another encoder made; none by itself
    bool computes_bf16 = false;    // where the card can

    [[nodiscard]] const Network& network() const;
};

// In which types ComfyUI keeps it and computes it.
[[nodiscard]] Types types_of(const BuiltTextEncoder& encoder, const LaunchFlags& flags);
// The same on a card, by which some choose what they compute in.
[[nodiscard]] Types types_on(const Device& device, const BuiltTextEncoder& encoder,
                             const LaunchFlags& flags);

// What a language model hands on to the model that it serves; nullptr: its usual. `purpose`: the
// `type` of the loader node, or the family of the checkpoint.
[[nodiscard]] const DecoderOutput* output_for(const BuiltTextEncoder& encoder,
                                              std::string_view purpose);

// NotFound where the numbers are those of no text encoder that is known, InvalidInput where they
// contradict each other.
[[nodiscard]] Result<BuiltTextEncoder> build_text_encoder(
    const modelfile::Part<modelfile::TextEncoderConfig>& part);

}  // namespace plimsoll::memory
