// SPDX-License-Identifier: Apache-2.0
//
// SAM 3 and 3.1: what finds things below "detector.", what follows them below "tracker." or, as its
// authors published 3.1, "tracker.model.".
#include "modelfile/detect_numbers.h"
#include "modelfile/detect_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace plimsoll::modelfile {
namespace {

constexpr std::string_view kVision = "detector.backbone.vision_backbone.";
constexpr std::string_view kEncoderOfTexts = "detector.backbone.language_backbone.encoder.";

}  // namespace

bool looks_like_sam3(const TensorView& view) {
    return view.has(fmt::format("{}trunk.blocks.0.attn.qkv.weight", kVision)) &&
           view.has("detector.transformer.decoder.query_embed.weight");
}

std::optional<Sam3Config> detect_sam3(const TensorView& view, Notes& notes) {
    NumberReader read(view, "SAM 3");
    Sam3Config c;
    const auto seen = [](std::string_view name) { return fmt::format("{}{}", kVision, name); };
    const std::string patches = seen("trunk.patch_embed.proj.weight");
    c.hidden = read.length(patches, 0, 4);
    c.patch = read.length(patches, 2, 4);
    c.layers = 0;
    while (view.has_any(seen(fmt::format("trunk.blocks.{}.", c.layers)))) ++c.layers;
    c.mlp = read.length(seen("trunk.blocks.0.mlp.fc1.weight"), 0, 2);
    const int positions = read.length(seen("trunk.pos_embed"), 1, 3);
    c.grid = static_cast<int>(std::lround(std::sqrt(std::max(0, positions - 1))));
    read.expect(c.grid * c.grid + 1 == positions, "its positions are no square");
    c.queries = read.length("detector.transformer.decoder.query_embed.weight", 0, 2);
    c.width = read.length("detector.transformer.decoder.query_embed.weight", 1, 2);
    c.encoder_layers = read.blocks("detector.transformer.encoder.layers.{}.", "encoder layers");
    c.decoder_layers = read.blocks("detector.transformer.decoder.layers.{}.", "decoder layers");
    c.geometry_layers = read.blocks("detector.geometry_encoder.encode.{}.", "geometry layers");
    c.feed_forward = read.length("detector.transformer.encoder.layers.0.linear1.weight", 0, 2);
    c.text_width = read.length("detector.backbone.language_backbone.resizer.weight", 1, 2);
    const TensorView tracker =
        view.below(view.has_any("tracker.model.") ? "tracker.model." : "tracker.");
    NumberReader of_tracker(tracker, "SAM 3's tracker");
    c.memory_layers = of_tracker.blocks("transformer.encoder.layers.{}.", "layers");
    c.memories = of_tracker.length("maskmem_tpos_enc", 0, 4);
    c.memory_width = of_tracker.length("maskmem_tpos_enc", 3, 4);
    c.objects = of_tracker.length("no_obj_embed_spatial", 0, 2);
    const bool several = view.has_any(seen("propagation_convs."));
    of_tracker.expect((c.objects > 1) == several,
                      "its necks are for another number of objects than it follows");
    if (!read.sound(notes) || !of_tracker.sound(notes)) return std::nullopt;
    return c;
}

PartWeights sum_sam3(const TensorTable& table) {
    WeightSum sum;
    for (const std::string_view root : {"detector.", "tracker."})
        for (const std::uint32_t at : table.with_prefix(std::string(root))) {
            const TensorEntry& tensor = table.tensors[at];
            // The texts' encoder is a network of its own; rotations are computed, not read.
            if (tensor.name.starts_with(kEncoderOfTexts) || tensor.name.ends_with("freqs_cis"))
                continue;
            sum.add(tensor);
        }
    return sum.total();
}

}  // namespace plimsoll::modelfile
