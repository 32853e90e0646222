// SPDX-License-Identifier: Apache-2.0
//
// The blocks of Flux (Black Forest Labs 2024), which Flux 2, Chroma and LongCat-Image share: text
// and image tokens with weights of their own that attend together, then both in one stream.
#pragma once
#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Which module makes the shifts, scales and gates from the vector of timestep and text.
enum class Modulated : std::uint8_t { ByTheBlock, FromOutside };
// Of the gated ones, GatedSilu's two halves come of one Linear layer, SplitSilu's of two in blocks
// of two streams (Ovis-Image).
enum class FluxMlp : std::uint8_t { Gelu, GatedSilu, SplitSilu };
// Whose forward the blocks run up to 0.3.64; since 0.33.0 there is Flux's only. Chroma's computes
// 1 + scale before it normalises, and adds a gated update in one kernel, in place.
enum class BlockForward : std::uint8_t { Flux, Chroma };

struct FluxWidths {
    std::int64_t hidden = 3072;
    std::int64_t heads = 24;
    std::int64_t mlp = 12288;  // behind the activation
    Bias qkv_bias = Bias::Yes;
    Bias bias = Bias::Yes;  // of every other Linear
    FluxMlp mlp_kind = FluxMlp::Gelu;
    Modulated modulated = Modulated::ByTheBlock;
    BlockForward forward = BlockForward::Flux;
    bool strided_img = false;  // the image's tokens lie as a convolution left them: by channels

    // In front of the activation: a gated one halves.
    [[nodiscard]] std::int64_t mlp_in() const { return mlp_kind == FluxMlp::Gelu ? mlp : 2 * mlp; }
};

// Query and key, normalised each over the head.
class QkNorm {
  public:
    QkNorm(Registry& registry, std::string_view path, std::int64_t head_dim);
    [[nodiscard]] Tensor query(Tape& tape, const Tensor& q) const {
        return query_.forward(tape, q);
    }
    [[nodiscard]] Tensor key(Tape& tape, const Tensor& k) const { return key_.forward(tape, k); }

  private:
    RmsNorm query_;
    RmsNorm key_;
};

// From the vector of timestep, guidance and text to shifts, scales and gates.
class FluxModulation {
  public:
    FluxModulation(Registry& registry, std::string_view path, std::int64_t width, int sets,
                   Bias bias);
    // [N, 1, 3 x sets x width]
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& vec) const;

  private:
    Module path_;
    Linear lin_;
};

// What is between the two Linear layers of a feed-forward part.
class FluxActivation {
  public:
    FluxActivation(Registry& registry, std::string_view path, FluxMlp kind);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;
    // The gate alone, where it comes of a Linear layer of its own.
    [[nodiscard]] Tensor open(Tape& tape, const Tensor& gate) const;

  private:
    FluxMlp kind_;
    Module path_;
    Module gate_;
};

// What modulates a block: the vector that the block computes its modulation from, or, FromOutside,
// that modulation itself.
struct FluxCondition {
    Tensor img;
    Tensor txt;
};

class FluxDoubleBlock {
  public:
    FluxDoubleBlock(Registry& registry, std::string_view path, const FluxWidths& widths);
    void forward(Tape& tape, Tensor& img, Tensor& txt, const FluxCondition& condition,
                 const Tensor& pe) const;

  private:
    struct Stream {
        std::optional<FluxModulation> mod;
        LayerNorm norm1;
        Linear qkv;
        QkNorm norm;
        Linear proj;
        LayerNorm norm2;
        std::optional<Linear> mlp_gate;  // beside `mlp_in`
        Linear mlp_in;
        FluxActivation mlp_act;
        Linear mlp_out;
        bool strided = false;
    };
    struct Attended;
    [[nodiscard]] static Stream make_stream(Registry& registry, std::string_view path,
                                            std::string_view name, const FluxWidths& widths);
    [[nodiscard]] Attended prepare(Tape& tape, const Stream& stream, const Tensor& x,
                                   const Tensor& modulation) const;
    // [N, text and image tokens, width]. Up to 0.3.64 `txt` and `img` live on.
    [[nodiscard]] Tensor attend(Tape& tape, Attended& txt, Attended& img, const Tensor& pe) const;
    [[nodiscard]] Tensor project(Tape& tape, const Stream& stream, const Tensor& attended) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Stream& stream, const Tensor& x,
                                      const Tensor& modulation) const;

    Module path_;
    FluxWidths widths_;
    Stream img_;
    Stream txt_;
};

class FluxSingleBlock {
  public:
    FluxSingleBlock(Registry& registry, std::string_view path, const FluxWidths& widths);
    // Adds to `x` in place. `condition` as above.
    void forward(Tape& tape, Tensor& x, const Tensor& condition, const Tensor& pe) const;

  private:
    Module path_;
    FluxWidths widths_;
    Linear linear1_;
    Linear linear2_;
    QkNorm norm_;
    LayerNorm pre_norm_;
    FluxActivation act_;
    std::optional<FluxModulation> modulation_;
};

// "NAME.0", "NAME.1", ...
template <class Block>
[[nodiscard]] std::vector<Block> make_flux_blocks(Registry& registry, std::string_view name,
                                                  int count, const FluxWidths& widths) {
    std::vector<Block> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(registry, fmt::format("{}.{}", name, i), widths);
    return blocks;
}

class FluxFinalLayer {
  public:
    FluxFinalLayer(Registry& registry, std::string_view path, const FluxWidths& widths,
                   std::int64_t channels, Modulated modulated);
    // `own`: [N, image tokens, width], a view without text and references.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& own, const Tensor& condition) const;

  private:
    Module path_;
    FluxWidths widths_;
    Linear linear_;
    Module silu_;
    std::optional<Linear> modulation_;
    LayerNorm norm_;
};

// How positions are kept.
struct PositionIds {
    std::int64_t axes = 3;
    ghost::ElementType type = ghost::ElementType::Float32;
};
// Positions of the tokens of an image, [N, tokens, axes], written axis by axis; the first axis
// tells images apart, where there can be several.
enum class ImageIndex : std::uint8_t { Written, LeftZero };
[[nodiscard]] Tensor image_ids(Tape& tape, Module module, std::int64_t batch, std::int64_t rows,
                               std::int64_t columns, const PositionIds& ids, ImageIndex index);
// Positions of the text, [N, tokens, axes]: numbered along `numbered` of the axes, 0 along the
// rest.
[[nodiscard]] Tensor text_ids(Tape& tape, Module module, std::int64_t batch, std::int64_t tokens,
                              const PositionIds& ids, std::size_t numbered);

// Whether the numbers that the networks' configurations have in common fit each other and are in
// proportion.
template <class Config>
[[nodiscard]] bool sound_flux(const Config& c) {
    return within(c.in_channels, 1, kWidthMax) && within(c.out_channels, 1, c.in_channels) &&
           within(c.patch_size, 1, kPatchMax) && within(c.hidden_size, 1, kWidthMax) &&
           within(c.num_heads, 1, c.hidden_size) && c.hidden_size % c.num_heads == 0 &&
           c.mlp_ratio > 0 && c.mlp_ratio <= kMlpRatioMax && within(c.depth, 0, kDepthMax) &&
           within(c.depth_single_blocks, 0, kDepthMax) && within(c.context_in_dim, 1, kWidthMax) &&
           rotated_channels(c.axes_dim) == c.hidden_size / c.num_heads;
}

}  // namespace plimsoll::memory
