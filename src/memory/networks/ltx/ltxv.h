// SPDX-License-Identifier: Apache-2.0
//
// LTX-Video (HaCohen et al. 2024): every latent cell is a token; blocks attend to themselves and to
// the text, modulated by tables of their own plus one projection of the timestep, which
// image-to-video gives for each token.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/ltx/ltx_layers.h"
#include "modelfile/networks/ltxv_config.h"

#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct LtxvCondition {
    Tensor context;
    Tensor mask;
    Tensor timestep;  // [N, timesteps, 6 x hidden]
    LtxRope rope;
};

class LtxvBlock {
  public:
    LtxvBlock(Registry& registry, std::string_view path, const modelfile::LtxvConfig& config);
    // Changes `x` in place.
    void forward(Tape& tape, const Tensor& x, const LtxvCondition& given) const;

  private:
    Module path_;
    LtxAttention attn1_;
    LtxFeedForward ff_;
    LtxAttention attn2_;
};

class LtxvNetwork final : public Denoiser {
  public:
    explicit LtxvNetwork(const modelfile::LtxvConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] LtxRope embed_positions(Tape& tape, const Tensor& seconds,
                                          ghost::ElementType type) const;
    [[nodiscard]] Tensor attention_mask(Tape& tape, const Tensor& given,
                                        ghost::ElementType type) const;
    [[nodiscard]] LtxTimestep::Rows embed_time(Tape& tape, const Tensor& timesteps,
                                               std::int64_t batch, ghost::ElementType type) const;

    modelfile::LtxvConfig config_;
    std::int64_t hidden_;
    Module root_;
    Linear patchify_proj_;
    LtxTimestep adaln_single_;
    LtxCaption caption_projection_;
    std::vector<LtxvBlock> blocks_;
    LtxHead head_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_ltxv(
    const modelfile::LtxvConfig& config);

}  // namespace plimsoll::memory
