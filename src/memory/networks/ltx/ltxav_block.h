// SPDX-License-Identifier: Apache-2.0
//
// A block of LTX-2: video and sound attend to themselves, to the text and to each other.
#pragma once
#include "memory/networks/ltx/ltx_layers.h"
#include "modelfile/networks/ltxav_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A modulation's rows: one for each timestep, or one for each frame, to be repeated for its cells.
struct LtxRows {
    Tensor data;  // [N, rows, sets x width]
    std::int64_t patches = 1;
};

struct LtxavStreamGiven {
    Tensor context;
    LtxRope rope;
    LtxRope cross_rope;      // of the attention to the other stream
    LtxRows timestep;        // 6 sets, 9 where attention to the text is modulated
    LtxRows cross_timestep;  // 4 sets
    LtxRows cross_gate;      // 1 set
    Tensor prompt_timestep;  // [N, 1, 2 x width] where attention to the text is modulated
};
struct LtxavGiven {
    LtxavStreamGiven video;
    LtxavStreamGiven audio;
};

class LtxavBlock {
  public:
    LtxavBlock(Registry& registry, std::string_view path, const modelfile::LtxavConfig& config);
    // Changes both streams in place.
    void forward(Tape& tape, const Tensor& video, const Tensor& audio,
                 const LtxavGiven& given) const;

  private:
    struct Stream {
        const LtxAttention& self;
        const LtxAttention& text;
        const LtxFeedForward& ff;
        std::int64_t width;
    };
    // `count` sets of rows, each plus the block's own: views or, where rows are frames, copies.
    [[nodiscard]] std::vector<Tensor> values(Tape& tape, const LtxRows& rows, std::int64_t count,
                                             std::int64_t width) const;
    [[nodiscard]] Tensor gate(Tape& tape, const LtxRows& rows, std::int64_t width) const;
    void add_gated(Tape& tape, const Tensor& x, const Tensor& update, const Tensor& gate) const;
    void attend(Tape& tape, const Tensor& x, const Stream& stream,
                const LtxavStreamGiven& given) const;
    [[nodiscard]] Tensor attend_to_text(Tape& tape, const Tensor& x, const Stream& stream,
                                        const LtxavStreamGiven& given) const;
    [[nodiscard]] Tensor modulated(Tape& tape, const Tensor& normal, const Tensor& part) const;
    void video_from_audio(Tape& tape, const Tensor& video, const Tensor& audio_normal,
                          const LtxavGiven& given) const;
    void audio_from_video(Tape& tape, const Tensor& video, const Tensor& audio,
                          const Tensor& audio_normal, const LtxavGiven& given) const;
    void feed_forward(Tape& tape, const Tensor& x, const Stream& stream,
                      const LtxavStreamGiven& given) const;

    std::int64_t video_;
    std::int64_t audio_;
    std::int64_t sets_;
    Module path_;
    LtxAttention attn1_;
    LtxAttention audio_attn1_;
    LtxAttention attn2_;
    LtxAttention audio_attn2_;
    LtxAttention audio_to_video_;
    LtxAttention video_to_audio_;
    LtxFeedForward ff_;
    LtxFeedForward audio_ff_;
};

}  // namespace plimsoll::memory
