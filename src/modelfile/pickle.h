// SPDX-License-Identifier: Apache-2.0
//
// Scans a Python pickle (protocols 0 to 5) without executing it. What torch.save writes for tensors
// is recognised; any other global or call becomes an opaque value and its name is noted. Values
// live in one arena and refer to each other by index, so that cycles and deep nesting cost nothing.
// Input is untrusted. Private to this folder.
#pragma once
#include "base/error.h"
#include "modelfile/byte_reader.h"
#include "modelfile/tensor_table.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::modelfile {

inline constexpr std::size_t kPickleValuesMax =
    2'000'000;  // chosen: SDXL's checkpoint has about 70,000
inline constexpr std::uint64_t kPickleBytesMax = 64ULL << 20U;  // chosen: SDXL's is half a megabyte

using ValueId = std::uint32_t;

struct PickleValue {
    enum class Kind : std::uint8_t {
        None,
        Bool,
        Integer,
        Real,
        Text,
        Bytes,
        Tuple,
        List,
        Dict,
        Global,
        Storage,
        Tensor,
        Opaque
    };

    explicit PickleValue(Kind of_kind, std::int64_t its_number = 0)
        : kind(of_kind), number(its_number) {}
    PickleValue(Kind of_kind, std::string its_text) : kind(of_kind), text(std::move(its_text)) {}
    PickleValue(Kind of_kind, std::vector<ValueId> its_items)
        : kind(of_kind), items(std::move(its_items)) {}

    Kind kind;
    DType dtype = DType::UInt8;  // Storage, Tensor
    std::int64_t number = 0;     // Bool, Integer; Storage: its elements
    std::string text;            // Text, Bytes; Global: "module name"; Storage: its key
    std::vector<ValueId> items;  // Tuple, List; Dict: key, value, key, value...
    Shape shape;                 // Tensor
};

struct Pickle {
    std::vector<PickleValue> values;
    ValueId top = 0;
    std::set<std::string> foreign_globals;  // named but not recognised, at most a few

    [[nodiscard]] const PickleValue& at(ValueId id) const { return values[id]; }
};

// Scans one pickle and leaves the reader behind its STOP. Fails with Corrupt or LimitExceeded.
[[nodiscard]] Result<Pickle> scan_pickle(ByteReader& reader);

}  // namespace plimsoll::modelfile
