// SPDX-License-Identifier: Apache-2.0
//
// Krea 2 (2026): one stream of text and image tokens, gated attention with grouped keys, one
// modulation for all blocks. Text comes as hidden states of several layers of its encoder, which a
// small transformer fuses token by token.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/krea2_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Root mean square with a zero-centred weight, in fp32 whatever the types and kernels.
class Krea2Norm {
  public:
    Krea2Norm(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
};

struct Krea2Widths {
    std::int64_t features = 6144;
    std::int64_t heads = 48;
    std::int64_t kv_heads = 12;
    std::int64_t mlp = 16384;
    Bias bias = Bias::No;
};

class Krea2Attention {
  public:
    Krea2Attention(Registry& registry, std::string_view path, const Krea2Widths& widths);
    // `table` is undefined where nothing is rotated.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table) const;

  private:
    Module path_;
    Krea2Widths widths_;
    Linear wq_;
    Linear wk_;
    Linear wv_;
    Linear gate_;
    Krea2Norm q_norm_;
    Krea2Norm k_norm_;
    Linear wo_;
};

// A block's two norms, attention and gated feed-forward.
class Krea2Layer {
  public:
    Krea2Layer(Registry& registry, std::string_view path, const Krea2Widths& widths);
    // Of fused text: nothing modulates it.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor forward_modulated(Tape& tape, const Tensor& x, const Tensor& modulation,
                                           const Tensor& table) const;

    // The same where tokens from `own` on, those of references, have a modulation of their own.
    [[nodiscard]] Tensor forward_split(Tape& tape, const Tensor& x, const Tensor& modulation,
                                       const Tensor& table, std::int64_t own) const;

  private:
    enum class Shifted : std::uint8_t { No, Yes };
    void scale_split(Tape& tape, const Tensor& x, const Tensor& part, std::int64_t own,
                     Shifted shifted) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    Krea2Norm pre_norm_;
    Krea2Norm post_norm_;
    Krea2Attention attn_;
    Module mlp_;
    Linear mlp_gate_;
    Linear mlp_up_;
    Linear mlp_down_;
};

// A table that is added to the timestep's vector: [N, 1, rows x width].
class Krea2Modulation {
  public:
    Krea2Modulation(Registry& registry, Module path, std::string_view class_name,
                    std::int64_t elements);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& vec) const;

  private:
    Module path_;
    std::int64_t elements_;
};

class Krea2Network final : public Denoiser {
  public:
    explicit Krea2Network(const modelfile::Krea2Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Block {
        Krea2Modulation mod;
        Krea2Layer layer;
    };
    struct Image {
        Tensor tokens;
        Tensor positions;
        std::int64_t rows = 0;
        std::int64_t columns = 0;
    };
    [[nodiscard]] Image process(Tape& tape, const Tensor& latent) const;
    // Returns how many tokens are the image's own.
    [[nodiscard]] std::int64_t append_references(Tape& tape, const StepInputs& inputs,
                                                 Image& image) const;
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] Tensor fuse_text(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Tensor forward_last(Tape& tape, const Tensor& x, const Tensor& time) const;

    modelfile::Krea2Config config_;
    Krea2Widths widths_;
    Krea2Widths text_widths_;
    Module root_;
    Module pe_;
    Linear first_;
    std::vector<Block> blocks_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Module fusion_;
    std::vector<Krea2Layer> layerwise_blocks_;
    Linear projector_;
    std::vector<Krea2Layer> refiner_blocks_;
    Krea2Norm text_norm_;
    Linear text_in_;
    Module text_act_;
    Linear text_out_;
    Module last_;
    Krea2Norm last_norm_;
    Linear last_linear_;
    Krea2Modulation last_modulation_;
    Module time_proj_act_;
    Linear time_proj_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_krea2(
    const modelfile::Krea2Config& config);

}  // namespace plimsoll::memory
