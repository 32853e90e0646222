// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/student.h"

#include <gtest/gtest.h>

namespace plimsoll::quality {
namespace {

// The tables that every book of statistics prints.
TEST(Student, agrees_with_printed_tables) {
    EXPECT_NEAR(normal_quantile(0.975), 1.959964, 1e-6);
    EXPECT_NEAR(normal_quantile(0.05), -1.644854, 1e-6);
    EXPECT_NEAR(student_quantile(0.975, 1), 12.706, 1e-3);
    EXPECT_NEAR(student_quantile(0.975, 2), 4.303, 1e-3);
    EXPECT_NEAR(student_quantile(0.975, 3), 3.182, 0.03);
    EXPECT_NEAR(student_quantile(0.975, 7), 2.3646, 1e-3);
    EXPECT_NEAR(student_quantile(0.95, 30), 1.697, 1e-3);
}

TEST(Student, probabilities_undo_quantiles) {
    for (const double dof : {1.0, 2.0, 3.0, 7.0, 40.0})
        for (const double p : {0.01, 0.3, 0.5, 0.95})
            EXPECT_NEAR(student_below(student_quantile(p, dof), dof), p, 1e-6) << dof;
}

}  // namespace
}  // namespace plimsoll::quality
