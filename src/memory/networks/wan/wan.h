// SPDX-License-Identifier: Apache-2.0
//
// Wan 2.1 and 2.2 (Alibaba 2025): a diffusion transformer over video, from text, from an image
// (encoded, or as further channels), with a reference, or steered by a control branch (VACE).
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/wan/wan_block.h"
#include "modelfile/networks/wan_config.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

// A block of VACE's control branch: the first mixes the control with the video, each hands a
// projection of its result to the main branch.
struct VaceBlock {
    VaceBlock(Registry& registry, std::string_view path, const WanWidths& widths, bool first);

    Module path;
    WanBlock block;
    std::optional<Linear> before_proj;
    Linear after_proj;
};

// From a camera's path, in pixels, to tokens that are added to the video's (Fun Camera).
class CameraAdapter {
  public:
    CameraAdapter(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                  std::int64_t patch);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& path) const;  // [N, out, T, H, W]

  private:
    Module path_;
    Module unshuffle_;
    Module block_;
    Conv2d conv_;
    Conv2d conv1_;
    Module relu_;
    Conv2d conv2_;
};

// Its relatives add inputs and tokens of their own around the same blocks.
class WanNetwork : public Denoiser {
  public:
    explicit WanNetwork(const modelfile::WanConfig& config);

    // `more`: the encoded image (i2v, camera), VACE's control latents, the camera's path.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  protected:
    struct Timestep {
        Tensor embedding;   // [N, T, dim]
        Tensor modulation;  // [N, T, 6, dim]
    };
    [[nodiscard]] const modelfile::WanConfig& config() const { return config_; }
    [[nodiscard]] const WanWidths& widths() const { return widths_; }
    [[nodiscard]] Module root() const { return root_; }
    [[nodiscard]] const std::vector<WanBlock>& blocks() const { return blocks_; }
    [[nodiscard]] const Conv3d& patch_embedding() const { return patch_embedding_; }
    // A video of `channels` in the latent's size; `frames` 0: of its length.
    [[nodiscard]] Tensor latent_input(Tape& tape, const InputWish& wish, std::int64_t channels,
                                      std::int64_t frames = 0) const;
    // Padded to whole patches.
    [[nodiscard]] Tensor padded(Tape& tape, const Tensor& x) const;
    // Tokens along each axis.
    [[nodiscard]] Extent3 grid_of(const Tensor& latent) const;
    [[nodiscard]] Tensor embed_positions(Tape& tape, const Extent3& grid,
                                         ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Conv3d& embedding, const Tensor& x) const;
    [[nodiscard]] Timestep embed_timestep(Tape& tape, const Tensor& t,
                                          ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context) const;
    // What the blocks attend to: the text, after the encoded image where there is one. Returns that
    // image's tokens, which some forwards keep.
    Tensor embed_context(Tape& tape, const Tensor& text, const Tensor& image,
                         WanConditions& given) const;
    void run_blocks(Tape& tape, WanTokens& x, const WanConditions& given) const;
    [[nodiscard]] Tensor forward_head(Tape& tape, const WanTokens& x, const Tensor& e) const;
    // From the grid's tokens, the first of `tokens`, to the latent.
    [[nodiscard]] Tensor unpatched(Tape& tape, const Tensor& tokens, const Extent3& grid) const;

    // Tokens joined one after the other.
    [[nodiscard]] Tensor join_tokens(Tape& tape, const Tensor& first, const Tensor& second) const;

  private:
    struct ImageEmbedding {
        LayerNorm norm_in;
        Linear in;
        Module gelu;
        Linear out;
        LayerNorm norm_out;
    };
    [[nodiscard]] Tensor embed_image(Tape& tape, const Tensor& image) const;
    // Whether references are tokens beside the video's: they have the channels that it takes.
    [[nodiscard]] bool takes_context() const {
        return config_.model_type == "t2v" && config_.in_dim == config_.out_dim && !ref_conv_;
    }
    [[nodiscard]] std::vector<Tensor> place_contexts(Tape& tape, const StepInputs& inputs,
                                                     Tensor& rope) const;
    void append_contexts(Tape& tape, const std::vector<Tensor>& latents, WanTokens& x) const;
    void run_vace(Tape& tape, WanTokens& x, const WanConditions& given,
                  const Tensor& control) const;

    modelfile::WanConfig config_;
    WanWidths widths_;
    Module root_;
    Module rope_;
    Conv3d patch_embedding_;
    Linear text_in_;
    Module text_gelu_;
    Linear text_out_;
    Linear time_in_;
    Module time_silu_;
    Linear time_out_;
    Module projection_silu_;
    Linear time_projection_;
    std::vector<WanBlock> blocks_;
    Module head_;
    LayerNorm head_norm_;
    Linear head_linear_;
    std::optional<ImageEmbedding> image_;
    std::optional<Conv2d> ref_conv_;
    std::optional<CameraAdapter> camera_;
    std::vector<VaceBlock> vace_blocks_;
    std::optional<Conv3d> vace_patch_embedding_;
};

// Of a convolution that makes each patch a token.
[[nodiscard]] Conv3dShape patch_shape(const modelfile::WanConfig& config);

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan(const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
