// SPDX-License-Identifier: Apache-2.0
//
// The node catalogue (data/nodes.json, compiled in): what each node type does, as far as memory and
// time care. A node is added there, without C++. Read once, on first use; immutable afterwards.
//
// Threads: any number of readers.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::workflow {

// The roles of a verb's inputs are ComfyUI's usual names ("model", "latent_image"...).
enum class NodeVerb : std::uint8_t {
    Compute,              // on the CPU; no value that memory cares about comes out
    Pass,                 // each output is an input, as `outputs` says
    Constant,             // a constant: the input "value"
    Patch,                // Pass, with weights patched (LoRA)
    LoadCheckpoint,       // ckpt_name -> model, clip, vae
    LoadUnet,             // unet_name, weight_dtype -> model
    LoadClip,             // `files` -> clip
    LoadVae,              // vae_name -> vae
    LoadControlNet,       // control_net_name -> control net
    EncodeText,           // clip, `texts` -> conditioning
    CombineConditioning,  // conditioning_1, conditioning_2: both run
    ConcatConditioning,   // conditioning_to, conditioning_from: one longer text
    ApplyControlNet,      // control_net onto the conditionings of `outputs`
    EncodeConditioning,   // vae, pixels, positive, negative: encodes pixels into the conditioning
    EmptyLatent,          // width, height, batch_size
    ResizeLatent,         // samples to width x height pixels
    ScaleLatent,          // samples by scale_by
    RepeatLatent,         // samples, amount
    TakeLatents,          // samples, batch_index, length
    JoinLatents,          // samples1, samples2
    Sample,               // every sampler
    ChooseSampler,        // sampler_name
    Schedule,             // scheduler, steps, denoise
    Guide,                // model, positive, negative, cfg
    VaeDecode,            // samples, vae
    VaeEncode,            // pixels, vae
    LoadImage,            // a file of the server's
    EmptyImage,           // width, height, batch_size
    ResizeImage,          // image to width x height
    ScaleImage,           // image by scale_by
    FitImage,             // image to megapixels
    PadImage,             // image by left, top, right, bottom
    RepeatImage,          // image, amount
};

struct NodeKind {
    std::string class_type;
    NodeVerb verb = NodeVerb::Compute;
    bool output_node = false;          // ComfyUI runs it although nothing reads it
    bool tiled = false;                // VaeDecode, VaeEncode
    int channels = 4;                  // EmptyLatent
    int pixels_per_cell = 8;           // EmptyLatent
    int frames_per_cell = 1;           // EmptyLatent; above 1: a video of `length` frames
    std::vector<std::string> outputs;  // by slot: the input that comes out of it
    std::vector<std::string> files;    // LoadClip
    std::vector<std::string> texts;    // EncodeText
    std::map<std::string, std::string, std::less<>> renamed;  // role -> the node's input

    // The node's input that plays a role.
    [[nodiscard]] std::string_view input_of(std::string_view role) const;
};

// nullptr for a type that the catalogue lacks.
[[nodiscard]] const NodeKind* find_node_kind(std::string_view class_type);

}  // namespace plimsoll::workflow
