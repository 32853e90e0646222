// SPDX-License-Identifier: Apache-2.0
//
// Gemma 4: layers that look back over a window or over everything. In the small models (E2B, E4B)
// the last ones take keys and values of earlier ones, and each layer has a small input of its own.
#pragma once
#include "memory/networks/text/decoder.h"
#include "modelfile/networks/gemma4_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// Keys and values that a layer sees.
struct Gemma4Keys {
    Tensor keys;
    Tensor values;
};

class Gemma4Layer {
  public:
    Gemma4Layer(Registry& registry, std::string_view path, const modelfile::Gemma4Config& config,
                int index);
    // `shared`: in the keys of an earlier layer, or out its own. `past`: what the cache has.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& mask,
                                 const DecoderRope& rope, const Tensor& own_input,
                                 std::int64_t past, Gemma4Keys& shared) const;
    [[nodiscard]] bool looks_back_over_window() const { return window_ > 0; }
    [[nodiscard]] bool shares() const { return shares_; }
    [[nodiscard]] std::int64_t head_dim() const { return head_dim_; }
    [[nodiscard]] std::int64_t kv_heads() const { return kv_heads_; }
    // Tokens that its cache keeps of `tokens`.
    [[nodiscard]] std::int64_t kept(std::int64_t tokens) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& mask,
                                const DecoderRope& rope, std::int64_t past,
                                Gemma4Keys& shared) const;
    [[nodiscard]] Gemma4Keys make_keys(Tape& tape, const Tensor& x, const DecoderRope& rope,
                                       std::int64_t past) const;
    [[nodiscard]] Tensor look(Tape& tape, const Tensor& q, const Gemma4Keys& seen,
                              const Tensor& mask) const;

    Module path_;
    Module attention_;
    std::int64_t window_;  // 0: looks back over everything
    bool shares_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    std::optional<Linear> v_;  // none: keys are values too
    Linear out_;
    DecoderNorm q_norm_;
    DecoderNorm k_norm_;
    DecoderMlp mlp_;
    std::vector<DecoderNorm> norms_;  // before and after attention, before and after the rest
    std::optional<Linear> own_gate_;
    std::optional<Linear> own_projection_;
    std::optional<DecoderNorm> own_norm_;
};

class Gemma4Network final : public TextNetwork {
  public:
    explicit Gemma4Network(const modelfile::Gemma4Config& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;
    [[nodiscard]] bool writes() const override { return true; }
    void write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const override;

  private:
    void register_towers();
    void register_projections();
    // What a forward leaves behind: keys for the next one's cache, states before every layer and
    // after the last where they are asked for.
    struct Left {
        std::vector<Gemma4Keys> keys;
        std::vector<Tensor> states;
    };
    enum class States : std::uint8_t { Drop, Keep };
    [[nodiscard]] Tensor run_layers(Tape& tape, Tensor x, std::int64_t past,
                                    const Tensor& attention_mask, States states, Left& left) const;
    // What every layer gets of its own, from the tokens and from what they became.
    [[nodiscard]] std::vector<Tensor> own_inputs(Tape& tape, const Tensor& x) const;

    modelfile::Gemma4Config config_;
    Module model_;
    std::optional<Embedding> embed_tokens_;
    std::vector<Gemma4Layer> layers_;
    std::optional<DecoderNorm> norm_;
    std::optional<Embedding> own_embedding_;
    std::optional<Linear> own_model_projection_;
    std::optional<DecoderNorm> own_norm_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const Gemma4Network>> build_gemma4(
    const modelfile::Gemma4Config& config);

}  // namespace plimsoll::memory
