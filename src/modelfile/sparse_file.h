// SPDX-License-Identifier: Apache-2.0
//
// Model files without weights: a correct .safetensors header and a hole (ftruncate) where the
// weights would be, so that a 6.9 GB checkpoint takes no disk. For tests, the simulator's model
// folder and the demo. Also the means to put the table of such a file together from the tables of
// its parts.
//
// Enters through: TensorTable.   Leaves through: a file.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "modelfile/tensor_table.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

// The table's tensors in order, weights all zero. Fails with InvalidInput for types that
// safetensors lacks (GGUF blocks), Unavailable when the file cannot be written. An existing file is
// replaced.
[[nodiscard]] Result<void> write_sparse_safetensors(const std::filesystem::path& path,
                                                    const TensorTable& table);

// The header of that file alone: the 8-byte length and the JSON, padded with spaces to a multiple
// of 8.
[[nodiscard]] Result<std::string> encode_safetensors_header(const TensorTable& table);

// One part of a file and what stands in front of its tensors' names ("first_stage_model.").
struct TablePart {
    std::string prefix;
    const TensorTable* table = nullptr;
};
// The tensors of all parts under their prefixes, indexed. file_bytes is the size of the
// .safetensors file it would make.
[[nodiscard]] TensorTable join_tables(const std::vector<TablePart>& parts);

// Adds one tensor with its bytes by dtype and shape; call index() when done.
void add_tensor(TensorTable& table, std::string name, DType dtype, Shape shape);

// A listing `{"tensor": ["F16", [320, 4, 3, 3]], ...}`, as test data holds whole networks in little
// space.
[[nodiscard]] Result<TensorTable> parse_listing(std::string_view json_text);

}  // namespace plimsoll::modelfile
