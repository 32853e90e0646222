// SPDX-License-Identifier: Apache-2.0
//
// OmniGen2 (Wu et al. 2025): text, image and reference images are refined apart, then run through
// layers over all in one stream.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/omnigen2_config.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class OmniGen2Attention {
  public:
    OmniGen2Attention(Registry& registry, std::string_view path,
                      const modelfile::OmniGen2Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table) const;

  private:
    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    RmsNorm norm_q_;
    RmsNorm norm_k_;
    Linear to_out_;
};

class OmniGen2FeedForward {
  public:
    OmniGen2FeedForward(Registry& registry, std::string_view path,
                        const modelfile::OmniGen2Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear linear_1_;
    Linear linear_2_;
    Linear linear_3_;
};

// Width of the timestep's vector that modulates the blocks.
[[nodiscard]] std::int64_t omnigen2_time_width(const modelfile::OmniGen2Config& config);

class OmniGen2Block {
  public:
    enum class Modulated : std::uint8_t { No, Yes };

    OmniGen2Block(Registry& registry, std::string_view path,
                  const modelfile::OmniGen2Config& config, Modulated modulated);
    // `time` is for modulated blocks alone.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table,
                                 const Tensor& time) const;

  private:
    [[nodiscard]] Tensor forward_modulated(Tape& tape, const Tensor& x, const Tensor& table,
                                           const Tensor& time) const;

    Module path_;
    std::int64_t width_;
    OmniGen2Attention attn_;
    OmniGen2FeedForward feed_forward_;
    Module modulator_;
    Module modulation_act_;
    std::optional<Linear> modulation_;
    RmsNorm norm1_;
    RmsNorm ffn_norm1_;
    RmsNorm norm2_;
    RmsNorm ffn_norm2_;
};

class BooguDoubleBlock;

class OmniGen2Network final : public Denoiser {
  public:
    // `double_layers`: Boogu's, in which text and image have weights of their own, before those of
    // one stream.
    explicit OmniGen2Network(const modelfile::OmniGen2Config& config,
                             std::optional<int> double_layers = std::nullopt);
    ~OmniGen2Network() override;

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Condition {
        Tensor time;
        Tensor text;
    };
    struct Tables {
        Tensor text;
        Tensor references;
        Tensor image;
        Tensor all;
    };
    // Tokens of the references and where each of them ends.
    struct References {
        Tensor tokens;
        std::vector<LatentExtent> grids;  // in tokens
    };
    [[nodiscard]] Condition embed_condition(Tape& tape, const Tensor& timesteps,
                                            const Tensor& context) const;
    [[nodiscard]] References flatten_references(Tape& tape,
                                                const std::vector<Tensor>& latents) const;
    [[nodiscard]] Tables position_tables(Tape& tape, std::int64_t batch, std::int64_t text_tokens,
                                         const std::vector<LatentExtent>& references,
                                         const LatentExtent& image) const;
    [[nodiscard]] Tensor refine_images(Tape& tape, const Tensor& image,
                                       const References& references, const Tables& tables,
                                       const Tensor& time) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& time) const;

    modelfile::OmniGen2Config config_;
    Module root_;
    Module rope_;
    Module rope_axes_;
    Linear x_embedder_;
    Linear reference_embedder_;
    Module condition_;
    Module time_proj_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    RmsNorm text_norm_;
    Linear text_in_;
    std::vector<OmniGen2Block> noise_refiner_;
    std::vector<OmniGen2Block> reference_refiner_;
    std::vector<OmniGen2Block> context_refiner_;
    std::vector<BooguDoubleBlock> double_layers_;
    std::vector<OmniGen2Block> layers_;
    Module final_;
    Module final_act_;
    Linear final_modulation_;
    LayerNorm final_norm_;
    Linear final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_omnigen2(
    const modelfile::OmniGen2Config& config);
// Boogu-Image (2026), which is OmniGen2 with `double_layers` between its refiners and layers.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_boogu(
    const modelfile::OmniGen2Config& config, int double_layers);

}  // namespace plimsoll::memory
