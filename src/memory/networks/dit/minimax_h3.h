// SPDX-License-Identifier: Apache-2.0
//
// MiniMax H3 (2026): text, sound and video in one packed sequence, one at a time. Every stretch of
// tokens is modulated by rows of its own; blocks work in place on the stream.
#pragma once
#include "memory/networks/denoiser.h"
#include "modelfile/networks/minimax_h3_config.h"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Tokens of text, of each image or video that is referred to, of sound and of video, in the order
// of the sequence.
using MiniMaxSegments = std::vector<std::int64_t>;

class MiniMaxBlock {
  public:
    enum class Modulated : std::uint8_t { No, Yes };

    // `unlisted` takes what layers stored otherwise would write of themselves.
    MiniMaxBlock(Registry& registry, Registry& unlisted, std::string_view path,
                 const modelfile::MiniMaxH3Config& config, Modulated modulated);
    // Adds to `x`, [tokens, width], in place.
    void forward(Tape& tape, const Tensor& x, const Tensor& time, const Tensor& table,
                 const MiniMaxSegments& segments) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor normalise_and_rotate(Tape& tape, const Tensor& x,
                                              const Tensor& table) const;
    [[nodiscard]] Tensor project(Tape& tape, const Linear& layer, const Tensor& x) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    modelfile::MiniMaxH3Config config_;
    bool int8_;
    RmsNorm norm1_;
    RmsNorm norm2_;
    Module attn_;
    Linear qkv_;
    RmsNorm q_norm_;
    RmsNorm k_norm_;
    Linear out_;
    Module mlp_;
    Linear fc1_;
    Linear fc2_;
    Module adaln_;
    std::vector<Linear> adaln_linear_;  // one, or none in a block that nothing modulates
};

class MiniMaxH3Network final : public Denoiser {
  public:
    explicit MiniMaxH3Network(const modelfile::MiniMaxH3Config& config);

    // `more`: the latent of the sound. `references`: latents that are joined to the sequence.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;
    // Layers in int8 are multiplied as they are, all others are stored as they run.
    [[nodiscard]] bool casts_weights() const override { return !config_.int8_blocks; }

  private:
    [[nodiscard]] Tensor embed_time(Tape& tape, std::int64_t times, ghost::ElementType type) const;
    [[nodiscard]] Tensor look_up_time(Tape& tape, const Tensor& timesteps) const;
    [[nodiscard]] Tensor position_table(Tape& tape, std::int64_t tokens,
                                        ghost::ElementType type) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Linear& head, const Tensor& stretch,
                                       const Tensor& part) const;

    modelfile::MiniMaxH3Config config_;
    Registry unlisted_;  // takes what Linear layers stored in fp32 would write of themselves
    Module root_;
    Linear video_in_;
    Linear audio_in_;
    Linear condition_;  // loaded, but text comes refined
    Module time_;
    std::vector<Linear> time_mlp_;  // two, or none where a table stands in their place
    std::vector<MiniMaxBlock> refiner_;
    RmsNorm refiner_norm_;
    std::vector<MiniMaxBlock> blocks_;
    Module final_;
    RmsNorm final_norm_;
    Module final_adaln_;
    Linear final_modulation_;
    Linear video_out_;
    Linear audio_out_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_minimax_h3(
    const modelfile::MiniMaxH3Config& config);

}  // namespace plimsoll::memory
