// SPDX-License-Identifier: Apache-2.0
//
// Says what a model file holds: networks, their numbers, their weights. Judged by tensor names and
// shapes alone, never by the name of the file, in the order in which ComfyUI judges.
//
// Enters through: TensorTable.   Leaves through: Contents.   Threads: no shared state.
#pragma once
#include "modelfile/network_config.h"
#include "modelfile/tensor_table.h"

#include <string_view>

namespace plimsoll::modelfile {

// Never fails: what is not recognised, or contradicts itself, is told in `notes` with the exact
// weights in `everything`. `table` must be indexed.
[[nodiscard]] Contents detect_contents(const TensorTable& table);

// Params, bytes and commonest dtype of all tensors whose names start with `prefix`.
[[nodiscard]] PartWeights sum_weights(const TensorTable& table, std::string_view prefix);

}  // namespace plimsoll::modelfile
