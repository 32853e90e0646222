// SPDX-License-Identifier: Apache-2.0
//
// Decoder-only language models as ComfyUI runs them to encode prompts: one pass, no cache, hidden
// states out.
#pragma once
#include "memory/networks/text/decoder_rope.h"
#include "memory/networks/text/sound_codes.h"
#include "memory/networks/text/text_encoder.h"
#include "modelfile/networks/decoder_config.h"

#include <memory>
#include <optional>

namespace plimsoll::memory {

// Which hidden states the wrapper hands on, and how it treats padding.
struct DecoderOutput {
    enum class Kind : std::uint8_t {
        Last,    // after the final norm
        Hidden,  // after one of the layers
        Layers,  // before each of the listed layers, stacked; one past the last is the output
        All,     // before every layer and the output, stacked
    };
    Kind kind = Kind::Last;
    int hidden_layer = -1;          // of Hidden; counted from the end where negative
    std::vector<int> layers;        // of Layers
    bool normalize_hidden = false;  // the final norm for Hidden too
    bool masked = true;             // padding is masked
    bool zero_out_masked = false;   // and its encodings are zero
};

// Keys and values of one layer, with room for the whole text.
struct DecoderCache {
    Tensor keys;
    Tensor values;
    std::int64_t past = 0;    // tokens that are in it
    std::int64_t window = 0;  // that a single new one looks back; 0: all
};

class DecoderNorm {
  public:
    DecoderNorm(Registry& registry, Module path, std::int64_t width, bool adds_one);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    bool adds_one_;  // Gemma's weights are around zero
};

class DecoderAttention {
  public:
    DecoderAttention(Registry& registry, std::string_view path,
                     const modelfile::DecoderConfig& config);
    // `cache`: undefined keys where none are kept.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 const DecoderRope& rope, const DecoderCache& cache) const;

  private:
    // Keys or values for every query head: a copy.
    [[nodiscard]] Tensor expand_heads(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    std::optional<DecoderNorm> q_norm_;
    std::optional<DecoderNorm> k_norm_;
};

class DecoderMlp {
  public:
    DecoderMlp(Registry& registry, std::string_view path, const modelfile::DecoderConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::string_view activation_;
    Linear gate_;
    Linear up_;
    Linear down_;
};

class DecoderLayer {
  public:
    DecoderLayer(Registry& registry, std::string_view path, const modelfile::DecoderConfig& config,
                 int index);
    // `ropes`: one, or Gemma 3's two, for all positions and for near ones.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& mask,
                                 const std::vector<DecoderRope>& ropes, DecoderCache cache) const;

  private:
    Module path_;
    bool near_only_;
    DecoderAttention attention_;
    DecoderMlp mlp_;
    DecoderNorm input_norm_;
    DecoderNorm post_attention_norm_;
    std::optional<DecoderNorm> pre_feed_forward_norm_;   // Gemma
    std::optional<DecoderNorm> post_feed_forward_norm_;  // Gemma
};

class DecoderNetwork final : public TextNetwork {
  public:
    DecoderNetwork(const modelfile::DecoderConfig& config, DecoderOutput output,
                   std::string_view class_name);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;
    [[nodiscard]] bool writes() const override { return writes_; }
    void write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const override;

  private:
    struct Stack;
    [[nodiscard]] std::vector<DecoderRope> make_ropes(Tape& tape, const Tensor& positions) const;
    [[nodiscard]] Stack run_layers(Tape& tape, const EmbeddedPrompts& prompts,
                                   const DecoderOutput& output) const;

    modelfile::DecoderConfig config_;
    DecoderOutput output_;
    bool writes_;
    Module model_;
    std::optional<Embedding> embed_tokens_;
    std::vector<DecoderLayer> layers_;
    std::optional<DecoderNorm> norm_;
    std::optional<SoundCodes> sound_;
};

// Fails with InvalidInput where the numbers contradict each other. `class_name`: of the wrapper,
// with static lifetime.
[[nodiscard]] Result<std::shared_ptr<const DecoderNetwork>> build_decoder(
    const modelfile::DecoderConfig& config, const DecoderOutput& output,
    std::string_view class_name);

}  // namespace plimsoll::memory
