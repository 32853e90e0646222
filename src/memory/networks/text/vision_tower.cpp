// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/vision_tower.h"

#include <fmt/format.h>

#include <string>

namespace plimsoll::memory {

namespace {

// Writes down one module after the other, by its path under a root.
class Writer {
  public:
    Writer(Registry& registry, std::string root) : registry_(registry), root_(std::move(root)) {}

    void linear(std::string_view name, std::int64_t in, std::int64_t out, Bias bias = Bias::Yes) {
        registry_.add(path(name), "Linear", in * out + (bias == Bias::Yes ? out : 0));
    }
    void conv(std::string_view name, std::int64_t in, std::int64_t out, Bias bias) {
        registry_.add(path(name), "Conv3d", in * out + (bias == Bias::Yes ? out : 0));
    }
    void layer_norm(std::string_view name, std::int64_t width,
                    ModuleStorage storage = ModuleStorage::AsNetwork) {
        registry_.add(path(name), "LayerNorm", 2 * width, storage);
    }
    void rms_norm(std::string_view name, std::int64_t width) {
        registry_.add(path(name), "RMSNorm", width);
    }
    void embedding(std::string_view name, std::int64_t rows, std::int64_t width) {
        registry_.add(path(name), "Embedding", rows * width);
    }
    void frequencies(std::string_view name, std::int64_t count) {
        registry_.add_computed(path(name), "VisionRotaryEmbedding", count, ModuleStorage::Float32);
    }

  private:
    [[nodiscard]] Module path(std::string_view name) { return registry_.path(root_, name); }

    Registry& registry_;
    std::string root_;
};

constexpr std::int64_t kMerged = 4;  // 2 x 2 patches become one token

// Qwen2.5-VL (Bai et al. 2025): 14 x 14 x 2 patches, 32 blocks of 1280 with gated feed-forward.
void register_qwen25vl(Registry& registry, std::int64_t width) {
    constexpr std::int64_t kHidden = 1280;
    constexpr std::int64_t kIntermediate = 3420;
    constexpr int kDepth = 32;
    Writer w(registry, "transformer.visual");
    w.conv("patch_embed.proj", std::int64_t{3 * 2 * 14 * 14}, kHidden, Bias::No);
    for (int i = 0; i < kDepth; ++i) {
        const std::string block = fmt::format("blocks.{}.", i);
        w.rms_norm(block + "norm1", kHidden);
        w.rms_norm(block + "norm2", kHidden);
        w.linear(block + "attn.qkv", kHidden, 3 * kHidden);
        w.linear(block + "attn.proj", kHidden, kHidden);
        w.linear(block + "mlp.gate_proj", kHidden, kIntermediate);
        w.linear(block + "mlp.up_proj", kHidden, kIntermediate);
        w.linear(block + "mlp.down_proj", kIntermediate, kHidden);
    }
    w.rms_norm("merger.ln_q", kHidden);
    w.linear("merger.mlp.0", kMerged * kHidden, kMerged * kHidden);
    w.linear("merger.mlp.2", kMerged * kHidden, width);
}

struct VitWidths {
    std::int64_t hidden;
    std::int64_t intermediate;
    int depth;
};
constexpr VitWidths kVitLarge{1024, 4096, 24};
constexpr VitWidths kVitSo400m{1152, 4304, 27};  // SigLIP's shape-optimised one

// Qwen3-VL (Qwen team 2025): 16 x 16 x 2 patches, three more mergers for early layers' features.
void register_qwen3vl(Registry& registry, const VitWidths& vit, std::int64_t width) {
    constexpr std::int64_t kPositions = 2304;  // 48 x 48
    constexpr std::int64_t kHeads = 16;
    constexpr int kDeepMergers = 3;
    Writer w(registry, "transformer.visual");
    w.conv("patch_embed.proj", std::int64_t{3 * 2 * 16 * 16}, vit.hidden, Bias::Yes);
    w.embedding("pos_embed", kPositions, vit.hidden);
    w.frequencies("rotary_pos_emb", vit.hidden / kHeads / 4);
    for (int i = 0; i < vit.depth; ++i) {
        const std::string block = fmt::format("blocks.{}.", i);
        w.layer_norm(block + "norm1", vit.hidden);
        w.layer_norm(block + "norm2", vit.hidden);
        w.linear(block + "attn.qkv", vit.hidden, 3 * vit.hidden);
        w.linear(block + "attn.proj", vit.hidden, vit.hidden);
        w.linear(block + "mlp.linear_fc1", vit.hidden, vit.intermediate);
        w.linear(block + "mlp.linear_fc2", vit.intermediate, vit.hidden);
    }
    const std::int64_t merged = kMerged * vit.hidden;
    const auto merger = [&](const std::string& path, std::int64_t norm) {
        w.layer_norm(path + ".norm", norm);
        w.linear(path + ".linear_fc1", merged, merged);
        w.linear(path + ".linear_fc2", merged, width);
    };
    merger("merger", vit.hidden);
    for (int i = 0; i < kDeepMergers; ++i)
        merger(fmt::format("deepstack_merger_list.{}", i), merged);
}

// SigLIP (Zhai et al. 2023) at 896 pixels and Gemma 3's projector.
void register_siglip(Registry& registry, std::int64_t width) {
    constexpr VitWidths kVit = kVitSo400m;
    constexpr std::int64_t kPositions = 4096;  // 64 x 64 patches of 14 x 14
    Writer w(registry, "transformer");
    const std::string tower = "vision_model.";
    w.conv(tower + "embeddings.patch_embedding", std::int64_t{3 * 14 * 14}, kVit.hidden, Bias::Yes);
    w.embedding(tower + "embeddings.position_embedding", kPositions, kVit.hidden);
    for (int i = 0; i < kVit.depth; ++i) {
        const std::string layer = fmt::format("{}encoder.layers.{}.", tower, i);
        w.layer_norm(layer + "layer_norm1", kVit.hidden);
        for (const std::string_view name : {"q_proj", "k_proj", "v_proj", "out_proj"})
            w.linear(fmt::format("{}self_attn.{}", layer, name), kVit.hidden, kVit.hidden);
        w.layer_norm(layer + "layer_norm2", kVit.hidden);
        w.linear(layer + "mlp.fc1", kVit.hidden, kVit.intermediate);
        w.linear(layer + "mlp.fc2", kVit.intermediate, kVit.hidden);
    }
    // A plain PyTorch module, which keeps fp32.
    w.layer_norm(tower + "post_layernorm", kVit.hidden, ModuleStorage::Float32);
    w.linear("multi_modal_projector.mm_input_projection", kVit.hidden, width, Bias::No);
    w.rms_norm("multi_modal_projector.mm_soft_emb_norm", kVit.hidden);
}

}  // namespace

bool is_vision_tower(std::string_view kind) {
    return kind == "none" || kind == "qwen25vl" || kind == "qwen3vl_l" || kind == "qwen3vl_so" ||
           kind == "siglip";
}

void register_vision_tower(Registry& registry, std::string_view kind, std::int64_t width) {
    if (kind == "qwen25vl") register_qwen25vl(registry, width);
    if (kind == "qwen3vl_l") register_qwen3vl(registry, kVitLarge, width);
    if (kind == "qwen3vl_so") register_qwen3vl(registry, kVitSo400m, width);
    if (kind == "siglip") register_siglip(registry, width);
}

}  // namespace plimsoll::memory
