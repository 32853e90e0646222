// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae.h"

#include "base/check.h"

namespace plimsoll::memory {

Walk Vae::simulate_encode(const VaeCall& /*call*/) const {
    CHECK(encodes());  // then it has its own
    return {};
}

}  // namespace plimsoll::memory
