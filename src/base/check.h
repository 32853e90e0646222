// SPDX-License-Identifier: Apache-2.0
//
// CHECK(condition): a promise inside the program, on in release. Never on input from outside.
#pragma once

namespace plimsoll {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition)) [[unlikely]]                                \
            ::plimsoll::check_failed(#condition, __FILE__, __LINE__); \
    } while (false)
