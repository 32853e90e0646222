// SPDX-License-Identifier: Apache-2.0
#include "modelfile/outline.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {
namespace {

// Of a file that holds nonsense: products of two stay in range.
constexpr std::int64_t kSideMax = std::int64_t{1} << 24;
constexpr std::int64_t kDepthMax = 1000;  // chosen: no network is as deep

// A table with a row for each word, which is looked up; or what makes words of the last layer's
// output, which ComfyUI's text encoders do not run.
bool is_vocabulary(std::string_view name, const Shape& shape) {
    constexpr std::array<std::string_view, 6> kNames = {
        "shared.weight",  "embed_tokens.weight", "token_embedding.weight",
        "lm_head.weight", "wte.weight",          "token_embd.weight"};
    constexpr std::int64_t kWordsMin = 20'000;  // fewer than any vocabulary of words has
    if (shape.size() != 2) return false;
    if (std::ranges::any_of(kNames, [&](std::string_view end) { return name.ends_with(end); }))
        return true;
    return name.find("embed") != std::string_view::npos &&
           std::max(shape[0], shape[1]) >= kWordsMin;
}

bool reads_input(std::string_view name) {
    constexpr std::array<std::string_view, 7> kNames = {
        "img_in", "x_embed", "patch_embed", "patchify", "conv_in", "proj_in", "input_proj"};
    // Of the whole network, not of a block inside it.
    const auto dots = std::ranges::count(name, '.');
    constexpr int kDotsMax = 5;  // "model.diffusion_model.x_embedder.proj.1.weight"
    return dots <= kDotsMax && name.find("block") == std::string_view::npos &&
           name.find("layer") == std::string_view::npos &&
           std::ranges::any_of(kNames, [&](std::string_view part) {
               return name.find(part) != std::string_view::npos;
           });
}

// The numbers between dots: "blocks.12.attn.3." has 12 at "blocks." and 3 at "blocks.12.attn.".
void count_blocks(std::string_view name, std::map<std::string, std::int64_t, std::less<>>& counts) {
    for (std::size_t start = 0; start < name.size();) {
        const std::size_t end = std::min(name.find('.', start), name.size());
        std::int64_t number = -1;
        const auto [at, error] = std::from_chars(name.data() + start, name.data() + end, number);
        if (error == std::errc() && at == name.data() + end && number >= 0 && number < kDepthMax) {
            const std::string_view list = name.substr(0, start);
            auto found = counts.find(list);
            if (found == counts.end()) found = counts.emplace(std::string(list), 0).first;
            found->second = std::max(found->second, number + 1);
        }
        start = end + 1;
    }
}

}  // namespace

Outline outline_of(const TensorTable& table) {
    Outline outline;
    std::map<std::string, std::int64_t, std::less<>> counts;
    for (const TensorEntry& tensor : table.tensors) {
        const Shape& shape = tensor.shape;
        count_blocks(tensor.name, counts);
        if (shape.size() < 2 || is_vocabulary(tensor.name, shape)) continue;
        outline.largest_tensor = std::max(outline.largest_tensor, tensor.bytes);
        outline.largest_matrix = std::max(outline.largest_matrix, element_count(shape));
        const std::int64_t out = std::min(shape[0], kSideMax);
        const std::int64_t in = std::min(shape[1], kSideMax);
        const std::int64_t wide = std::max(out, in);
        if (wide > outline.widest) {
            outline.widest = wide;
            outline.stream = std::min(out, in);
        }
        if (!reads_input(tensor.name) || outline.readers.size() >= kReadersMax) continue;
        const std::int64_t kernel = shape.size() >= 4 ? std::min(shape.back(), kSideMax) : 1;
        outline.readers.push_back({.channels = in, .kernel = kernel});
    }
    for (const auto& [list, count] : counts) outline.depth = std::max(outline.depth, count);
    return outline;
}

}  // namespace plimsoll::modelfile
