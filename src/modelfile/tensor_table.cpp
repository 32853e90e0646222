// SPDX-License-Identifier: Apache-2.0
#include "modelfile/tensor_table.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace plimsoll::modelfile {
namespace {

// In order of DType. Plain types: bytes of one element. Block types: ggml's block structs
// (ggml-common.h, MIT).
constexpr std::array kTraits = {
    DTypeTraits{"fp64", 1, 8},       DTypeTraits{"fp32", 1, 4},
    DTypeTraits{"fp16", 1, 2},       DTypeTraits{"bf16", 1, 2},
    DTypeTraits{"fp8_e4m3", 1, 1},   DTypeTraits{"fp8_e5m2", 1, 1},
    DTypeTraits{"fp8_e8m0", 1, 1},   DTypeTraits{"int64", 1, 8},
    DTypeTraits{"int32", 1, 4},      DTypeTraits{"int16", 1, 2},
    DTypeTraits{"int8", 1, 1},       DTypeTraits{"uint8", 1, 1},
    DTypeTraits{"uint16", 1, 2},     DTypeTraits{"uint32", 1, 4},
    DTypeTraits{"uint64", 1, 8},     DTypeTraits{"bool", 1, 1},
    DTypeTraits{"q4_0", 32, 18},     DTypeTraits{"q4_1", 32, 20},
    DTypeTraits{"q5_0", 32, 22},     DTypeTraits{"q5_1", 32, 24},
    DTypeTraits{"q8_0", 32, 34},     DTypeTraits{"q8_1", 32, 36},
    DTypeTraits{"q2_k", 256, 84},    DTypeTraits{"q3_k", 256, 110},
    DTypeTraits{"q4_k", 256, 144},   DTypeTraits{"q5_k", 256, 176},
    DTypeTraits{"q6_k", 256, 210},   DTypeTraits{"q8_k", 256, 292},
    DTypeTraits{"iq2_xxs", 256, 66}, DTypeTraits{"iq2_xs", 256, 74},
    DTypeTraits{"iq3_xxs", 256, 98}, DTypeTraits{"iq1_s", 256, 50},
    DTypeTraits{"iq4_nl", 32, 18},   DTypeTraits{"iq3_s", 256, 110},
    DTypeTraits{"iq2_s", 256, 82},   DTypeTraits{"iq4_xs", 256, 136},
    DTypeTraits{"iq1_m", 256, 56},   DTypeTraits{"tq1_0", 256, 54},
    DTypeTraits{"tq2_0", 256, 66},   DTypeTraits{"mxfp4", 32, 17},
    DTypeTraits{"fp4_e2m1", 2, 1},   DTypeTraits{"complex64", 1, 8},
};
static_assert(kTraits.size() == static_cast<std::size_t>(DType::Complex64) + 1);

}  // namespace

const DTypeTraits& dtype_traits(DType dtype) {
    return kTraits.at(static_cast<std::size_t>(dtype));
}

Bytes storage_bytes(DType dtype, std::int64_t elements) {
    const DTypeTraits& traits = dtype_traits(dtype);
    const std::int64_t blocks =
        elements / traits.block_elements + (elements % traits.block_elements != 0 ? 1 : 0);
    return Bytes(blocks * traits.block_bytes);
}

std::int64_t element_count(const Shape& shape) {
    if (std::ranges::find(shape, 0) != shape.end()) return 0;
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

void TensorTable::index() {
    by_name_.resize(tensors.size());
    std::iota(by_name_.begin(), by_name_.end(), 0U);
    std::ranges::sort(by_name_, {}, [this](std::uint32_t at) {
        return std::pair(std::string_view(tensors[at].name), at);
    });
}

const TensorEntry* TensorTable::find(std::string_view name) const {
    CHECK(by_name_.size() == tensors.size());
    const auto at = std::ranges::lower_bound(
        by_name_, name, {},
        [this](std::uint32_t i) -> std::string_view { return tensors[i].name; });
    return at != by_name_.end() && tensors[*at].name == name ? &tensors[*at] : nullptr;
}

std::span<const std::uint32_t> TensorTable::with_prefix(std::string_view prefix) const {
    CHECK(by_name_.size() == tensors.size());
    const auto head = [&](std::uint32_t i) {
        return std::string_view(tensors[i].name).substr(0, prefix.size());
    };
    const auto range = std::ranges::equal_range(by_name_, prefix, {}, head);
    return {range.begin(), range.end()};
}

const TensorEntry* TensorTable::first_duplicate() const {
    CHECK(by_name_.size() == tensors.size());
    const auto twice = std::ranges::adjacent_find(
        by_name_, {}, [this](std::uint32_t at) -> std::string_view { return tensors[at].name; });
    return twice == by_name_.end() ? nullptr : &tensors[*twice];
}

}  // namespace plimsoll::modelfile
