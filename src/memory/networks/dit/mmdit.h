// SPDX-License-Identifier: Apache-2.0
//
// MMDiT (Esser et al. 2024), Stable Diffusion 3 and 3.5: every block has weights of its own for
// text and for image tokens, which attend together.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/mmdit_config.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct MmditWidths {
    std::int64_t hidden = 1536;
    std::int64_t heads = 24;
    std::int64_t mlp = 6144;
    bool qk_norm = false;
};

// Query, key and value of one stream; value is a view of their joint projection.
struct MmditQkv {
    Tensor q;
    Tensor k;
    Tensor v;
};

// The projections around an attention.
class MmditAttention {
  public:
    // `pre_only`: its result is not used, hence not projected.
    MmditAttention(Registry& registry, std::string_view path, const MmditWidths& widths,
                   bool pre_only);
    [[nodiscard]] MmditQkv before(Tape& tape, const Tensor& x) const;
    // `attn`: the attention's whole result.
    [[nodiscard]] Tensor after(Tape& tape, const Tensor& attn) const {
        return proj_->forward(tape, attn);
    }
    // The same for one stream's tokens among both streams'.
    [[nodiscard]] Tensor after_joint(Tape& tape, const Tensor& attn) const {
        return proj_->forward_slice(tape, attn);
    }

  private:
    MmditWidths widths_;
    Linear qkv_;
    std::optional<Linear> proj_;
    std::optional<RmsNorm> q_norm_;
    std::optional<RmsNorm> k_norm_;
};

// How a stream's tokens lie in memory. Patches come as a convolution's channels, and sums with them
// lie as they do, up to the first block in which they attend to themselves: its sum is stacked.
enum class MmditLayout : std::uint8_t { Contiguous, ChannelsFirst };

// One of a block's two streams.
class MmditStream {
  public:
    struct Kind {
        bool pre_only = false;   // text in the last block: only attended to
        bool alone = false;      // no other stream is attended to
        bool self_attn = false;  // a second attention, over the stream's own tokens
        MmditLayout layout = MmditLayout::Contiguous;  // as they come in
    };
    MmditStream(Registry& registry, std::string_view path, const MmditWidths& widths,
                const Kind& kind);

    // What lives from before the attention to the end of the block.
    struct Prepared {
        MmditQkv qkv;
        MmditQkv own;  // for the second attention
        Tensor modulation;
    };
    [[nodiscard]] const Kind& kind() const { return kind_; }
    [[nodiscard]] Prepared before(Tape& tape, Module block, const Tensor& x, const Tensor& c) const;
    // The stream's tokens after attention and feed forward. `own_attn`: of the second attention.
    [[nodiscard]] Tensor after(Tape& tape, Module block, Tensor x, const Tensor& attn,
                               const Tensor& own_attn, const Tensor& modulation) const;

  private:
    [[nodiscard]] Tensor feed_forward(Tape& tape, Module block, const Tensor& x,
                                      const Tensor& modulation) const;

    MmditWidths widths_;
    Kind kind_;
    LayerNorm norm1_;
    MmditAttention attn_;
    std::optional<MmditAttention> attn2_;
    LayerNorm norm2_;
    std::optional<Linear> mlp_in_;
    Module mlp_act_;
    std::optional<Linear> mlp_out_;
    Module silu_;
    Linear modulation_;
};

class MmditBlock {
  public:
    MmditBlock(Registry& registry, std::string_view path, const MmditWidths& widths, bool last,
               const MmditStream::Kind& image);
    void forward(Tape& tape, Tensor& context, Tensor& x, const Tensor& c) const;

  private:
    Module path_;
    MmditWidths widths_;
    MmditStream context_;
    MmditStream x_;
};

class MmditNetwork final : public Denoiser {
  public:
    explicit MmditNetwork(const modelfile::MmditConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;
    // The largest side of a latent that the stored positions reach, in cells.
    [[nodiscard]] std::int64_t latent_side_max() const {
        return std::int64_t{config_.pos_embed_max_size} * config_.patch_size;
    }

  private:
    // [N, tokens, width]: patches with their positions.
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor forward_blocks(Tape& tape, Tensor x, const Tensor& context,
                                        const Tensor& c, const ControlTensors* control) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& c) const;

    modelfile::MmditConfig config_;
    MmditWidths widths_;
    Module root_;
    Module x_embedder_;
    Conv2d patch_proj_;
    MlpEmbedder t_embedder_;
    std::optional<MlpEmbedder> y_embedder_;
    Linear context_embedder_;
    std::vector<MmditBlock> blocks_;
    MmditLayout final_layout_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
    Module final_silu_;
    Linear final_modulation_;
};

[[nodiscard]] Result<std::shared_ptr<const MmditNetwork>> build_mmdit(
    const modelfile::MmditConfig& config);

}  // namespace plimsoll::memory
