// SPDX-License-Identifier: Apache-2.0
//
// TensorView: the tensors of a table below one prefix, with the questions that detection asks.
// Private to this folder.
#pragma once
#include "modelfile/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {

class TensorView {
  public:
    TensorView(const TensorTable& table, std::string prefix)
        : table_(&table), prefix_(std::move(prefix)) {}

    [[nodiscard]] const std::string& prefix() const { return prefix_; }
    [[nodiscard]] TensorView below(std::string_view more) const {
        return {*table_, prefix_ + std::string(more)};
    }

    [[nodiscard]] const TensorEntry* find(std::string_view name) const {
        return table_->find(prefix_ + std::string(name));
    }
    [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
    // Is there any tensor whose name continues so?
    [[nodiscard]] bool has_any(std::string_view start) const {
        return !table_->with_prefix(prefix_ + std::string(start)).empty();
    }
    // How often `pattern.format(0)`, `(1)`, ... is the start of a name, without a hole.
    [[nodiscard]] int count(fmt::format_string<int&> pattern) const {
        int n = 0;
        while (has_any(fmt::format(pattern, n))) ++n;
        return n;
    }
    // Length of an axis of a tensor with exactly `rank` axes; 0 where there is no such tensor or
    // the length is no sane int.
    [[nodiscard]] int axis(std::string_view name, std::size_t at, std::size_t rank) const {
        const TensorEntry* tensor = find(name);
        if (tensor == nullptr || tensor->shape.size() != rank || at >= rank) return 0;
        return sane(tensor->shape[at]);
    }
    // The same for a weight that may be a Linear or a convolution (2 to 5 axes).
    [[nodiscard]] int axis(std::string_view name, std::size_t at) const {
        const TensorEntry* tensor = find(name);
        if (tensor == nullptr || at >= tensor->shape.size()) return 0;
        return sane(tensor->shape[at]);
    }
    [[nodiscard]] std::size_t rank(std::string_view name) const {
        const TensorEntry* tensor = find(name);
        return tensor == nullptr ? 0 : tensor->shape.size();
    }

  private:
    // Chosen: no channel count, width or vocabulary of a real network comes near; keeps later
    // products in range.
    static constexpr std::int64_t kAxisMax = 1 << 24;
    static int sane(std::int64_t length) {
        return length > kAxisMax ? 0 : static_cast<int>(length);
    }

    const TensorTable* table_;
    std::string prefix_;
};

}  // namespace plimsoll::modelfile
