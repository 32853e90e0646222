// SPDX-License-Identifier: Apache-2.0
//
// The functions that an expression may call.
#pragma once
#include "workflow/expression.h"

#include <span>

namespace plimsoll::workflow {

// An argument that is empty is not known; so is the result then, but for `default`.
[[nodiscard]] std::optional<Scalar> call_function(std::string_view name,
                                                  std::span<const std::optional<Scalar>> arguments);

}  // namespace plimsoll::workflow
