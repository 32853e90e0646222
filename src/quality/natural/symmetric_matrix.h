// SPDX-License-Identifier: Apache-2.0
//
// The one piece of linear algebra that NIQE needs.
#pragma once
#include <span>
#include <vector>

namespace plimsoll::quality {

// v' M+ v for a symmetric, positive semidefinite M of n x n, n the size of v. M+ is the
// pseudo-inverse: directions in which M has next to nothing do not count.
[[nodiscard]] double inverse_form(std::vector<double> matrix, std::span<const double> vector);

}  // namespace plimsoll::quality
