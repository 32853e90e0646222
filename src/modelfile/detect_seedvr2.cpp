// SPDX-License-Identifier: Apache-2.0
//
// SeedVR2, 3B and 7B.
#include "modelfile/detect_numbers.h"

#include <fmt/format.h>

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_seedvr2(const TensorView& view, Notes& notes) {
    NumberReader read(view, "SeedVR2");
    Seedvr2Config c;
    c.vid_dim = read.length("vid_in.proj.weight", 0, 2);
    const int head = read.length("blocks.0.attn.norm_q.vid.weight", 0, 1);
    c.heads = read.quotient(c.vid_dim, head, "channels of a head");
    c.num_layers = read.blocks("blocks.{}.", "blocks");
    c.mm_layers = 0;
    while (c.mm_layers < c.num_layers &&
           view.has(fmt::format("blocks.{}.attn.proj_qkv.vid.weight", c.mm_layers)))
        ++c.mm_layers;
    c.mlp_type = view.has("blocks.0.mlp.vid.proj_in_gate.weight") ? "swiglu" : "normal";
    c.vid_out_norm = view.has("vid_out_norm.weight");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::SeedVr2};
}

}  // namespace plimsoll::modelfile
