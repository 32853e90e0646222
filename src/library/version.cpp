// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/version.h>

namespace plimsoll {

std::string_view library_version() {
    return PLIMSOLL_VERSION;
}

}  // namespace plimsoll
