// SPDX-License-Identifier: Apache-2.0
#include "modelfile/packed_table.h"

#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace plimsoll::modelfile {
namespace {

constexpr std::string_view kWeight = ".weight";

// Endings and marks of ComfyUI's quantised formats, of bitsandbytes and of tokenizers inside files.
constexpr std::array kBesideEndings = std::to_array<std::string_view>({
    ".scale_weight",      ".scale_input",
    "scaled_fp8",         ".weight_scale",
    ".weight_scale_2",    ".weight_scale_inv",
    ".input_scale",       ".pre_quant_scale",
    ".comfy_quant",       ".absmax",
    ".quant_map",         ".nested_absmax",
    ".nested_quant_map",  ".bitsandbytes__nf4",
    ".bitsandbytes__fp4",
    "logit_scale",  // of CLIP's training; ComfyUI's wrappers of text encoders have their own
    "spiece_model",       "tekken_model",
    "tokenizer_json",     "__index_timestep_zero__",
    ".position_ids",      ".rotary_emb.inv_freq",
});
// Tables that Cosmos-Predict2's files hold and the network computes, and counters of its training.
constexpr std::array kBesideComponents =
    std::to_array<std::string_view>({"pos_embedder.dim_", "pos_embedder.seq", "accum_"});

enum class Packing : std::uint8_t { None, TwoInByte, Unknown };

Packing packing_of(const TensorTable& table, const TensorEntry& tensor) {
    if (!tensor.name.ends_with(kWeight)) return Packing::None;
    const bool is_byte = tensor.dtype == DType::UInt8 || tensor.dtype == DType::Int8;
    if (!is_byte) return Packing::None;
    // bitsandbytes stores a column of bytes; the shape stands in the data of another tensor.
    if (table.find(tensor.name + ".absmax") != nullptr) return Packing::Unknown;
    const bool has_scale = table.find(tensor.name + "_scale") != nullptr;
    if (!has_scale) return Packing::None;
    if (tensor.shape.size() != 2) return Packing::Unknown;
    // nvfp4: two values in a byte, a scale for each 16 and one for all.
    if (tensor.dtype == DType::UInt8)
        return table.find(tensor.name + "_scale_2") != nullptr ? Packing::TwoInByte
                                                               : Packing::Unknown;
    return Packing::None;  // int8, one value in a byte
}

}  // namespace

PackedTable::PackedTable(const TensorTable& stored, std::vector<std::string>& notes)
    : stored_(&stored) {
    std::size_t unknown = 0;
    std::string first_unknown;
    for (std::size_t i = 0; i < stored.tensors.size(); ++i) {
        const TensorEntry& tensor = stored.tensors[i];
        const Packing packing = packing_of(stored, tensor);
        if (packing == Packing::None) continue;
        if (!is_packed_) unpacked_ = stored;
        is_packed_ = true;
        TensorEntry& whole = unpacked_.tensors[i];
        if (packing == Packing::TwoInByte && whole.shape.back() <= kTensorElementsMax / 2) {
            whole.shape.back() *= 2;
            whole.dtype = DType::Float4E2M1;
            continue;
        }
        if (unknown++ == 0) first_unknown = tensor.name;
        whole.shape.clear();
    }
    if (unknown > 0)
        notes.push_back(
            fmt::format("{} weights are packed in a way that does not tell their shapes, {} first",
                        unknown, shown_name(first_unknown)));
}

bool is_beside_network(std::string_view name) {
    const auto starts_component = [&](std::string_view start) {
        const std::size_t at = name.find(start);
        return at != std::string_view::npos && (at == 0 || name[at - 1] == '.');
    };
    return std::ranges::any_of(kBesideEndings,
                               [&](std::string_view end) { return name.ends_with(end); }) ||
           std::ranges::any_of(kBesideComponents, starts_component);
}

}  // namespace plimsoll::modelfile
