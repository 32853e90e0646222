// SPDX-License-Identifier: Apache-2.0
//
// Quantiles and probabilities of the normal and of Student's distribution. Pure.
#pragma once

namespace plimsoll::quality {

[[nodiscard]] double normal_below(double z);     // P(Z < z)
[[nodiscard]] double normal_quantile(double p);  // 0 < p < 1
// Exact for 1 and 2 degrees of freedom, else by the expansion in 1 / dof (Abramowitz and Stegun
// 26.7.5), whose error at 3 degrees is below 1 %. `dof` >= 1, not necessarily whole.
[[nodiscard]] double student_quantile(double p, double dof);
[[nodiscard]] double student_below(double t, double dof);

}  // namespace plimsoll::quality
