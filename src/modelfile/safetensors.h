// SPDX-License-Identifier: Apache-2.0
//
// Reads the header of a .safetensors file: the 8-byte length and the JSON that follows. Weights are
// never read, so the cost does not grow with the model. Input is untrusted; what the reference
// implementation refuses is refused here too.
//
// Enters through: ByteSource.   Leaves through: TensorTable.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"
#include "modelfile/tensor_table.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::modelfile {

inline constexpr std::uint64_t kHeaderBytesMax =
    100'000'000;  // the reference implementation's ceiling

// Fails with Corrupt when the bytes cannot be a header, LimitExceeded when they claim too much.
[[nodiscard]] Result<TensorTable> read_safetensors(ByteSource& source);

// The dtype's name in the format ("F16"), nullopt for GGUF block types; and back.
[[nodiscard]] std::optional<std::string_view> safetensors_dtype_name(DType dtype);
[[nodiscard]] std::optional<DType> parse_safetensors_dtype(std::string_view name);

}  // namespace plimsoll::modelfile
