// SPDX-License-Identifier: Apache-2.0
//
// What nodes of a job have put out, by their ids: pictures; none where a node put out something
// else. Plain values.
#pragma once
#include "service/comfyui/answers.h"

#include <map>
#include <string>
#include <vector>

namespace plimsoll::guard {

using NodeFiles = std::map<std::string, std::vector<service::ImageRef>>;

}  // namespace plimsoll::guard
