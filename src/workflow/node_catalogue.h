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

// The roles of a verb's inputs are ComfyUI's usual names ("model", "latent_image"...). What comes
// out of a node is `outputs`, unless a verb says otherwise.
enum class NodeVerb : std::uint8_t {
    Compute,              // on the CPU
    Patch,                // weights patched (LoRA)
    Evaluate,             // the text of `expression`: a number, a whole number, a truth
    LoadCheckpoint,       // ckpt_name -> model, clip, vae
    LoadUnet,             // unet_name, weight_dtype -> model
    LoadClip,             // `files` -> clip
    LoadVae,              // vae_name -> vae
    LoadControlNet,       // control_net_name -> control net
    LoadClipVision,       // `files` -> CLIP vision
    LoadUpscaler,         // `files` -> an upscale model
    LoadLatentUpscaler,   // `files` -> an upscale model of latents
    LoadOther,            // `files` -> a network that is not forecast
    LoadMedia,            // `files`: an image, a video or a sound of the server's
    RunOther,             // runs a network that is not forecast
    EncodeText,           // clip, `texts` -> conditioning: the output that passes "clip", if named
    WriteText,            // clip, `texts`, max_length -> a text of a language model
    CombineConditioning,  // `combined`: all run
    ConcatConditioning,   // conditioning_to, conditioning_from: one longer text
    ApplyControlNet,      // control_net onto the conditionings of `outputs`
    Sample,               // every sampler
    Guide,                // model, `positives`, negative, `cfg`
    VaeDecode,            // samples, vae
    VaeEncode,            // pixels, vae
    Upscale,              // image, upscale_model -> image
    UpscaleLatent,        // samples, upscale_model -> latent
};

// Expressions (workflow/expression.h) over the node's inputs. An empty one: as `like` has it, or 1.
struct MadeShape {
    std::string like;  // the input it starts from; "encoded": what the node's VAE made
    std::string batch;
    std::string channels;
    std::string frames;  // cells of time
    std::string height;
    std::string width;
    std::string sound;         // cells of time of a sound's latent that goes along
    std::string guides;        // of `frames`: those that a node added and another takes off again
    std::string kept;          // of `frames`: those that a noise mask keeps as they are
    int pixels_per_cell = 0;   // 0: as `like`
    int samples_per_cell = 0;  // of a sound that a model of another rate takes as its own; 0: none
    int frames_per_cell = 0;
};

struct NodeOutput {
    enum class Kind : std::uint8_t {
        Nothing,
        Input,         // `from` comes out
        Choice,        // the input that the expression `value` names
        Conditioning,  // of `value` tokens
        Latent,        // `shape`
        Image,         // `shape`; a mask and a video's frames too
        Video,         // `shape`, `value` frames a second
        Sound,         // `value` seconds
        Value,         // `value`: a number or a text
        Sampler,       // `value`: its name
        Schedule,      // `value` steps
    } kind = Kind::Nothing;
    std::string from;
    std::string value;
    MadeShape shape;
};

// Pixels that a node encodes itself.
struct EncodeRule {
    std::string vae = "vae";
    std::string pixels;  // an input, or several that grow on demand: "images."; `pixels` in shapes
    std::string when;    // an expression; empty: where both are connected
    std::string times;   // how often
    MadeShape shape;     // like `pixels` where it says nothing
};

struct NodeKind {
    std::string class_type;
    NodeVerb verb = NodeVerb::Compute;
    bool output_node = false;             // ComfyUI runs it although nothing reads it
    bool tiled = false;                   // VaeDecode, VaeEncode
    bool sound = false;                   // VaeDecode, VaeEncode, LoadVae: of sound
    bool refers_to_encoded = false;       // what it encodes becomes references of conditionings
    int image_tokens = 0;                 // EncodeText, WriteText: of each image beside the text
    int own_tokens = 0;                   // WriteText: of the instruction that the node adds
    std::vector<NodeOutput> outputs;      // by slot; the last one stands for all that follow
    std::vector<std::string> makes;       // LoadCheckpoint: what comes out; empty: as usual
    std::vector<std::string> sees;        // images that its CLIP vision encodes, before all else
    std::vector<EncodeRule> encodes;      // in this order, before what is not seen
    std::vector<std::string> references;  // inputs whose latents become references
    std::vector<std::string> files;       // LoadClip, LoadOther, LoadMedia: inputs
    std::vector<std::string> texts;       // EncodeText, WriteText: inputs
    std::vector<std::string> images;      // WriteText: inputs
    std::string lyrics;                   // EncodeText: the input whose text is sung
    std::string written;  // EncodeText, an expression: tokens that a language model writes behind
    bool written_is_condition = false;   // and that are at most the condition's
    std::vector<std::string> positives;  // Guide: inputs
    std::vector<std::string> combined;   // CombineConditioning: inputs
    std::string network;                 // LoadOther, RunOther: what it is
    std::string folder;          // loaders: ComfyUI's folder of their files, if not as usual
    std::string expression;      // Evaluate: the input
    std::string cfg = "cfg";     // Guide: an expression
    std::string extra_forwards;  // an expression: forwards more in each step
    // What the node changes about sampling with the models that come out of it, and about the
    // conditionings: by name an expression (memory/lowering/patch_rules.h has the names).
    std::map<std::string, std::string, std::less<>> patch;
    std::map<std::string, std::string, std::less<>> condition;
    std::string note;  // for people, with every step that samples with such a model
    std::map<std::string, std::string, std::less<>> renamed;  // role -> the node's input
    std::map<std::string, std::string, std::less<>> lazy;     // input -> whether it is needed

    // The node's input that plays a role.
    [[nodiscard]] std::string_view input_of(std::string_view role) const;
};

// nullptr for a type that the catalogue lacks.
[[nodiscard]] const NodeKind* find_node_kind(std::string_view class_type);

}  // namespace plimsoll::workflow
