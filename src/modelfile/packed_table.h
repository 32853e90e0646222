// SPDX-License-Identifier: Apache-2.0
//
// PackedTable: a file's tensors as stored, and what quantised ones hold. Formats that pack two
// values into a byte store half the columns; a network's numbers must be read from the whole ones.
// Private to this folder.
#pragma once
#include "modelfile/tensor_table.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

class PackedTable {
  public:
    // `stored` outlives it. Notes what cannot be unpacked: such a tensor has no shape then.
    PackedTable(const TensorTable& stored, std::vector<std::string>& notes);
    // A temporary would not live long enough.
    PackedTable(const TensorTable&&, std::vector<std::string>&) = delete;

    [[nodiscard]] const TensorTable& stored() const { return *stored_; }
    // The same tensors in the same order, with the shapes that their layers have.
    [[nodiscard]] const TensorTable& unpacked() const { return is_packed_ ? unpacked_ : *stored_; }

  private:
    const TensorTable* stored_;
    TensorTable unpacked_;
    bool is_packed_ = false;
};

// Is it no parameter of the network, but what a format or a tool puts beside: scales, marks,
// tokenizers, copies?
[[nodiscard]] bool is_beside_network(std::string_view name);

}  // namespace plimsoll::modelfile
