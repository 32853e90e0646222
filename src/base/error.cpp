// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

namespace plimsoll {

ErrorDoor error_door(Errc code) {
    switch (code) {
        case Errc::InvalidInput:
            return {"invalid_input", 2, 400};
        case Errc::NotFound:
            return {"not_found", 1, 404};
        case Errc::Corrupt:
            return {"corrupt", 1, 422};
        case Errc::LimitExceeded:
            return {"limit_exceeded", 1, 413};
        case Errc::Unavailable:
            return {"unavailable", 4, 503};
        case Errc::Internal:
            return {"internal", 1, 500};
    }
    return {"internal", 1, 500};
}

}  // namespace plimsoll
