// SPDX-License-Identifier: Apache-2.0
//
// What the few calls mean that torch.save writes into its pickles: tensors, parameters, storages,
// ordered dictionaries. Descriptions only, nothing is called. Private to this folder.
#pragma once
#include "base/error.h"
#include "modelfile/pickle.h"

#include <string_view>
#include <variant>

namespace plimsoll::modelfile {

// "module name" of a global that a model file may name without a remark.
[[nodiscard]] bool is_known_global(std::string_view global);

// The value that `callee(*arguments)` would have made, Opaque where it is none of ours. Fails with
// Corrupt when a tensor's arguments contradict each other (a view that reaches beyond its storage).
using Rebuilt = std::variant<ValueId, PickleValue>;  // a value that is there already, or a new one
[[nodiscard]] Result<Rebuilt> rebuild_call(const Pickle& pickle, ValueId callee, ValueId arguments);

// The storage that a persistent id ('storage', type, key, device, elements) names; Opaque for any
// other id.
[[nodiscard]] Result<PickleValue> rebuild_storage(const Pickle& pickle, ValueId id);

}  // namespace plimsoll::modelfile
