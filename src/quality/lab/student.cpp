// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/student.h"

#include <cmath>
#include <numbers>

namespace plimsoll::quality {
namespace {

// The increasing `function`'s argument at which it is `p`, between -reach and reach.
template <class Function>
double invert(Function function, double p, double reach) {
    double low = -reach;
    double high = reach;
    for (int i = 0; i < 80; ++i) {  // to the last bit
        const double middle = (low + high) / 2;
        (function(middle) < p ? low : high) = middle;
    }
    return (low + high) / 2;
}

}  // namespace

double normal_below(double z) {
    return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_quantile(double p) {
    return invert(normal_below, p, 40);
}

double student_quantile(double p, double dof) {
    if (dof < 1.5) return std::tan(std::numbers::pi * (p - 0.5));
    if (dof < 2.5) return (2 * p - 1) * std::sqrt(1 / (2 * p * (1 - p)));
    const double z = normal_quantile(p);
    const double z2 = z * z;
    const double first = z * (z2 + 1) / 4;
    const double second = z * ((5 * z2 + 16) * z2 + 3) / 96;
    const double third = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
    return z + (first + (second + third / dof) / dof) / dof;
}

double student_below(double t, double dof) {
    if (dof < 1.5) return 0.5 + std::atan(t) / std::numbers::pi;
    if (dof < 2.5) return 0.5 + t / (2 * std::sqrt(2 + t * t));
    // The quantile inverted, so that both agree.
    return normal_below(
        invert([dof](double z) { return student_quantile(normal_below(z), dof); }, t, 8));
}

}  // namespace plimsoll::quality
