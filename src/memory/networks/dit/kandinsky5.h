// SPDX-License-Identifier: Apache-2.0
//
// Kandinsky 5 (Sber 2025): text tokens run through blocks of their own, image or video tokens
// attend to themselves and then to the text. Long sequences are projected and fed forward in
// chunks.
#pragma once
#include "memory/networks/denoiser.h"
#include "modelfile/networks/kandinsky5_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Kandinsky5Attention {
  public:
    enum class Kind : std::uint8_t { Self, Cross };

    Kandinsky5Attention(Registry& registry, std::string_view path,
                        const modelfile::Kandinsky5Config& config);
    [[nodiscard]] Tensor forward_self(Tape& tape, const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor forward_cross(Tape& tape, const Tensor& x, const Tensor& text) const;

  private:
    [[nodiscard]] Tensor project(Tape& tape, const Linear& linear, const RmsNorm& norm,
                                 const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& q, const Tensor& k,
                                const Tensor& v) const;
    [[nodiscard]] Shape in_heads(const Tensor& x) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    Linear to_query_;
    Linear to_key_;
    Linear to_value_;
    RmsNorm query_norm_;
    RmsNorm key_norm_;
    Linear out_;
};

class Kandinsky5FeedForward {
  public:
    Kandinsky5FeedForward(Registry& registry, std::string_view path,
                          const modelfile::Kandinsky5Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    [[nodiscard]] Tensor forward_chunk(Tape& tape, const Tensor& x, bool slice) const;

    Module path_;
    Linear in_;
    Module act_;
    Linear out_;
};

// A block of text or of image tokens, which attend to the text too.
class Kandinsky5Block {
  public:
    enum class Stream : std::uint8_t { Text, Visual };

    Kandinsky5Block(Registry& registry, std::string_view path,
                    const modelfile::Kandinsky5Config& config, Stream stream);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& text,
                                 const Tensor& time, const Tensor& table) const;

  private:
    Module path_;
    std::int64_t width_;
    Module modulation_act_;
    Linear modulation_;
    LayerNorm self_norm_;
    Kandinsky5Attention self_;
    std::vector<Kandinsky5Attention> cross_;  // one, or none in a text block
    LayerNorm cross_norm_;
    LayerNorm feed_forward_norm_;
    Kandinsky5FeedForward feed_forward_;
};

class Kandinsky5Network final : public Denoiser {
  public:
    explicit Kandinsky5Network(const modelfile::Kandinsky5Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Embedder {
        Linear in;
        LayerNorm norm;
    };
    [[nodiscard]] Tensor pad(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor visual_table(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor text_table(Tape& tape, std::int64_t tokens, ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] Tensor forward_out(Tape& tape, const Tensor& x, const Tensor& time,
                                     const Shape& padded) const;

    modelfile::Kandinsky5Config config_;
    Module root_;
    Module time_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Embedder text_in_;
    Embedder pooled_in_;
    Module visual_;
    Linear visual_in_;
    std::vector<Kandinsky5Block> text_blocks_;
    std::vector<Kandinsky5Block> visual_blocks_;
    Module out_;
    Module out_act_;
    Linear out_modulation_;
    LayerNorm out_norm_;
    Linear out_layer_;
    Module rope_3d_;
    Module rope_1d_;
};

// Longer videos attend sparsely, which is not simulated.
inline constexpr int kKandinsky5FramesMax = 40;  // of the latent

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_kandinsky5(
    const modelfile::Kandinsky5Config& config);

}  // namespace plimsoll::memory
