// SPDX-License-Identifier: Apache-2.0
//
// Cosmos-Predict2 (NVIDIA 2025): a transformer over space and time whose blocks attend to
// themselves, then to the text, each with shifts, scales and gates of a low-rank modulation.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/model_patch.h"
#include "modelfile/networks/cosmos_predict2_config.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct CosmosWidths {
    std::int64_t hidden = 2048;
    std::int64_t heads = 16;
    std::int64_t head_dim = 128;
    std::int64_t mlp = 8192;
    std::int64_t context = 1024;
    std::int64_t lora = 256;
};

// SiLU and two Linear layers, then the modulation that all blocks share is added.
class CosmosModulation {
  public:
    CosmosModulation(Registry& registry, std::string_view path, const CosmosWidths& widths,
                     std::int64_t parts);
    // [N, 1, parts x hidden]
    [[nodiscard]] Tensor forward(Tape& tape, Module adder, const Tensor& emb,
                                 const Tensor& shared) const;

  private:
    std::int64_t parts_width_;
    Module silu_;
    Linear down_;
    Linear up_;
};

// A run of a model patch, and the block that it is in.
struct PatchedPlace {
    PatchRun* run = nullptr;
    std::size_t block = 0;

    [[nodiscard]] Tensor before(PatchedInput what, const Tensor& x) const {
        return run == nullptr ? x : run->before(what, block, x);
    }
};

class CosmosAttention {
  public:
    CosmosAttention(Registry& registry, std::string_view path, const CosmosWidths& widths,
                    std::int64_t context_width);
    // `context`: what is attended to. `pe`: undefined where positions do not count.
    // `patch`, undefined where there is none, sees what the projections are given.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 const Tensor& pe, const PatchedPlace& patch) const;

  private:
    struct Qkv {
        Tensor q;
        Tensor k;
        Tensor v;
    };
    [[nodiscard]] Qkv project(Tape& tape, const Tensor& x, const Tensor& context, const Tensor& pe,
                              const PatchedPlace& patch) const;

    Module path_;
    CosmosWidths widths_;
    Linear q_;
    RmsNorm q_norm_;
    Linear k_;
    RmsNorm k_norm_;
    Linear v_;
    Linear out_;
};

class CosmosBlock {
  public:
    CosmosBlock(Registry& registry, std::string_view path, const CosmosWidths& widths);
    // What every block is given beside the tokens.
    struct Shared {
        Tensor emb;         // [N, 1, hidden]: the timestep
        Tensor modulation;  // [N, 1, 3 x hidden]
        Tensor context;     // [N, tokens, width]
        Tensor pe;
        PatchRun* patch = nullptr;
    };
    // `x`: [N, frames, rows, columns, hidden].
    void forward(Tape& tape, Tensor& x, const Shared& shared, std::size_t index) const;

  private:
    Module path_;
    LayerNorm self_norm_;
    CosmosAttention self_attn_;
    LayerNorm cross_norm_;
    CosmosAttention cross_attn_;
    LayerNorm mlp_norm_;
    Linear mlp_in_;
    Module mlp_act_;
    Linear mlp_out_;
    CosmosModulation self_modulation_;
    CosmosModulation cross_modulation_;
    CosmosModulation mlp_modulation_;
};

class CosmosPredict2Network final : public Denoiser {
  public:
    explicit CosmosPredict2Network(const modelfile::CosmosPredict2Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override;
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] bool is_anima() const { return config_.image_model == "anima"; }
    // Patches, [N, frames, rows, columns, hidden], and their rotations.
    struct Embedded {
        Tensor x;
        Tensor pe;
    };
    [[nodiscard]] Embedded embed(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& masked) const;
    [[nodiscard]] Tensor embed_positions(Tape& tape, const Shape& tokens) const;
    // The timestep before its norm, and the modulation that all blocks share.
    struct Timestep {
        Tensor emb;
        Tensor modulation;
    };
    [[nodiscard]] Timestep embed_timestep(Tape& tape, const Tensor& timesteps,
                                          ghost::ElementType type) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x,
                                       const CosmosBlock::Shared& shared) const;

    modelfile::CosmosPredict2Config config_;
    CosmosWidths widths_;
    Module root_;
    Module pos_;
    Module timesteps_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Module patch_cut_;
    Linear patch_proj_;
    std::vector<CosmosBlock> blocks_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
    CosmosModulation final_modulation_;
    RmsNorm time_norm_;
};

[[nodiscard]] Result<std::shared_ptr<const CosmosPredict2Network>> build_cosmos_predict2(
    const modelfile::CosmosPredict2Config& config);

}  // namespace plimsoll::memory
