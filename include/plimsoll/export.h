// SPDX-License-Identifier: Apache-2.0
//
// What the shared library shows of itself. Everything else is hidden.
#pragma once

#if defined(_WIN32)
#define PLIMSOLL_EXPORT
#else
#define PLIMSOLL_EXPORT __attribute__((visibility("default")))
#endif
