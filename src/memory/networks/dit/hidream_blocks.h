// SPDX-License-Identifier: Apache-2.0
//
// The blocks of HiDream-I1 (Cai et al. 2025): attention over image and text together, then a
// mixture of experts for the image (Shazeer et al. 2017; DeepSeek-AI 2024).
#pragma once
#include "memory/networks/dit/dit_layers.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// How the gate deals tokens out to the experts, which is a matter of the data: evenly, or each
// expert runs as if every token had chosen it.
enum class ExpertLoad : std::uint8_t { Balanced, Worst };

struct HiDreamWidths {
    std::int64_t hidden = 2560;
    std::int64_t heads = 20;
    std::int64_t head_dim = 128;
    std::int64_t experts = 4;
    std::int64_t activated = 2;
    ExpertLoad load = ExpertLoad::Worst;
};

// SwiGLU (Shazeer 2020).
class HiDreamFeedForward {
  public:
    HiDreamFeedForward(Registry& registry, std::string_view path, std::int64_t width,
                       std::int64_t hidden);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear w1_;
    Linear w2_;
    Linear w3_;
};

class HiDreamExperts {
  public:
    HiDreamExperts(Registry& registry, std::string_view path, const HiDreamWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    struct Choice {
        Tensor experts;  // [tokens, activated]
        Tensor weights;
    };
    [[nodiscard]] Choice choose(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor run(Tape& tape, const Tensor& x, const Choice& choice) const;

    Module path_;
    HiDreamWidths widths_;
    HiDreamFeedForward shared_;
    std::vector<HiDreamFeedForward> experts_;
    Module gate_;
};

enum class HiDreamStreams : std::uint8_t { Single, Double };  // Double: text has its own weights

class HiDreamAttention {
  public:
    HiDreamAttention(Registry& registry, std::string_view path, const HiDreamWidths& widths,
                     HiDreamStreams streams);
    struct Streams {
        Tensor img;
        Tensor txt;  // undefined where there is a single one
    };
    [[nodiscard]] Streams forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                  const Tensor& table) const;

  private:
    struct Side {
        Linear to_q;
        Linear to_k;
        Linear to_v;
        Linear to_out;
        RmsNorm q_norm;
        RmsNorm k_norm;
    };
    struct Heads {
        Tensor q;
        Tensor k;
        Tensor v;
    };
    [[nodiscard]] static Side make_side(Registry& registry, std::string_view path,
                                        std::string_view ending, const HiDreamWidths& widths);
    [[nodiscard]] Heads project(Tape& tape, const Side& side, const Tensor& x) const;
    [[nodiscard]] Tensor attend(Tape& tape, Heads& heads, const Tensor& table) const;

    Module path_;
    HiDreamWidths widths_;
    Side img_;
    std::optional<Side> txt_;
};

class HiDreamBlock {
  public:
    HiDreamBlock(Registry& registry, std::string_view path, const HiDreamWidths& widths,
                 HiDreamStreams streams);
    // `txt` is undefined in a block of a single stream.
    [[nodiscard]] HiDreamAttention::Streams forward(Tape& tape, const Tensor& img,
                                                    const Tensor& txt, const Tensor& condition,
                                                    const Tensor& table) const;

  private:
    [[nodiscard]] Tensor prepare(Tape& tape, const LayerNorm& norm, const Tensor& x,
                                 const Tensor& part) const;

    Module path_;
    HiDreamWidths widths_;
    Module act_;
    Linear modulation_;
    LayerNorm norm_;
    HiDreamAttention attention_;
    HiDreamExperts experts_;
    std::optional<HiDreamFeedForward> text_feed_forward_;
};

}  // namespace plimsoll::memory
