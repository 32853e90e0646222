// SPDX-License-Identifier: Apache-2.0
//
// A session as JSON text, for whoever keeps it: the plan once, the progress at each change, each
// picture by itself. Reading checks everything; what is wrong is Corrupt.
#pragma once
#include "base/error.h"
#include "quality/lab/session.h"

#include <string>
#include <string_view>

namespace plimsoll::quality {

[[nodiscard]] std::string encode_plan(const SessionPlan& plan);
[[nodiscard]] Result<SessionPlan> parse_plan(std::string_view text);
[[nodiscard]] std::string encode_progress(const SessionProgress& progress);
[[nodiscard]] Result<SessionProgress> parse_progress(std::string_view text);
[[nodiscard]] std::string encode_picture(const Picture& picture);
[[nodiscard]] Result<Picture> parse_picture(std::string_view text);

}  // namespace plimsoll::quality
