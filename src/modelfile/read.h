// SPDX-License-Identifier: Apache-2.0
//
// The door of this folder: any model file into a TensorTable. The format is told by the first
// bytes, never by the name.
//
// Enters through: ByteSource.   Leaves through: TensorTable.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"
#include "modelfile/tensor_table.h"

#include <filesystem>

namespace plimsoll::modelfile {

// safetensors, GGUF, or a torch archive (.ckpt, .pt, .pth, .bin). Errors name the file.
[[nodiscard]] Result<TensorTable> read_model_file(const std::filesystem::path& path);
[[nodiscard]] Result<TensorTable> read_model(ByteSource& source);

}  // namespace plimsoll::modelfile
