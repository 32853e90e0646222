// SPDX-License-Identifier: Apache-2.0
//
// Program: what a workflow does when it is executed: steps in ComfyUI's order, with every number a
// step needs resolved. The graph is drawn, the program is executed; the two are never mixed. Plain
// values.
#pragma once
#include "base/phrase.h"
#include "base/units.h"
#include "memory/compute_type.h"
#include "memory/reference_method.h"
#include "memory/samplers.h"
#include "modelfile/network_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace plimsoll::memory {

struct BuiltFile;

struct LatentShape {
    int batch = 1;
    int channels = 4;
    int frames = 1;  // cells of time
    int height = 0;  // cells
    int width = 0;
    int pixels_per_cell = 8;
    int samples_per_cell =
        0;                    // of a sound whose cells a model of another rate counts anew; 0: none
    int frames_per_cell = 1;  // above 1: a video; the first frame has a cell of its own
    // Cells of time of a sound's latent that is sampled along (LTX-2's nested latents).
    int sound = 0;
    int guides = 0;  // of `frames`: those that guide the others and are taken off again
    // Of `frames`: those that a noise mask keeps as they are. Then networks that can take a
    // timestep for each frame or token do.
    int kept = 0;
    friend bool operator==(const LatentShape&, const LatentShape&) = default;
};

// A list of images, the frames of a video, or masks.
struct ImageShape {
    int batch = 1;
    int height = 0;  // pixels
    int width = 0;
};

// Index into Program::models.
using ModelIndex = int;

// ModelPatch: runs inside a diffusion network. ImageReader: makes masks, depths... of images.
// AudioEncoder: listens. Other: a network of a kind that is not forecast (yet).
enum class ModelRole : std::uint8_t {
    Unet,
    TextEncoder,
    Vae,
    ControlNet,
    ClipVision,
    Upscaler,
    LatentUpscaler,
    ModelPatch,
    ImageReader,
    AudioEncoder,
    Other
};
[[nodiscard]] std::string_view model_role_name(ModelRole role);  // "unet", "text encoder"...

// One thing ComfyUI's loader can load: a patcher around a network.
struct ProgramModel {
    ModelRole role = ModelRole::Unet;
    std::string purpose;  // of text encoders: the model they serve, as the loader's `type` says
    std::vector<std::string> files;  // as the workflow names them: one, or several text encoders
    // Networks of the files; empty where a file is missing or holds none of this role.
    std::vector<std::shared_ptr<const BuiltFile>> built;
    Phrase why_unknown;                         // empty: known
    std::optional<ComputeType> forced_storage;  // UNETLoader's weight_dtype
    bool own_file = false;                      // a loader node of its own, not a checkpoint's

    [[nodiscard]] bool known() const { return why_unknown.empty(); }
};

// A file of low-rank matrices that change weights.
struct ProgramLora {
    std::string file;
    std::int64_t elements = 0;  // of all its matrices; 0: the file was not seen
    Bytes bytes;
};
// Index into Program::loras.
using LoraIndex = int;

// `why` with what is known of a network that is not: "...; the tensors of birefnet.safetensors take
// 424 MiB" where its files were seen.
[[nodiscard]] Phrase with_weights(Phrase why, const ProgramModel& model);

// A model as a node hands it on: the same weights, perhaps with patches. Equal patch ids are equal
// patches.
struct ModelUse {
    ModelIndex model = -1;
    std::uint64_t patch_id = 0;  // 0: unpatched
    std::vector<LoraIndex> loras =
        {};                     // one after the other; NOLINT(readability-redundant-member-init)
    bool merged_whole = false;  // with another model: every weight is patched
    // Model patches that run inside it. Initialised, so that designated initialisers may leave it
    // out.
    std::vector<ModelIndex> additions = {};  // NOLINT(readability-redundant-member-init)
};

struct LoadStep {
    std::vector<ModelIndex> models;
};

// How one text encoder takes a prompt.
struct EncoderRun {
    // CLIP: chunks of 77 tokens. One more where words carry weights. 0: it does not run.
    int rows = 1;
    int tokens = 77;
};
// Each text encoder of the model runs once, one after the other.
struct TextEncodeStep {
    ModelUse text_encoder;
    std::vector<EncoderRun> runs;  // in the order of the model's encoders
};

// A language model writes text after a prompt.
struct TextGenerateStep {
    ModelUse text_encoder;
    int prompts = 1;  // 2: a negative one guides the choice of words
    int prompt_tokens = 1;
    int new_tokens = 256;  // at most
    bool exact = false;    // as many are written
};

// A part of the latent that a condition is for: in cells of 8 pixels, or in shares of the whole.
struct ConditionArea {
    double height = 0;
    double width = 0;
    double frames = 0;  // 0: all
    double top = 0;
    double left = 0;
    bool shares = false;
    friend bool operator==(const ConditionArea&, const ConditionArea&) = default;
};

// One condition: a text, perhaps with ControlNets on it.
struct ConditionUse {
    int tokens = 77;                      // that the network takes
    int lyrics = 0;                       // tokens of what is sung, beside the text
    std::vector<LatentShape> references;  // latents of images beside the text
    ReferenceMethod reference_method = ReferenceMethod::Usual;
    std::vector<ModelIndex> controlnets;
    ModelIndex hint_vae = -1;                // what the node was given to encode the hint with
    std::uint64_t control_id = 0;            // equal ids: the same control objects, 0: none
    std::optional<ConditionArea> area = {};  // NOLINT(readability-redundant-member-init)
    // Of the schedule: it runs in these steps only.
    double start = 0;
    double end = 1;
};

// A long latent in windows that overlap: each step runs once for every window.
struct ContextWindow {
    int length = 16;  // cells along the axis
    int overlap = 4;
    int stride = 1;        // uniform schedules: windows of every second cell... besides
    int axis = 0;          // of the latent: 0 the batch, 2 the frames of a video
    bool uniform = false;  // the last window may begin where it likes
    bool batched = false;  // side by side, without overlap
    bool leading = false;  // a frame before all windows but the first goes with them
};

// What patches of a model change about sampling with it.
struct SamplingPatches {
    // Forwards of one condition that patches run besides in each step (perturbed attention...).
    double extra_forwards = 0;
    bool keeps_negative = false;  // it is run although CFG is 1
    bool negative_apart = false;  // never in one forward with the positive
    std::optional<double> cfg =
        {};  // instead of the step's; NOLINT(readability-redundant-member-init)
    std::optional<ContextWindow> window = {};  // NOLINT(readability-redundant-member-init)
    // Tensors that stay on the card from step to step, of the size of a latent: in fp32, and of
    // each condition in the network's type.
    double kept_latents = 0;
    double kept_outputs = 0;
    // The same of the size of the network's hidden states, of each condition (TeaCache...).
    double kept_hidden = 0;
    // Files whose weights lie beside the model's on the card: LoRAs that are not merged, adapters.
    std::vector<LoraIndex> beside = {};  // NOLINT(readability-redundant-member-init)
    // Of a UNet.
    bool attention_scores = false;  // those of the middle block are kept (self-attention guidance)
    bool skip_filter = false;       // Fourier filter of skips (FreeU)
    double merged_tokens = 0;       // share of tokens merged before self-attention (ToMe)
    Phrases notes = {};             // for people; NOLINT(readability-redundant-member-init)
};

struct SampleStep {
    ModelUse unet;
    LatentShape latent;
    int steps = 20;  // that run: what a range or a denoise below 1 leaves
    Ending ending = Ending::Clean;
    double cfg = 1.0;
    std::string sampler;
    std::string scheduler;
    std::vector<ConditionUse> positive;
    std::vector<ConditionUse> negative;
    SamplingPatches patches;
};

enum class VaeDirection : std::uint8_t { Decode, Encode };
struct VaeStep {
    ModelUse vae;
    VaeDirection direction = VaeDirection::Decode;
    ImageShape image;  // of a video: `batch` is its frames
    bool video = false;
    bool tiled = false;
    int tile_size = 512;  // pixels
    int overlap = 64;
    int tile_frames = 64;  // of pixels, of a tile of a video
    int frame_overlap = 8;
    // Above 0: a sound of so many latents along the time, instead of the images. `image.batch` is
    // how many sounds, `tile_size` and `overlap` count latents.
    int sound_latents = 0;
};

// An image encoder sees images, all at once, in the size that it takes.
struct ImageEncodeStep {
    ModelUse clip_vision;
    ImageShape image;
};

// A network looks at images and answers with something else than a latent: masks, depths...
struct LookStep {
    ModelUse reader;
    ImageShape image;           // that the node is given
    int side = 0;               // pixels that a side of what it sees is brought to; 0: its own way
    bool shorter_side = false;  // that is the shorter one
    double detail = 1;          // of 0 to 1, where the node lets choose it
    int at_once = 1;            // images in a forward
    int refinements = 0;        // closer looks at what was found
    bool has_text = true;       // that says what to find
};

// A network listens to a sound.
struct HearStep {
    ModelUse listener;
    double seconds = 0;  // of the sound
};

// An upscaler enlarges images, tile by tile.
struct UpscaleStep {
    ModelUse upscaler;
    ImageShape image;  // that goes in
};

// A latent upsampler enlarges a latent, all of it at once.
struct LatentUpscaleStep {
    ModelUse upscaler;
    LatentShape latent;  // that goes in
};

struct CpuStep {};  // runs without the card
struct UnknownStep {
    Phrase reason;
    std::vector<ModelIndex> models = {};  // that it runs; NOLINT(readability-redundant-member-init)
};

struct Step {
    std::string node_id;
    std::string class_type;
    std::variant<CpuStep, LoadStep, TextEncodeStep, TextGenerateStep, ImageEncodeStep, SampleStep,
                 VaeStep, UpscaleStep, LatentUpscaleStep, LookStep, HearStep, UnknownStep>
        what;
    Phrases notes;  // for people: what was assumed
    // Equal for equal nodes with equal inputs, all the way up: what ComfyUI's cache goes by.
    std::uint64_t signature = 0;
};

// What a node leaves in the host's memory for as long as ComfyUI's cache keeps it: images, latents.
struct HeldOutput {
    std::string node_id;
    std::size_t step = 0;  // index of the first step that runs after the node began
    Bytes bytes;
};

struct Program {
    std::vector<ProgramModel> models;
    std::vector<ProgramLora> loras;
    std::vector<Step> steps;  // in order of execution
    std::vector<HeldOutput> outputs;
    Phrases unknown_nodes;
    Phrases warnings;
};

}  // namespace plimsoll::memory
