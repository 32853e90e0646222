// SPDX-License-Identifier: Apache-2.0
//
// One detector for each kind of network. Each looks below one prefix and answers nullopt when its
// network is not there; when it is there but contradicts itself, it says so in `notes` and answers
// nullopt too. Private to this folder.
#pragma once
#include "modelfile/network_config.h"
#include "modelfile/packed_table.h"
#include "modelfile/tensor_view.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::modelfile {

using Notes = std::vector<std::string>;

enum class Counts : std::uint8_t { AsParameter, No };  // in PartWeights::network_params

// Adds up the weights of one part, tensor by tensor.
class WeightSum {
  public:
    // `unpacked`: what the stored tensor holds (see PackedTable); itself where nothing is packed.
    void add(const TensorEntry& stored, const TensorEntry& unpacked,
             Counts counts = Counts::AsParameter);
    void add(const TensorEntry& tensor) { add(tensor, tensor); }
    [[nodiscard]] PartWeights total() const;

  private:
    PartWeights sum_;
    std::map<DType, std::int64_t> elements_of_;
    // Matrices of repeated layers, and what they and their scales take.
    std::int64_t linear_elements_ = 0;
    Bytes linear_bytes_;
    bool has_scales_ = false;
};

// UNet in the LDM layout (input_blocks) or the diffusers layout (down_blocks).
[[nodiscard]] std::optional<UnetConfig> detect_ldm_unet(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<UnetConfig> detect_diffusers_unet(const TensorView& view, Notes& notes);
// Which of ComfyUI's families has these numbers. Unknown when none.
[[nodiscard]] Family family_of(const UnetConfig& config, bool is_zero123);

[[nodiscard]] std::optional<ControlConfig> detect_controlnet(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<PatchConfig> detect_model_patch(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<T2iAdapterConfig> detect_t2i_adapter(const TensorView& view,
                                                                 Notes& notes);

[[nodiscard]] std::optional<KlVaeConfig> detect_kl_vae(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<TinyVaeConfig> detect_tiny_vae(const TensorView& view);

// The first few that the file holds; more get a note.
[[nodiscard]] std::vector<Part<TextEncoderConfig>> detect_text_encoders(const TensorTable& table,
                                                                        Notes& notes);

// T5 and the language models that encode prompts, alone or inside a checkpoint. `outside`: a prefix
// below which none is looked for, since a diffusion network lives there.
[[nodiscard]] std::vector<Part<TextEncoderConfig>> detect_language_models(
    const PackedTable& table, std::optional<std::string_view> outside, Notes& notes);

// What LTX-2's checkpoints and text encoder files hold behind the language model.
[[nodiscard]] std::vector<Part<TextEncoderConfig>> detect_ltx_text(const TensorTable& table,
                                                                   Notes& notes);

// A diffusion transformer and what users call it.
struct DetectedDenoiser {
    DenoiserConfig config;
    Family family = Family::Unknown;
};
using DetectDenoiser = std::optional<DetectedDenoiser>(const TensorView& view, Notes& notes);
DetectDenoiser detect_mmdit;   // Stable Diffusion 3
DetectDenoiser detect_pixart;  // PixArt-Sigma
DetectDenoiser detect_flux;    // Flux, Flux 2, LongCat-Image
DetectDenoiser detect_diffusers_flux;
DetectDenoiser detect_diffusers_mmdit;
DetectDenoiser detect_chroma;           // Chroma
DetectDenoiser detect_chroma_radiance;  // Chroma Radiance
DetectDenoiser detect_qwen_image;       // Qwen-Image and its edit models
DetectDenoiser detect_mage_flow;        // Mage-Flow
DetectDenoiser detect_krea2;            // Krea 2
DetectDenoiser detect_ideogram4;        // Ideogram 4
DetectDenoiser detect_ernie;            // ERNIE-Image
DetectDenoiser detect_hidream;          // HiDream-I1, HiDream-E1
DetectDenoiser detect_hidream_o1;       // HiDream-O1-Image
DetectDenoiser detect_joyimage;         // JoyAI-Image-Edit
DetectDenoiser detect_pixeldit;         // PixelDiT
DetectDenoiser detect_lumina2;          // Lumina 2, Z-Image
DetectDenoiser detect_omnigen2;         // OmniGen 2
DetectDenoiser detect_boogu;            // Boogu-Image
DetectDenoiser detect_cosmos_predict2;  // Cosmos-Predict2, Anima
DetectDenoiser detect_hunyuan_video;    // HunyuanVideo and 1.5, HunyuanImage 2.1
DetectDenoiser detect_ltxv;             // LTX-Video
DetectDenoiser detect_ltxav;            // LTX-2, 2.3
DetectDenoiser detect_kandinsky5;       // Kandinsky 5, image and video
DetectDenoiser detect_seedvr2;          // SeedVR2
DetectDenoiser detect_minimax_h3;       // MiniMax H3, whole and pruned
DetectDenoiser detect_ace_step;         // ACE-Step
DetectDenoiser detect_ace_step15;       // ACE-Step 1.5
DetectDenoiser detect_stable_audio;     // Stable Audio Open
DetectDenoiser detect_minimax_music3;   // MiniMax Music 3
DetectDenoiser detect_wan;              // Wan 2.1, 2.2

[[nodiscard]] Family family_of(const FluxConfig& config);

// A diffusion transformer below `view`: one that is known, or one that is recognised only (then
// `notes` says so).
struct TransformerVerdict {
    bool is_there = false;
    std::optional<DetectedDenoiser> denoiser;
};
[[nodiscard]] TransformerVerdict detect_transformer(const TensorView& view, Notes& notes);

// HunyuanVideo's and those that fold pixels into channels (HunyuanImage, HunyuanVideo 1.5): the
// published ones only.
[[nodiscard]] std::optional<VaeConfig> detect_hunyuan_vae(const TensorView& view);
[[nodiscard]] std::optional<MiniMaxVaeConfig> detect_minimax_vae(const TensorView& view);
// Those of LTX, Cosmos 1, Mage-Flow, MiniMax H3 (sound), SeedVR2 and Stable Video Diffusion: the
// published ones only.
[[nodiscard]] std::optional<VaeConfig> detect_published_vae(const TensorView& view);
// LTX-2's for sound, its vocoder beside it: below "audio_vae." or "autoencoder.", and "vocoder.".
[[nodiscard]] std::optional<Part<VaeConfig>> detect_sound_vae(const TensorTable& table,
                                                              Notes& notes);
[[nodiscard]] std::optional<WanVaeConfig> detect_wan_vae(const TensorView& view, Notes& notes);

[[nodiscard]] std::optional<MusicDcaeConfig> detect_music_dcae(const TensorView& view,
                                                               Notes& notes);  // of ACE-Step
// Of Stable Audio and ACE-Step 1.5.
[[nodiscard]] std::optional<OobleckConfig> detect_oobleck(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<SameVaeConfig> detect_same_vae(const TensorView& view, Notes& notes);

// Below "" or where a checkpoint keeps it.
[[nodiscard]] std::optional<ClipVisionConfig> detect_clip_vision(const TensorView& view,
                                                                 Notes& notes);
// ESRGAN and Real-ESRGAN, whole and compact, and SPAN.
[[nodiscard]] std::optional<UpscalerConfig> detect_upscaler(const TensorView& view, Notes& notes);
// BiRefNet, Depth Anything 3 for one image, MoGe 2.
[[nodiscard]] std::optional<ImageReaderConfig> detect_image_reader(const TensorView& view,
                                                                   Notes& notes);
// wav2vec 2.0, Whisper's encoder.
[[nodiscard]] std::optional<Part<AudioEncoderConfig>> detect_audio_encoder(const TensorTable& table,
                                                                           Notes& notes);
// SAM 3 and 3.1, whose files hold an encoder of texts besides.
[[nodiscard]] bool looks_like_sam3(const TensorView& view);
[[nodiscard]] std::optional<Sam3Config> detect_sam3(const TensorView& view, Notes& notes);
[[nodiscard]] PartWeights sum_sam3(const TensorTable& table);  // without that encoder
// Of LTX-Video and LTX-2.
[[nodiscard]] std::optional<LatentUpscalerConfig> detect_latent_upscaler(const TensorView& view,
                                                                         Notes& notes);

// What a file that holds none of the above looks like, empty when nothing is recognised.
[[nodiscard]] std::string_view other_network_hint(const TensorTable& table);
[[nodiscard]] bool looks_like_lora(const TensorTable& table);

}  // namespace plimsoll::modelfile
