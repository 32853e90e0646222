// SPDX-License-Identifier: Apache-2.0
//
// Which of the routes that a hook may ask for a request means. Pure.
#pragma once
#include "gateway/prompt_hook.h"

#include <string>
#include <string_view>

namespace plimsoll::gateway {

struct MatchedRoute {
    Route route = Route::Other;
    std::string argument;  // {prompt_id} or {id}, decoded
};

// `target` as sent. As ComfyUI's router: percent-escapes in the path are decoded, an escaped slash
// stays part of its segment, `//prompt` is another route.
[[nodiscard]] MatchedRoute match_route(std::string_view method, std::string_view target);

}  // namespace plimsoll::gateway
