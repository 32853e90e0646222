// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace plimsoll {

void check_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr,
                 "plimsoll: broken promise: %s (%s:%d). This is a defect, please report it.\n",
                 condition, file, line);
    std::abort();
}

}  // namespace plimsoll
