// SPDX-License-Identifier: Apache-2.0
//
// Qwen 3.5: of four layers three keep a state of fixed size by a gated delta rule, in chunks over a
// prompt and token by token after it; the fourth attends, its output gated.
#pragma once
#include "memory/networks/text/decoder.h"
#include "modelfile/networks/qwen35_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// What a layer keeps of the text before: a state and the last inputs of its convolution, or keys
// and values. Undefined where nothing is kept.
struct Qwen35Cache {
    Tensor state;
    Tensor convolved;
    DecoderCache keys;
};

class Qwen35DeltaNet {
  public:
    Qwen35DeltaNet(Registry& registry, std::string_view path,
                   const modelfile::Qwen35Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Qwen35Cache& cache,
                                 std::int64_t past) const;
    [[nodiscard]] std::int64_t conv_channels() const { return 2 * key_width() + value_width(); }

  private:
    [[nodiscard]] std::int64_t key_width() const { return key_heads_ * key_dim_; }
    [[nodiscard]] std::int64_t value_width() const { return value_heads_ * value_dim_; }
    [[nodiscard]] Tensor convolve(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor by_chunks(Tape& tape, const Tensor& mixed) const;
    [[nodiscard]] Tensor one_token(Tape& tape, const Tensor& mixed, const Tensor& state) const;

    Module path_;
    std::int64_t key_heads_;
    std::int64_t value_heads_;
    std::int64_t key_dim_;
    std::int64_t value_dim_;
    std::int64_t kernel_;
    Linear in_qkv_;
    Linear in_z_;
    Linear in_b_;
    Linear in_a_;
    Linear out_;
    Module conv_;
    DecoderNorm norm_;
};

class Qwen35Attention {
  public:
    Qwen35Attention(Registry& registry, std::string_view path,
                    const modelfile::Qwen35Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 const DecoderRope& rope, const DecoderCache& cache) const;

  private:
    [[nodiscard]] Tensor rotate_part(Tape& tape, const Tensor& x, const DecoderRope& rope) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    DecoderNorm q_norm_;
    DecoderNorm k_norm_;
};

class Qwen35Layer {
  public:
    Qwen35Layer(Registry& registry, std::string_view path, const modelfile::Qwen35Config& config,
                int index);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& mask,
                                 const DecoderRope& rope, const Qwen35Cache& cache,
                                 std::int64_t past) const;
    [[nodiscard]] bool attends() const { return attention_.has_value(); }

  private:
    Module path_;
    std::optional<Qwen35DeltaNet> delta_;
    std::optional<Qwen35Attention> attention_;
    DecoderMlp mlp_;
    DecoderNorm input_norm_;
    DecoderNorm post_attention_norm_;
};

class Qwen35Network final : public TextNetwork {
  public:
    explicit Qwen35Network(const modelfile::Qwen35Config& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;
    [[nodiscard]] bool writes() const override { return true; }
    void write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const override;

  private:
    void register_eye();
    [[nodiscard]] Qwen35Cache make_cache(Tape& tape, const Qwen35Layer& layer, std::int64_t batch,
                                         std::int64_t room, std::int64_t past) const;
    [[nodiscard]] DecoderRope rope(Tape& tape, std::int64_t tokens) const;

    modelfile::Qwen35Config config_;
    Module model_;
    std::optional<Embedding> embed_tokens_;
    std::vector<Qwen35Layer> layers_;
    std::optional<DecoderNorm> norm_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const Qwen35Network>> build_qwen35(
    const modelfile::Qwen35Config& config);

}  // namespace plimsoll::memory
