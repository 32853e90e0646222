// SPDX-License-Identifier: Apache-2.0
//
// CLIP text encoders wherever they stand in a file: the Hugging Face layout (CLIP-L, and all
// standalone files) and the OpenCLIP layout (H in SD 2.x, G in SDXL).
#include "modelfile/detect_parts.h"

#include <utility>

#include "modelfile/detect.h"

namespace plimsoll::modelfile {
namespace {

constexpr int kHeadWidth =
    64;  // CLIP-L, OpenCLIP-H and OpenCLIP-G alike (their published configurations)

struct KnownClip {
    std::string_view name;
    int layers;
    int hidden;
    ClipActivation activation;
};
// SD 2.x checkpoints carry OpenCLIP-H with 24 layers or, converted, with the unused last one cut
// off.
constexpr KnownClip kKnownClips[] = {
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
        notes.push_back(fmt::format("text encoder below \"{}\" contradicts itself or is incomplete",
                                    base.prefix()));
        return std::nullopt;
    }
    config.heads = config.hidden / kHeadWidth;
    config.projection = config.hidden;
    for (const KnownClip& known : kKnownClips) {
        if (known.layers != config.layers || known.hidden != config.hidden) continue;
        config.name = known.name;
        config.activation = known.activation;
        return config;
    }
    notes.push_back(
        fmt::format("text encoder below \"{}\" with {} layers of width {} is none that is known",
                    base.prefix(), config.layers, config.hidden));
    return std::nullopt;
}

void drop_suffix(std::string& text, std::string_view suffix) {
    if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
}

// Weights of the encoder at `base` and of its projection, which the layouts keep beside it at
// `root`.
PartWeights sum_clip(const TensorTable& table, const std::string& root, const std::string& base) {
    TensorTable own;
    for (const std::uint32_t at : table.with_prefix(root)) {
        const TensorEntry& tensor = table.tensors[at];
        const std::string_view rest = std::string_view(tensor.name).substr(root.size());
        const bool is_beside = rest == "text_projection" || rest == "text_projection.weight" ||
                               rest == "logit_scale" ||
                               rest == "transformer.text_projection.weight";
        const bool is_vision = rest.starts_with("visual.") || rest.starts_with("vision_model.");
        if (is_beside || (tensor.name.starts_with(base) && !is_vision))
            own.tensors.push_back(tensor);
    }
    own.index();
    return sum_weights(own, "");
}

}  // namespace

std::vector<Part<ClipTextConfig>> detect_text_encoders(const TensorTable& table, Notes& notes) {
    constexpr ClipLayout kHuggingFace = {"encoder.layers.0.mlp.fc1.weight", "encoder.layers.{}.",
                                         "embeddings.token_embedding.weight",
                                         "embeddings.position_embedding.weight"};
    constexpr ClipLayout kOpenClip = {"transformer.resblocks.0.mlp.c_fc.weight",
                                      "transformer.resblocks.{}.", "token_embedding.weight",
                                      "positional_embedding"};
    std::vector<Part<ClipTextConfig>> found;
    for (const TensorEntry& tensor : table.tensors) {
        for (const ClipLayout& layout : {kHuggingFace, kOpenClip}) {
            if (!tensor.name.ends_with(layout.first_mlp)) continue;
            std::string base = tensor.name;
            drop_suffix(base, layout.first_mlp);
            // Vision towers have the same layers but no tokens.
            const TensorView view(table, base);
            if (!view.has(layout.tokens)) continue;
            std::optional<ClipTextConfig> config = read_clip(view, layout, notes);
            if (!config) continue;
            std::string root = base;
            drop_suffix(root, "text_model.");
            drop_suffix(root, "transformer.");
            const TensorView beside(table, root);
            for (const std::string_view name : {"text_projection", "text_projection.weight",
                                                "transformer.text_projection.weight"})
                if (const int width = beside.axis(name, name == "text_projection" ? 1 : 0, 2);
                    width > 0)
                    config->projection = width;
            found.push_back({*std::move(config), sum_clip(table, root, base), root});
        }
    }
    return found;
}

}  // namespace plimsoll::modelfile
