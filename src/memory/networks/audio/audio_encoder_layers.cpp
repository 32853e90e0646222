// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/audio_encoder_layers.h"

#include <fmt/format.h>

namespace plimsoll::memory {

AudioEncoderLayer::AudioEncoderLayer(Registry& r, std::string_view path,
                                     const AudioLayerNames& names, const Widths& widths,
                                     const Traits& traits)
    : path_(r.path(path, "")),
      widths_(widths),
      traits_(traits),
      q_(r, r.path(path, fmt::format("{}.q_proj", names.attention)), widths.hidden, widths.hidden),
      k_(r, r.path(path, fmt::format("{}.k_proj", names.attention)), widths.hidden, widths.hidden,
         traits.key_bias),
      v_(r, r.path(path, fmt::format("{}.v_proj", names.attention)), widths.hidden, widths.hidden),
      out_(r, r.path(path, fmt::format("{}.out_proj", names.attention)), widths.hidden,
           widths.hidden),
      norm1_(r, r.path(path, names.norm1), widths.hidden),
      fc1_(r, r.path(path, names.fc1), widths.hidden, widths.feed_forward),
      fc2_(r, r.path(path, names.fc2), widths.feed_forward, widths.hidden),
      norm2_(r, r.path(path, names.norm2), widths.hidden) {}

Tensor AudioEncoderLayer::attend(Tape& tape, const Tensor& x) const {
    const Tensor q = q_.forward(tape, x);
    const Tensor k = k_.forward(tape, x);
    const Tensor v = v_.forward(tape, x);
    const Shape& s = x.shape();
    const Tensor mixed = ghost::attention(tape, path_, q, k, v,
                                          {.batch = s[0],
                                           .heads = widths_.heads,
                                           .queries = s[1],
                                           .keys = s[1],
                                           .head_dim = widths_.hidden / widths_.heads})
                             .view(s);
    return out_.forward(tape, mixed);
}

Tensor AudioEncoderLayer::feed(Tape& tape, const Tensor& x) const {
    Tensor hidden = fc1_.forward(tape, x);
    hidden = ghost::unary(tape, "gelu", path_, hidden);
    return fc2_.forward(tape, hidden);
}

Tensor AudioEncoderLayer::forward(Tape& tape, const Tensor& x) const {
    Tensor y = traits_.norm_first ? norm1_.forward(tape, x) : x;
    y = attend(tape, y);
    y = ghost::binary(tape, "add", path_, x, y);
    if (!traits_.norm_first) {
        y = norm1_.forward(tape, y);
        const Tensor fed = feed(tape, y);
        return norm2_.forward(tape, ghost::binary(tape, "add", path_, y, fed));
    }
    const Tensor fed = feed(tape, norm2_.forward(tape, y));
    return ghost::binary(tape, "add", path_, y, fed);
}

}  // namespace plimsoll::memory
