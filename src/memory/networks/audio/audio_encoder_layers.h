// SPDX-License-Identifier: Apache-2.0
//
// The layers of networks that listen: a transformer's, under the names of each network.
#pragma once
#include "memory/networks/layers.h"

#include <string_view>

namespace plimsoll::memory {

struct AudioLayerNames {
    std::string_view attention;  // "self_attn"
    std::string_view norm1;      // before the attention, or after it
    std::string_view fc1;
    std::string_view fc2;
    std::string_view norm2;
};

class AudioEncoderLayer {
  public:
    struct Widths {
        std::int64_t hidden;
        std::int64_t heads;
        std::int64_t feed_forward;
    };
    struct Traits {
        Bias key_bias = Bias::Yes;
        bool norm_first = true;
    };
    AudioEncoderLayer(Registry& registry, std::string_view path, const AudioLayerNames& names,
                      const Widths& widths, const Traits& traits);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;  // [N, moments, hidden]

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor feed(Tape& tape, const Tensor& x) const;

    Module path_;
    Widths widths_;
    Traits traits_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    LayerNorm norm1_;
    Linear fc1_;
    Linear fc2_;
    LayerNorm norm2_;
};

}  // namespace plimsoll::memory
