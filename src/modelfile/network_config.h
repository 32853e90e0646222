// SPDX-License-Identifier: Apache-2.0
//
// NetworkConfig: the numbers that fix a network's shape, read from tensor shapes (never from file
// names). `memory` builds its ghost networks from these; the catalogue of known architectures
// (data/architectures.json) holds the same structs.
#pragma once
#include "base/units.h"
#include "modelfile/networks/ace_step15_config.h"
#include "modelfile/networks/ace_step_config.h"
#include "modelfile/networks/audio_encoder_config.h"
#include "modelfile/networks/boogu_config.h"
#include "modelfile/networks/chroma_config.h"
#include "modelfile/networks/chroma_radiance_config.h"
#include "modelfile/networks/clip_vision_config.h"
#include "modelfile/networks/cosmos_predict2_config.h"
#include "modelfile/networks/decoder_config.h"
#include "modelfile/networks/dit_control_config.h"
#include "modelfile/networks/ernie_config.h"
#include "modelfile/networks/fixed_vae_configs.h"
#include "modelfile/networks/flux_config.h"
#include "modelfile/networks/gemma4_config.h"
#include "modelfile/networks/hidream_config.h"
#include "modelfile/networks/hidream_o1_config.h"
#include "modelfile/networks/hunyuan_vae_config.h"
#include "modelfile/networks/hunyuan_video_config.h"
#include "modelfile/networks/ideogram4_config.h"
#include "modelfile/networks/image_reader_config.h"
#include "modelfile/networks/joyimage_config.h"
#include "modelfile/networks/kandinsky5_config.h"
#include "modelfile/networks/krea2_config.h"
#include "modelfile/networks/latent_upscaler_config.h"
#include "modelfile/networks/ltx24_vae_config.h"
#include "modelfile/networks/ltx_audio_vae_config.h"
#include "modelfile/networks/ltx_text_config.h"
#include "modelfile/networks/ltx_vae_config.h"
#include "modelfile/networks/ltxav_config.h"
#include "modelfile/networks/ltxv_config.h"
#include "modelfile/networks/lumina2_config.h"
#include "modelfile/networks/mage_flow_config.h"
#include "modelfile/networks/ming_text_config.h"
#include "modelfile/networks/minimax_h3_config.h"
#include "modelfile/networks/minimax_music3_config.h"
#include "modelfile/networks/minimax_vae_config.h"
#include "modelfile/networks/mmdit_config.h"
#include "modelfile/networks/model_patch_config.h"
#include "modelfile/networks/music_dcae_config.h"
#include "modelfile/networks/omnigen2_config.h"
#include "modelfile/networks/oobleck_config.h"
#include "modelfile/networks/pixart_config.h"
#include "modelfile/networks/pixeldit_config.h"
#include "modelfile/networks/qwen35_config.h"
#include "modelfile/networks/qwen_image_config.h"
#include "modelfile/networks/seedvr2_config.h"
#include "modelfile/networks/stable_audio_config.h"
#include "modelfile/networks/t5_config.h"
#include "modelfile/networks/t5gemma_config.h"
#include "modelfile/networks/upscaler_config.h"
#include "modelfile/networks/wan_config.h"
#include "modelfile/networks/wan_vae_config.h"
#include "modelfile/outline.h"
#include "modelfile/tensor_table.h"

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::modelfile {

// What users call the model; decides ComfyUI's memory_usage_factor, latent format and sampling
// rules.
enum class Family : std::uint8_t {
    Unknown,
    Sd15,
    Sd15InstructPix2Pix,
    Sd20,
    Sd21UnclipL,
    Sd21UnclipH,
    SdX4Upscaler,
    LotusD,
    StableZero123,
    Svd,
    Sdxl,
    SdxlInstructPix2Pix,
    SdxlRefiner,
    Ssd1b,
    SegmindVega,
    Koala700m,
    Koala1b,
    Sd3,
    PixArtSigma,
    Flux,
    FluxFill,
    Flux2,
    Chroma,
    ChromaRadiance,
    LongCatImage,
    QwenImage,
    MageFlow,
    Krea2,
    Ideogram4,
    ErnieImage,
    HiDream,
    HiDreamO1,
    JoyImage,
    Kandinsky5Image,
    PixelDit,
    Lumina2,
    ZImage,
    OmniGen2,
    Boogu,
    CosmosPredict2,
    Anima,
    HunyuanVideo,
    HunyuanVideo15,
    HunyuanImage21,
    HunyuanImage21Refiner,
    Ltxv,
    Ltxav,
    MiniMaxH3,
    Kandinsky5,
    SeedVr2,
    AceStep,
    AceStep15,
    StableAudio,
    StableAudio3,
    MiniMaxMusic3,
    Wan,
    WanVace,
    WanAnimate,
};
// "sd15", "sdxl", "ssd1b", ... the names of --family and of JSON.
[[nodiscard]] std::string_view family_name(Family family);
[[nodiscard]] std::optional<Family> parse_family(std::string_view name);

// The LDM UNet (openaimodel) and, with `controlnet`, its encoder half as a ControlNet.
struct UnetConfig {
    Family family = Family::Unknown;
    int in_channels = 4;  // 9 inpaint, 8 instruct-pix2pix, 7 x4 upscaler
    int out_channels = 4;
    int model_channels = 320;
    std::vector<int> channel_mult;              // per level: {1,2,4,4} SD 1.5, {1,2,4} SDXL
    std::vector<int> num_res_blocks;            // per level
    std::vector<int> transformer_depth;         // per encoder ResBlock, in order of input_blocks
    std::vector<int> transformer_depth_output;  // per decoder ResBlock, in order of ComfyUI's
                                                // config (popped from the back)
    int transformer_depth_middle = 1;  // -1: no attention in the middle, -2: no middle block
    int context_dim = 768;
    int adm_in_channels = 0;  // width of the vector condition `y`; 0: none
    bool use_linear_in_transformer =
        false;           // proj_in / proj_out are Linear (SD 2.x, SDXL) rather than 1x1 conv
    int num_heads = -1;  // fixed number of heads (SD 1.5: 8), or -1
    int num_head_channels = 64;  // head width when num_heads is -1
    bool temporal = false;       // SVD: time_stack present
    bool legacy_upcast_attention =
        false;  // SD 2.x: attention precision fp32 on non-pytorch back ends only
    std::string prediction = "eps";  // "eps", "v", "edm"; from marker tensors where present
};

struct ControlNetConfig {
    UnetConfig encoder;
    int hint_channels = 3;
    int control_add_types = 0;  // union ControlNets: number of types (6 or 8), else 0
};

struct T2iAdapterConfig {
    int in_channels = 192;      // 3 or 1 x unshuffle^2
    std::vector<int> channels;  // per level
    int num_res_blocks = 2;
    bool sk = true;
    bool use_conv = false;
    bool xl = false;
    int kernel_size = 1;
};

// AutoencoderKL in the LDM layout (4 or 16 latent channels).
struct KlVaeConfig {
    int z_channels = 4;
    int embed_dim = 4;
    int in_channels = 3;
    int out_channels = 3;
    int base_channels = 128;
    std::vector<int> channel_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    bool double_z = true;
    bool quant_conv = true;  // quant_conv / post_quant_conv present (absent in Flux / SD3 VAEs)
    bool has_encoder = true;
    int decoder_channels = 0;  // base of the decoder's; 0: that of the encoder
    // 2 x 2 cells of the latent are handed on as channels of one, normalised (Flux 2).
    bool batch_norm_latent = false;
};

enum class ClipActivation : std::uint8_t { QuickGelu, Gelu };

// CLIP text transformers as ComfyUI builds them (CLIP-L, OpenCLIP-H, OpenCLIP-G, SAM 3's).
struct ClipTextConfig {
    std::string name = "clip_l";  // "clip_l", "clip_h", "clip_g", "sam3_text"
    int layers = 12;
    int hidden = 768;
    int intermediate = 3072;
    int heads = 12;
    int vocabulary = 49408;
    int positions = 77;
    int projection = 768;
    ClipActivation activation = ClipActivation::QuickGelu;
};

struct TinyVaeConfig {  // TAESD
    int latent_channels = 4;
};

// The kinds of networks that Plimsoll walks, by role.
using DenoiserConfig =
    std::variant<UnetConfig, MmditConfig, PixArtConfig, FluxConfig, ChromaConfig,
                 ChromaRadianceConfig, QwenImageConfig, MageFlowConfig, Krea2Config,
                 Ideogram4Config, ErnieConfig, HiDreamConfig, Kandinsky5Config, PixelDitConfig,
                 Lumina2Config, OmniGen2Config, BooguConfig, CosmosPredict2Config,
                 HunyuanVideoConfig, LtxvConfig, LtxavConfig, AceStepConfig, AceStep15Config,
                 StableAudioConfig, WanConfig, MiniMaxH3Config, MiniMaxMusic3Config, Seedvr2Config,
                 HiDreamO1Config, JoyImageConfig, StableAudio3Config>;
using ControlConfig = std::variant<ControlNetConfig, QwenControlConfig, Sd35ControlConfig,
                                   QwenFunControlConfig, FluxControlConfig>;
using PatchConfig = std::variant<QwenPatchConfig, ZImagePatchConfig, AnimaPatchConfig>;
// Of the network that it controls.
[[nodiscard]] Family controlled_family(const ControlConfig& config);
[[nodiscard]] Family patched_family(const PatchConfig& config);
using VaeConfig =
    std::variant<KlVaeConfig, WanVaeConfig, HunyuanVideoVaeConfig, PixelVaeConfig, LtxVaeConfig,
                 Ltx24VaeConfig, LtxAudioVaeConfig, CosmosVaeConfig, MageVaeConfig,
                 PixelSpaceVaeConfig, TemporalVaeConfig, TinyVaeConfig, MiniMaxVaeConfig,
                 MiniMaxAudioVaeConfig, OobleckConfig, MusicDcaeConfig, Seedvr2VaeConfig,
                 SameVaeConfig, MiniMaxMusicVaeConfig>;
using TextEncoderConfig =
    std::variant<ClipTextConfig, T5Config, DecoderConfig, LtxTextProjectionConfig,
                 LtxTextConnectorConfig, T5GemmaConfig, Qwen35Config, Gemma4Config, MingTextConfig>;

// Params and bytes of one part of a file, as stored.
struct PartWeights {
    std::int64_t params = 0;  // elements of all tensors as they are stored
    Bytes bytes;
    DType dtype = DType::Float16;  // the dtype that holds most elements
    bool scaled_fp8 = false;       // fp8 with a scale for each Linear layer
    // Elements of the network's own tensors once unpacked: without scales, tokenizers and copies.
    // 0: not counted.
    std::int64_t network_params = 0;
    // Thousandths of a bit that an element of a repeated layer's matrix takes on average, scales
    // included, where such weights are unpacked layer by layer as they are used. 0: they are not.
    int linear_millibits = 0;
};

template <class Config>
struct Part {
    Config config;
    PartWeights weights;
    std::string prefix;  // of its tensors in the file
};

// Everything recognised in one file. A checkpoint holds several parts, a single-network file one.
struct Contents {
    Family family = Family::Unknown;
    std::optional<Part<DenoiserConfig>> denoiser;
    std::optional<Part<VaeConfig>> vae;
    std::optional<Part<VaeConfig>> sound_vae;  // beside the one of videos
    std::optional<Part<TinyVaeConfig>> tiny_vae;
    std::vector<Part<TextEncoderConfig>> text_encoders;
    std::optional<Part<ControlConfig>> controlnet;
    std::optional<Part<T2iAdapterConfig>> t2i_adapter;
    std::optional<Part<ClipVisionConfig>> clip_vision;
    std::optional<Part<UpscalerConfig>> upscaler;
    std::optional<Part<LatentUpscalerConfig>> latent_upscaler;
    std::optional<Part<PatchConfig>> model_patch;
    std::optional<Part<ImageReaderConfig>> image_reader;
    std::optional<Part<AudioEncoderConfig>> audio_encoder;
    bool is_lora = false;
    PartWeights everything;          // all tensors of the file
    Outline outline;                 // of all tensors of the file, whatever they are
    std::vector<std::string> notes;  // what was not recognised and why, for people
};

}  // namespace plimsoll::modelfile
