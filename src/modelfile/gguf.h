// SPDX-License-Identifier: Apache-2.0
//
// Reads the header of a GGUF file (versions 2 and 3): key values and tensor infos. Weights are
// never read. Input is untrusted.
//
// Enters through: ByteSource.   Leaves through: TensorTable.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"
#include "modelfile/tensor_table.h"

namespace plimsoll::modelfile {

// Fails with Corrupt when the bytes cannot be a header, LimitExceeded when they claim too much.
// Shapes come out outermost first; where ComfyUI-GGUF stored an original shape
// ("comfy.gguf.orig_shape.NAME"), that one.
[[nodiscard]] Result<TensorTable> read_gguf(ByteSource& source);

}  // namespace plimsoll::modelfile
