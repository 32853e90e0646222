// SPDX-License-Identifier: Apache-2.0
//
// LTX-2 and 2.3 (Lightricks 2026): a video transformer and a narrower one for sound side by side.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/ltx/ltx_connector.h"
#include "memory/networks/ltx/ltxav_block.h"
#include "modelfile/networks/ltxav_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

class LtxavNetwork final : public Denoiser {
  public:
    explicit LtxavNetwork(const modelfile::LtxavConfig& config);

    [[nodiscard]] const modelfile::LtxavConfig& config() const { return config_; }
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

    // Channels of what the text encoder gives, and of what the transformer takes.
    [[nodiscard]] std::int64_t raw_text_width() const;
    [[nodiscard]] std::int64_t context_width() const;
    [[nodiscard]] Tensor connect_text(Tape& tape, const Tensor& text) const;

  private:
    struct Coordinates {
        Tensor video;
        Tensor audio;
    };
    struct Embedded {
        LtxRows video;
        Tensor audio;
    };
    [[nodiscard]] Tensor audio_coordinates(Tape& tape, std::int64_t batch,
                                           std::int64_t latents) const;
    [[nodiscard]] Embedded embed_time(Tape& tape, const StepInputs& in, std::int64_t patches,
                                      LtxavGiven& given) const;
    void embed_text(Tape& tape, const Tensor& context, LtxavGiven& given) const;
    void embed_positions(Tape& tape, const Coordinates& coordinates, ghost::ElementType type,
                         LtxavGiven& given) const;

    modelfile::LtxavConfig config_;
    std::int64_t video_;
    std::int64_t audio_;
    std::int64_t sets_;
    Module root_;
    Linear patchify_proj_;
    LtxTimestep adaln_single_;
    std::optional<LtxTimestep> prompt_adaln_single_;
    std::optional<LtxCaption> caption_projection_;
    Linear audio_patchify_proj_;
    LtxTimestep audio_adaln_single_;
    std::optional<LtxTimestep> audio_prompt_adaln_single_;
    LtxTimestep video_scale_shift_;
    LtxTimestep video_gate_;
    LtxTimestep audio_scale_shift_;
    LtxTimestep audio_gate_;
    std::optional<LtxCaption> audio_caption_projection_;
    LtxConnector audio_connector_;
    LtxConnector video_connector_;
    std::vector<LtxavBlock> blocks_;
    LtxHead head_;
    LtxHead audio_head_;
};

[[nodiscard]] Result<std::shared_ptr<const LtxavNetwork>> build_ltxav(
    const modelfile::LtxavConfig& config);

struct LtxConnectorCall {
    int batch = 1;
    int tokens = 1024;
    ComputeType compute = ComputeType::BFloat16;
    ComputeType storage = ComputeType::BFloat16;
    ForwardRules rules = {};
};
[[nodiscard]] Walk simulate_ltx_connector(const LtxavNetwork& network,
                                          const LtxConnectorCall& call);

}  // namespace plimsoll::memory
