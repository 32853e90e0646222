// SPDX-License-Identifier: Apache-2.0
//
// Reads the tensor table of a torch.save() file (.ckpt, .pt, .pth, .bin) by scanning its pickle.
// Nothing is executed: the few constructors that make tensors are recognised, every other global or
// call becomes an opaque value and is noted. Weights are never read. Input is untrusted.
//
// Enters through: ByteSource.   Leaves through: TensorTable.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"
#include "modelfile/tensor_table.h"

namespace plimsoll::modelfile {

// Zip archives (torch >= 1.6, entries stored, zip64 too) and the older plain pickles. A
// "state_dict" inside a training checkpoint is entered and its name dropped. Fails with Corrupt,
// LimitExceeded, or InvalidInput for other archives.
[[nodiscard]] Result<TensorTable> read_torch_pickle(ByteSource& source);

}  // namespace plimsoll::modelfile
