// SPDX-License-Identifier: Apache-2.0
//
// Text encoders other than CLIP: the T5 family and decoder-only language models, wherever they
// stand in a file. What ComfyUI builds counts, not all that a file brings: an eye that its class
// does not have is passed over.
#include "modelfile/detect_newer_language_models.h"
#include "modelfile/detect_numbers.h"

#include <array>

namespace plimsoll::modelfile {
namespace {

constexpr std::string_view kFirstT5 = "encoder.block.0.layer.0.SelfAttention.k.weight";
constexpr std::string_view kFirstT5Gemma = "encoder.layers.0.pre_self_attn_layernorm.weight";
constexpr std::string_view kFirstDelta = "layers.0.linear_attn.in_proj_qkv.weight";
constexpr std::string_view kFirstLayer = "layers.0.self_attn.k_proj.weight";
constexpr std::size_t kEncodersMax = 8;  // chosen: no file has more than four

void drop_suffix(std::string& text, std::string_view suffix) {
    if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
}

// Does `text` end with the whole components of `suffix`?
bool ends_with_component(std::string_view text, std::string_view suffix) {
    if (!text.ends_with(suffix)) return false;
    return text.size() == suffix.size() || text[text.size() - suffix.size() - 1] == '.';
}

std::optional<T5Config> read_t5(const TensorView& base, Notes& notes) {
    NumberReader read(base, "a T5 text encoder");
    const std::string_view table =
        base.has("shared.weight") ? "shared.weight" : "encoder.embed_tokens.weight";
    const auto first = [](std::string_view name) {
        return fmt::format("encoder.block.0.layer.{}.weight", name);
    };
    T5Config c;
    c.vocab_size = read.length(table, 0, 2);
    c.d_model = read.length(table, 1, 2);
    c.num_layers = read.blocks("encoder.block.{}.", "blocks");
    const std::string positions = first("0.SelfAttention.relative_attention_bias");
    c.relative_attention_num_buckets = read.length(positions, 0, 2);
    c.num_heads = read.length(positions, 1, 2);
    c.d_kv = read.quotient(read.length(first("0.SelfAttention.q"), 0, 2), c.num_heads, "heads");
    c.gated = !base.has("encoder.block.0.layer.1.DenseReluDense.wi.weight");
    c.d_ff = read.length(first(c.gated ? "1.DenseReluDense.wi_0" : "1.DenseReluDense.wi"), 0, 2);
    c.bias_in_every_layer =
        base.has("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight");
    // Some of ComfyUI's classes mask the padding; no tensor shows it.
    constexpr int kByT5Width = 1472;
    constexpr int kBaseWidth = 768;  // of T5 base and UMT5 base
    c.masked = c.bias_in_every_layer || c.d_model == kByT5Width || c.d_model == kBaseWidth;
    c.zero_out_masked = c.masked && !(c.bias_in_every_layer && c.d_model == kBaseWidth);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Where the parts of a language model stand. Newer exports put the model beside its eye, below
// another name.
struct DecoderPlace {
    std::string stem;  // before "layers.0."
    std::string root;  // before "model."
};

std::optional<DecoderPlace> decoder_place(std::string_view name) {
    if (!name.ends_with(kFirstLayer)) return std::nullopt;
    DecoderPlace place{std::string(name.substr(0, name.size() - kFirstLayer.size())), {}};
    if (!ends_with_component(place.stem, "model.") &&
        !ends_with_component(place.stem, "language_model."))
        return std::nullopt;
    place.root = place.stem;
    drop_suffix(place.root, "language_model.");
    drop_suffix(place.root, "model.");
    return place;
}

constexpr int kQwen25Width = 3584;     // of Qwen 2.5 7B, whose class has an eye
constexpr int kGemma3Width = 3840;     // of Gemma 3 12B, whose class has one too
constexpr int kQwen3HeadWidth = 4096;  // of Qwen 3 8B, the only one whose output head is loaded

// The eye that ComfyUI's class has; nullopt where the file's is of an unknown kind.
std::optional<std::string> vision_of(const DecoderConfig& c, const TensorTable& table,
                                     const std::string& root) {
    if (c.transformer_type == "gemma3") return c.hidden_size == kGemma3Width ? "siglip" : "none";
    if (c.qkv_bias) return c.hidden_size == kQwen25Width ? "qwen25vl" : "none";
    if (!c.q_norm) return "none";
    for (const std::string_view more : {"visual.", "model.visual."}) {
        const TensorView eye(table, root + std::string(more));
        if (!eye.has_any("")) continue;
        constexpr int kLarge = 1024;
        constexpr int kSo400m = 1152;
        const int width = eye.axis("patch_embed.proj.weight", 0, 5);
        if (width == kLarge) return "qwen3vl_l";
        if (width == kSo400m) return "qwen3vl_so";
        return std::nullopt;
    }
    return "none";
}

std::optional<DecoderConfig> read_decoder(const TensorTable& table, const DecoderPlace& place,
                                          Notes& notes) {
    const TensorView stem(table, place.stem);
    NumberReader read(stem, "a language model");
    DecoderConfig c;
    c.vocab_size = read.length("embed_tokens.weight", 0, 2);
    c.hidden_size = read.length("embed_tokens.weight", 1, 2);
    c.intermediate_size = read.length("layers.0.mlp.gate_proj.weight", 0, 2);
    c.num_hidden_layers = read.blocks("layers.{}.", "layers");
    c.q_norm = stem.has("layers.0.self_attn.q_norm.weight");
    c.qkv_bias = stem.has("layers.0.self_attn.q_proj.bias");
    const bool is_gemma = stem.has("layers.0.pre_feedforward_layernorm.weight");
    if (is_gemma) c.transformer_type = c.q_norm ? "gemma3" : "gemma2";
    // Without norms of heads no tensor shows their width: as published.
    constexpr int kGemma2Head = 256;
    constexpr int kLlamaHead = 128;
    c.head_dim = is_gemma ? kGemma2Head : kLlamaHead;
    if (c.q_norm) c.head_dim = read.length("layers.0.self_attn.q_norm.weight", 0, 1);
    c.num_attention_heads =
        read.quotient(read.length("layers.0.self_attn.q_proj.weight", 0, 2), c.head_dim, "heads");
    c.num_key_value_heads = read.quotient(read.length("layers.0.self_attn.k_proj.weight", 0, 2),
                                          c.head_dim, "heads of keys");
    c.final_norm = stem.has("norm.weight");
    c.lm_head =
        c.q_norm && c.hidden_size == kQwen3HeadWidth &&
        (stem.has("lm_head.weight") || table.find(place.root + "lm_head.weight") != nullptr);
    const std::optional<std::string> vision = vision_of(c, table, place.root);
    read.expect(vision.has_value(), "its eye is none that is known");
    if (!read.sound(notes)) return std::nullopt;
    c.vision = *vision;
    return c;
}

// Of what stands below `root`, what ComfyUI's class of this model loads.
bool is_loaded(const DecoderConfig& c, std::string_view rest) {
    if (rest == "lm_head.weight" || rest.ends_with(".lm_head.weight")) return c.lm_head;
    const bool is_eye = rest.starts_with("visual.") || rest.starts_with("model.visual.") ||
                        rest.starts_with("vision_model.") || rest.starts_with("vision_tower.") ||
                        rest.starts_with("multi_modal_projector.");
    return !is_eye || c.vision != "none";
}
bool is_loaded(const T5Config&, std::string_view rest) {
    return rest.starts_with("encoder.block.") || rest.starts_with("encoder.final_layer_norm.") ||
           rest == "shared.weight" || rest == "encoder.embed_tokens.weight";
}

bool is_loaded(const Qwen35Config& c, std::string_view rest) {
    if (rest == "lm_head.weight" || rest.ends_with(".lm_head.weight")) return c.lm_head;
    return !rest.starts_with("mtp.");  // guesses several words at once, which ComfyUI does not
}
bool is_loaded(const Gemma4Config&, std::string_view rest) {
    return rest != "lm_head.weight" && !rest.ends_with(".lm_head.weight");
}
bool is_loaded(const T5GemmaConfig&, std::string_view rest) {
    return rest.starts_with("encoder.");
}

// All weights below `root`, and the mark and the scale that wrappers keep beside a "transformer.".
template <class Config>
PartWeights sum_encoder(const PackedTable& table, const std::string& root, const Config& config) {
    const TensorTable& stored = table.stored();
    std::string wrapper = root;
    drop_suffix(wrapper, "transformer.");
    WeightSum sum;
    for (const std::uint32_t at : stored.with_prefix(wrapper)) {
        const TensorEntry& tensor = stored.tensors[at];
        const std::string_view name = tensor.name;
        if (name.starts_with(root)) {
            const std::string_view rest = name.substr(root.size());
            const bool is_copy = rest == "encoder.embed_tokens.weight" &&
                                 stored.find(root + "shared.weight") != nullptr;
            if (!is_loaded(config, rest) && !is_beside_network(rest)) continue;
            sum.add(tensor, table.unpacked().tensors[at],
                    is_copy ? Counts::No : Counts::AsParameter);
        } else if (name.substr(wrapper.size()) == "logit_scale" ||
                   name.substr(wrapper.size()) == "scaled_fp8") {
            sum.add(tensor);
        }
    }
    return sum.total();
}

}  // namespace

std::vector<Part<TextEncoderConfig>> detect_language_models(const PackedTable& table,
                                                            std::optional<std::string_view> outside,
                                                            Notes& notes) {
    const TensorTable& unpacked = table.unpacked();
    std::vector<Part<TextEncoderConfig>> found;
    std::size_t looked_at = 0;
    for (const TensorEntry& tensor : unpacked.tensors) {
        const std::string_view name = tensor.name;
        const std::optional<DecoderPlace> place = decoder_place(name);
        const bool t5gemma = ends_with_component(name, kFirstT5Gemma);
        const bool qwen35 = ends_with_component(name, kFirstDelta);
        if (!place && !t5gemma && !qwen35 && !ends_with_component(name, kFirstT5)) continue;
        if (outside && name.starts_with(*outside)) continue;
        if (++looked_at > kEncodersMax) {
            notes.push_back(fmt::format("more than {} language models, the others were passed over",
                                        kEncodersMax));
            break;
        }
        if (place && is_gemma4(TensorView(unpacked, place->stem))) {
            if (auto config = read_gemma4(TensorView(unpacked, place->stem), notes))
                found.push_back({*config, sum_encoder(table, place->root, *config), place->root});
            continue;
        }
        if (place) {
            if (auto config = read_decoder(unpacked, *place, notes)) {
                PartWeights weights = sum_encoder(table, place->root, *config);
                found.push_back({*std::move(config), weights, place->root});
            }
            continue;
        }
        if (qwen35) {
            const std::string stem(name.substr(0, name.size() - kFirstDelta.size()));
            std::string root = stem;
            drop_suffix(root, "language_model.");
            drop_suffix(root, "model.");
            if (auto config = read_qwen35(unpacked, stem, root, notes))
                found.push_back({*config, sum_encoder(table, root, *config), root});
            continue;
        }
        if (t5gemma) {
            const std::string root(name.substr(0, name.size() - kFirstT5Gemma.size()));
            if (auto config = read_t5gemma(TensorView(unpacked, root), notes))
                found.push_back({*config, sum_encoder(table, root, *config), root});
            continue;
        }
        const std::string root(name.substr(0, name.size() - kFirstT5.size()));
        if (auto config = read_t5(TensorView(unpacked, root), notes)) {
            const PartWeights weights = sum_encoder(table, root, *config);
            config->scaled_fp8 = weights.scaled_fp8;
            found.push_back({*config, weights, root});
        }
    }
    return found;
}

}  // namespace plimsoll::modelfile
