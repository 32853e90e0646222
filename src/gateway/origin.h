// SPDX-License-Identifier: Apache-2.0
//
// Would ComfyUI refuse this request as another site's (its answer is 403)? Such a request must not
// reach a hook, which could act on it before ComfyUI says no. Pure.
#pragma once
#include <string_view>

namespace plimsoll::gateway {

// As ComfyUI judges: Host and Origin are both there, the host is this machine itself, and the two
// differ (an origin without a port matches any). `sec_fetch_site`: newer versions refuse
// "cross-site" always.
[[nodiscard]] bool is_from_another_site(std::string_view host, std::string_view origin,
                                        std::string_view sec_fetch_site);

}  // namespace plimsoll::gateway
