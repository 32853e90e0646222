// SPDX-License-Identifier: Apache-2.0
//
// Error and Result: how every fallible function of Plimsoll answers. Codes say what the caller can
// do about it, messages say what happened, with the numbers and the way out (lower case, no full
// stop). Plimsoll throws no exceptions.
#pragma once
#include <expected>
#include <string>

namespace plimsoll {

enum class Errc {
    InvalidInput,   // the caller gave something that cannot be; change it
    NotFound,       // what was named does not exist; the message lists what does where it can
    Corrupt,        // bytes from outside do not follow their format
    LimitExceeded,  // well formed, but larger, deeper or longer than a limit
    Unavailable,    // another party (ComfyUI, disk, card) did not do its part; may work later
    Internal,       // a defect of Plimsoll
};

struct Error {
    Errc code = Errc::Internal;
    std::string message;

    friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

}  // namespace plimsoll
