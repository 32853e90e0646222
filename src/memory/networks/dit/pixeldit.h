// SPDX-License-Identifier: Apache-2.0
//
// PixelDiT (2025): no VAE. Blocks over patches and text attend together; then blocks over the
// pixels of each patch, which attend as one token a patch.
#pragma once
#include "memory/networks/denoiser.h"
#include "modelfile/networks/pixeldit_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class PixelDitPatchBlock {
  public:
    PixelDitPatchBlock(Registry& registry, std::string_view path,
                       const modelfile::PixelDitConfig& config);
    struct Tables {
        Tensor img;
        Tensor txt;  // undefined where text is not rotated
    };
    void forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& condition,
                 const Tables& tables) const;

  private:
    struct Stream {
        Linear qkv;
        RmsNorm q_norm;
        RmsNorm k_norm;
        Linear proj;
    };
    struct Mlp {
        Module path;
        Linear w1;
        Linear w2;
        Linear w3;
    };
    struct Attended {
        Tensor img;
        Tensor txt;
    };
    [[nodiscard]] Attended attend(Tape& tape, const Tensor& img, const Tensor& txt,
                                  const Tables& tables) const;
    [[nodiscard]] static Mlp make_mlp(Registry& registry, std::string_view path,
                                      std::int64_t width);
    [[nodiscard]] static Tensor feed_forward(Tape& tape, const Mlp& mlp, const Tensor& x);

    Module path_;
    std::int64_t width_;
    std::int64_t heads_;
    RmsNorm img_norm1_;
    RmsNorm txt_norm1_;
    Module attn_;
    std::vector<Stream> streams_;  // of image and text
    RmsNorm img_norm2_;
    RmsNorm txt_norm2_;
    Mlp img_mlp_;
    Mlp txt_mlp_;
    Linear img_modulation_;
    Linear txt_modulation_;
};

class PixelDitPixelBlock {
  public:
    PixelDitPixelBlock(Registry& registry, std::string_view path,
                       const modelfile::PixelDitConfig& config);
    // `x`: [N x patches, pixels, width]; `condition`: [N x patches, width of a patch].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& condition,
                                 std::int64_t batch) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& table) const;

    Module path_;
    std::int64_t width_;
    std::int64_t attention_width_;
    std::int64_t heads_;
    Linear compress_;
    Linear expand_;
    RmsNorm norm1_;
    Module attn_;
    Linear qkv_;
    RmsNorm q_norm_;
    RmsNorm k_norm_;
    Linear proj_;
    RmsNorm norm2_;
    Linear fc1_;
    Module mlp_act_;
    Linear fc2_;
    Linear attention_modulation_;
    Linear mlp_modulation_;
};

class PixelDitNetwork final : public Denoiser {
  public:
    explicit PixelDitNetwork(const modelfile::PixelDitConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context, std::int64_t tokens) const;
    [[nodiscard]] Tensor embed_pixels(Tape& tape, const Tensor& x) const;

    modelfile::PixelDitConfig config_;
    Module root_;
    Module pixels_;
    Linear pixel_in_;
    Linear patch_in_;
    Module time_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Linear text_in_;
    RmsNorm text_norm_;
    std::vector<PixelDitPatchBlock> patch_blocks_;
    std::vector<PixelDitPixelBlock> pixel_blocks_;
    RmsNorm final_norm_;
    Linear final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_pixeldit(
    const modelfile::PixelDitConfig& config);

}  // namespace plimsoll::memory
