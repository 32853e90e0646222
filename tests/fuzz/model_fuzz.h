// SPDX-License-Identifier: Apache-2.0
//
// What must hold for any table that a model reader lets through.
#pragma once
#include "base/check.h"
#include "modelfile/detect.h"
#include "modelfile/tensor_table.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace plimsoll::modelfile {

inline void check_table(const Result<TensorTable>& table) {
    if (!table) {
        CHECK(!table.error().message.empty());
        return;
    }
    std::int64_t elements = 0;
    for (const TensorEntry& tensor : table->tensors) {
        CHECK(table->find(tensor.name) == &tensor);
        CHECK(storage_bytes(tensor.dtype, element_count(tensor.shape)) == tensor.bytes);
        elements += element_count(tensor.shape);
    }
    const Contents contents = detect_contents(*table);
    CHECK(contents.everything.params == elements);
}

inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
    return std::as_bytes(std::span(data, size));
}

}  // namespace plimsoll::modelfile
