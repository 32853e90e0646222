// SPDX-License-Identifier: Apache-2.0
#include "modelfile/detect_newer_language_models.h"

#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<T5GemmaConfig> read_t5gemma(const TensorView& base, Notes& notes) {
    constexpr int kHeadWidth = 64;  // published; no tensor shows it
    NumberReader read(base, "a T5Gemma text encoder");
    const auto first = [](std::string_view name) {
        return fmt::format("encoder.layers.0.{}.weight", name);
    };
    T5GemmaConfig c;
    c.vocab_size = read.length("encoder.embed_tokens.weight", 0, 2);
    c.hidden_size = read.length("encoder.embed_tokens.weight", 1, 2);
    c.intermediate_size = read.length(first("mlp.gate_proj"), 0, 2);
    c.num_hidden_layers = read.blocks("encoder.layers.{}.", "layers");
    c.head_dim = kHeadWidth;
    c.num_attention_heads =
        read.quotient(read.length(first("self_attn.q_proj"), 0, 2), kHeadWidth, "heads");
    c.num_key_value_heads =
        read.quotient(read.length(first("self_attn.k_proj"), 0, 2), kHeadWidth, "heads of keys");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// The small models are the only ones with an input of its own for each layer, and all of them scale
// what a layer makes.
bool is_gemma4(const TensorView& stem) {
    return stem.has("layers.0.per_layer_input_gate.weight") || stem.has("layers.0.layer_scalar");
}

namespace {
// The one of 12 billion, whose layers share nothing and whose far ones take keys for values.
void read_unified(NumberReader& read, const TensorView& stem, int far, Gemma4Config& c) {
    constexpr int kWindow = 1024;  // published; no tensor shows it
    const auto of_far = [&](std::string_view name) {
        return fmt::format("layers.{}.self_attn.{}.weight", far, name);
    };
    c.num_kv_shared_layers = 0;
    c.sliding_window = kWindow;
    c.attention_k_eq_v = !stem.has(of_far("v_proj"));
    c.unified = true;
    read.expect(c.attention_k_eq_v, "its far layers have values of their own");
    c.num_global_key_value_heads =
        read.quotient(read.length(of_far("k_proj"), 0, 2), c.global_head_dim, "heads of far keys");
}
}  // namespace

std::optional<Gemma4Config> read_gemma4(const TensorView& stem, Notes& notes) {
    NumberReader read(stem, "Gemma 4");
    const auto of_layer = [](int layer, std::string_view name) {
        return fmt::format("layers.{}.{}.weight", layer, name);
    };
    Gemma4Config c;
    c.vocab_size = read.length("embed_tokens.weight", 0, 2);
    c.hidden_size = read.length("embed_tokens.weight", 1, 2);
    c.num_hidden_layers = read.blocks("layers.{}.", "layers");
    c.intermediate_size = read.length(of_layer(0, "mlp.gate_proj"), 0, 2);
    c.head_dim = read.length(of_layer(0, "self_attn.q_norm"), 0, 1);
    c.num_attention_heads =
        read.quotient(read.length(of_layer(0, "self_attn.q_proj"), 0, 2), c.head_dim, "heads");
    c.num_key_value_heads = read.quotient(read.length(of_layer(0, "self_attn.k_proj"), 0, 2),
                                          c.head_dim, "heads of keys");
    c.hidden_size_per_layer_input = stem.axis(of_layer(0, "per_layer_input_gate"), 0, 2);
    int first_far = 0;  // its heads are wider
    while (first_far < c.num_hidden_layers &&
           stem.axis(of_layer(first_far, "self_attn.q_norm"), 0, 1) == c.head_dim)
        ++first_far;
    c.full_attention_every = first_far + 1;
    c.global_head_dim = read.length(of_layer(first_far, "self_attn.q_norm"), 0, 1);
    c.use_double_wide_mlp = stem.axis(of_layer(c.num_hidden_layers - 1, "mlp.gate_proj"), 0, 2) ==
                            std::int64_t{2} * c.intermediate_size;
    // Which layers share, no tensor shows: as published.
    constexpr int kE4bLayers = 42;
    constexpr int kE4bShared = 18;
    constexpr int kE2bLayers = 35;
    constexpr int kE2bShared = 20;
    if (c.hidden_size_per_layer_input == 0) {
        read_unified(read, stem, first_far, c);
    } else {
        read.expect(c.num_hidden_layers == kE4bLayers || c.num_hidden_layers == kE2bLayers,
                    "it is neither E2B nor E4B");
        c.num_kv_shared_layers = c.num_hidden_layers == kE4bLayers ? kE4bShared : kE2bShared;
    }
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

namespace {
// Its eye: width, width within, layers.
void read_eye(const TensorTable& table, const std::string& root, Qwen35Config& c) {
    c.vision_depth = 0;
    for (const std::string_view place : {"visual.", "model.visual."}) {
        const TensorView eye(table, root + std::string(place));
        const int depth = eye.count("blocks.{}.");
        if (depth == 0) continue;
        c.vision_depth = depth;
        c.vision_hidden_size = eye.axis("patch_embed.proj.weight", 0, 5);
        c.vision_intermediate_size = eye.axis("blocks.0.mlp.linear_fc1.weight", 0, 2);
    }
}
}  // namespace

std::optional<Qwen35Config> read_qwen35(const TensorTable& table, const std::string& stem,
                                        const std::string& root, Notes& notes) {
    const TensorView view(table, stem);
    NumberReader read(view, "Qwen 3.5");
    const std::string delta = "layers.0.linear_attn.";
    const std::string attention = "layers.3.self_attn.";  // of the first layer that attends
    Qwen35Config c;
    c.vocab_size = read.length("embed_tokens.weight", 0, 2);
    c.hidden_size = read.length("embed_tokens.weight", 1, 2);
    c.num_hidden_layers = read.blocks("layers.{}.", "layers");
    c.intermediate_size = read.length("layers.0.mlp.gate_proj.weight", 0, 2);
    c.head_dim = read.length(attention + "q_norm.weight", 0, 1);
    const int gated = read.quotient(read.length(attention + "q_proj.weight", 0, 2), c.head_dim,
                                    "heads and their gates");
    c.num_attention_heads = read.quotient(gated, 2, "heads");
    c.num_key_value_heads =
        read.quotient(read.length(attention + "k_proj.weight", 0, 2), c.head_dim, "heads of keys");
    c.linear_num_value_heads = read.length(delta + "A_log", 0, 1);
    c.linear_value_head_dim = c.linear_key_head_dim = read.length(delta + "norm.weight", 0, 1);
    const int channels = read.length(delta + "conv1d.weight", 0, 3);
    c.linear_conv_kernel_dim = read.length(delta + "conv1d.weight", 2, 3);
    const int values = read.length(delta + "in_proj_z.weight", 0, 2);
    read.expect(values < channels, "its convolution has no room for queries");
    const int pairs = read.quotient(channels - values, c.linear_key_head_dim, "heads of a state");
    c.linear_num_key_heads = read.quotient(pairs, 2, "pairs of heads");
    constexpr int kHeadWidth = 4096;  // from this width on it has a head beside its table
    c.lm_head = c.hidden_size >= kHeadWidth &&
                (table.find(root + "lm_head.weight") != nullptr || view.has("lm_head.weight"));
    read_eye(table, root, c);
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace plimsoll::modelfile
