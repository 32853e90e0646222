// SPDX-License-Identifier: Apache-2.0
//
// Prompts with which a model is tested when the user gives none: subjects that show different
// defects (faces, texture, flat areas, fine lines, text-like detail, darkness), a set for each kind
// of model.
#pragma once
#include "advisor/settings.h"

#include <span>
#include <string_view>

namespace plimsoll::service {

// By the words of the profile's name and style: anime and sprites, cartoons, else photographs.
[[nodiscard]] std::span<const std::string_view> default_prompts(
    const advisor::ModelProfile& profile);

}  // namespace plimsoll::service
