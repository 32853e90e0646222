// SPDX-License-Identifier: Apache-2.0
//
// The body of a form with files. Input is untrusted.
//
// Enters through: bytes of a request.   Leaves through: FormPart.   Threads: no shared state.
#pragma once
#include "base/error.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

struct FormPart {
    std::string name;
    std::optional<std::string> filename;  // a file, even if empty
    std::string body;
};

// Nothing for a content type that is no form. Corrupt for broken framing; LimitExceeded above 1000
// parts.
[[nodiscard]] Result<std::vector<FormPart>> parse_form(std::string_view content_type,
                                                       std::string_view body);
[[nodiscard]] const FormPart* find_part(const std::vector<FormPart>& parts, std::string_view name);

}  // namespace plimsoll::simulator
