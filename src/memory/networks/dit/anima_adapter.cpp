// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/anima_adapter.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kWidth = 1024;
constexpr std::int64_t kMlp = 4 * kWidth;
constexpr std::int64_t kVocabulary = 32'128;  // T5's
constexpr std::int64_t kHeadDim = 64;
constexpr int kBlocks = 6;

void add_attention(Registry& r, std::string_view path) {
    const auto linear = [&](std::string_view name) {
        r.add(r.path(path, name), "Linear", kWidth * kWidth);
    };
    const auto norm = [&](std::string_view name) {
        r.add(r.path(path, name), "RMSNorm", kHeadDim);
    };
    linear("q_proj");
    norm("q_norm");
    linear("k_proj");
    norm("k_norm");
    linear("v_proj");
    linear("o_proj");
}

void add_block(Registry& r, std::string_view path) {
    r.add(r.path(path, "norm_self_attn"), "RMSNorm", kWidth);
    add_attention(r, *r.path(path, "self_attn"));
    r.add(r.path(path, "norm_cross_attn"), "RMSNorm", kWidth);
    add_attention(r, *r.path(path, "cross_attn"));
    r.add(r.path(path, "norm_mlp"), "RMSNorm", kWidth);
    r.add(r.path(path, "mlp.0"), "Linear", kWidth * kMlp + kMlp);
    r.add(r.path(path, "mlp.2"), "Linear", kMlp * kWidth + kWidth);
}

}  // namespace

void add_anima_adapter(Registry& r, std::string_view path) {
    r.add(r.path(path, "embed"), "Embedding", kVocabulary * kWidth);
    r.add_buffer(r.path(path, "rotary_emb"), "RotaryEmbedding", kHeadDim / 2,
                 ModuleStorage::Float32, Saved::No);
    for (int i = 0; i < kBlocks; ++i) add_block(r, *r.path(path, fmt::format("blocks.{}", i)));
    r.add(r.path(path, "out_proj"), "Linear", kWidth * kWidth + kWidth);
    r.add(r.path(path, "norm"), "RMSNorm", kWidth);
}

}  // namespace plimsoll::memory
