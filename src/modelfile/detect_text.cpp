// SPDX-License-Identifier: Apache-2.0
//
// CLIP text encoders wherever they stand in a file: the Hugging Face layout (CLIP-L, and all
// standalone files) and the OpenCLIP layout (H in SD 2.x, G in SDXL).
#include "modelfile/detect_parts.h"
#include "modelfile/untrusted.h"

#include <utility>

namespace plimsoll::modelfile {
namespace {

constexpr int kHeadWidth =
    64;  // CLIP-L, OpenCLIP-H and OpenCLIP-G alike (their published configurations)

constexpr std::size_t kTextEncodersMax =
    8;  // chosen: no file has more than four; each costs a walk over the tensors below it

struct KnownClip {
    std::string_view name;
    int layers;
    int hidden;
    ClipActivation activation;
    int positions = 77;
};
// SD 2.x checkpoints carry OpenCLIP-H with 24 layers or, converted, with the unused last one cut
// off.
constexpr KnownClip kKnownClips[] = {
    {"sam3_text", 24, 1024, ClipActivation::QuickGelu, 32},
    {"clip_l", 12, 768, ClipActivation::QuickGelu},
    {"clip_h", 24, 1024, ClipActivation::Gelu},
    {"clip_h", 23, 1024, ClipActivation::Gelu},
    {"clip_g", 32, 1280, ClipActivation::Gelu},
};

// Names of the tensors that give a text encoder's numbers, relative to its base.
struct ClipLayout {
    std::string_view
        first_mlp;  // ends the name of one tensor of each encoder; the rest is the base
    fmt::format_string<int&> layer;
    std::string_view tokens;
    std::string_view positions;
};

std::optional<ClipTextConfig> read_clip(const TensorView& base, const ClipLayout& layout,
                                        Notes& notes) {
    ClipTextConfig config;
    config.layers = base.count(layout.layer);
    config.hidden = base.axis(layout.first_mlp, 1, 2);
    config.intermediate = base.axis(layout.first_mlp, 0, 2);
    config.vocabulary = base.axis(layout.tokens, 0, 2);
    config.positions = base.axis(layout.positions, 0, 2);
    if (config.layers == 0 || config.hidden == 0 || config.intermediate == 0 ||
        config.vocabulary == 0 || config.positions == 0 ||
        base.axis(layout.tokens, 1, 2) != config.hidden || config.hidden % kHeadWidth != 0) {
        notes.push_back(fmt::format("text encoder below {} contradicts itself or is incomplete",
                                    shown_name(base.prefix())));
        return std::nullopt;
    }
    config.heads = config.hidden / kHeadWidth;
    config.projection = config.hidden;
    for (const KnownClip& known : kKnownClips) {
        if (known.layers != config.layers || known.hidden != config.hidden) continue;
        if (known.name == "sam3_text" && known.positions != config.positions) continue;
        config.name = known.name;
        config.activation = known.activation;
        return config;
    }
    notes.push_back(
        fmt::format("text encoder below {} with {} layers of width {} is none that is known",
                    shown_name(base.prefix()), config.layers, config.hidden));
    return std::nullopt;
}

void drop_suffix(std::string& text, std::string_view suffix) {
    if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
}

// Weights of the encoder at `base` and of its projection, which the layouts keep beside it at
// `root`.
PartWeights sum_clip(const TensorTable& table, std::string_view root, std::string_view base) {
    WeightSum sum;
    for (const std::uint32_t at : table.with_prefix(root)) {
        const TensorEntry& tensor = table.tensors[at];
        const std::string_view rest = std::string_view(tensor.name).substr(root.size());
        const bool is_beside = rest == "text_projection" || rest == "text_projection.weight" ||
                               rest == "logit_scale" ||
                               rest == "transformer.text_projection.weight";
        const bool is_vision = rest.starts_with("visual.") || rest.starts_with("vision_model.");
        if (is_beside || (tensor.name.starts_with(base) && !is_vision)) sum.add(tensor);
    }
    return sum.total();
}

// One tensor of each layout that ends the name of an encoder's, and what stands before it.
struct Found {
    const ClipLayout* layout;
    std::string base;
};

std::optional<Found> find_layout(const std::string& name) {
    static constexpr ClipLayout kLayouts[] = {
        {"encoder.layers.0.mlp.fc1.weight", "encoder.layers.{}.",
         "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"},  // HF
        {"transformer.resblocks.0.mlp.c_fc.weight", "transformer.resblocks.{}.",
         "token_embedding.weight", "positional_embedding"},  // OpenCLIP
    };
    for (const ClipLayout& layout : kLayouts)
        if (name.ends_with(layout.first_mlp))
            return Found{&layout, name.substr(0, name.size() - layout.first_mlp.size())};
    return std::nullopt;
}

}  // namespace

std::vector<Part<TextEncoderConfig>> detect_text_encoders(const TensorTable& table, Notes& notes) {
    std::vector<Part<TextEncoderConfig>> found;
    std::size_t looked_at = 0;
    for (const TensorEntry& tensor : table.tensors) {
        const std::optional<Found> place = find_layout(tensor.name);
        if (!place) continue;
        // Vision towers have the same layers but no tokens.
        const TensorView view(table, place->base);
        if (!view.has(place->layout->tokens)) continue;
        if (++looked_at > kTextEncodersMax) {
            notes.push_back(fmt::format("more than {} text encoders, the others were passed over",
                                        kTextEncodersMax));
            break;
        }
        std::optional<ClipTextConfig> config = read_clip(view, *place->layout, notes);
        if (!config) continue;
        std::string root = place->base;
        drop_suffix(root, "text_model.");
        drop_suffix(root, "transformer.");
        const TensorView beside(table, root);
        for (const std::string_view name :
             {"text_projection", "text_projection.weight", "transformer.text_projection.weight"})
            if (const int width = beside.axis(name, name == "text_projection" ? 1 : 0, 2);
                width > 0)
                config->projection = width;
        found.push_back({*std::move(config), sum_clip(table, root, place->base), root});
    }
    return found;
}

}  // namespace plimsoll::modelfile
