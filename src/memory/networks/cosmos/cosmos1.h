// SPDX-License-Identifier: Apache-2.0
//
// Cosmos-1 (NVIDIA 2025): a transformer over space and time. Learned positions are added to the
// tokens before each block.
#pragma once
#include "memory/networks/dit/cosmos_predict2.h"
#include "modelfile/networks/cosmos1_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Cosmos1Attention {
  public:
    Cosmos1Attention(Registry& registry, std::string_view path, const CosmosWidths& widths,
                     std::int64_t context_width);
    // `x`: [frames, rows, columns, N, hidden]; `table` is undefined where positions do not count.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 const Tensor& table) const;

  private:
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x, const Tensor& table) const;

    Module path_;
    CosmosWidths widths_;
    Linear q_;
    RmsNorm q_norm_;
    Linear k_;
    RmsNorm k_norm_;
    Linear v_;
    Linear out_;
};

class Cosmos1Block {
  public:
    Cosmos1Block(Registry& registry, std::string_view path, const CosmosWidths& widths);
    struct Shared {
        Tensor time;        // [N, hidden]
        Tensor modulation;  // [N, 3 x hidden]
        Tensor context;     // [tokens, N, width]
        Tensor table;
    };
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Shared& shared) const;

  private:
    // What the three parts of a block have around them.
    struct Part {
        Module path;
        LayerNorm norm;
        CosmosModulation modulation;
    };
    [[nodiscard]] static Part make_part(Registry& registry, std::string_view path,
                                        const CosmosWidths& widths);
    template <class Inner>
    [[nodiscard]] Tensor run(Tape& tape, const Part& part, const Tensor& x, const Shared& shared,
                             Inner inner) const;

    std::int64_t hidden_;
    Cosmos1Attention self_;
    Part self_part_;
    Cosmos1Attention cross_;
    Part cross_part_;
    Linear mlp_in_;
    Module mlp_act_;
    Linear mlp_out_;
    Part mlp_part_;
};

class Cosmos1Network final : public Denoiser {
  public:
    explicit Cosmos1Network(const modelfile::Cosmos1Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Edm; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor learned_positions(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor rotations(Tape& tape, const Shape& tokens) const;
    void embed_time(Tape& tape, const StepInputs& in, Cosmos1Block::Shared& shared) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x,
                                       const Cosmos1Block::Shared& shared) const;

    modelfile::Cosmos1Config config_;
    CosmosWidths widths_;
    Module root_;
    Module patch_cut_;
    Linear patch_proj_;
    Module rope_;
    Module learned_;
    Module timesteps_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    std::vector<Cosmos1Block> blocks_;
    RmsNorm time_norm_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
    CosmosModulation final_modulation_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_cosmos1(
    const modelfile::Cosmos1Config& config);

}  // namespace plimsoll::memory
