// SPDX-License-Identifier: Apache-2.0
//
// Which inputs the front end draws as widgets, and what they hold before a file is loaded.
#pragma once
#include "base/json.h"
#include "workflow/convert/object_info.h"

#include <optional>

namespace plimsoll::workflow {

inline constexpr std::string_view kDynamicComboType = "COMFY_DYNAMICCOMBO_V3";
inline constexpr std::string_view kAutogrowType = "COMFY_AUTOGROW_V3";
inline constexpr std::string_view kMatchType = "COMFY_MATCHTYPE_V3";

// Any dynamic combo is one; an input that only takes links (forceInput) is not.
[[nodiscard]] bool is_widget(const InputSpec& spec);

// Whether the front end adds control_after_generate behind it.
[[nodiscard]] bool has_seed_control(const InputSpec& spec);

// nullopt: undefined, as a combo without choices.
[[nodiscard]] std::optional<json::value> default_value(const InputSpec& spec);

// The choices of a dynamic combo: a key, and the inputs that it adds. nullptr: no such key.
[[nodiscard]] const json::value* find_dynamic_inputs(const InputSpec& spec, const json::value& key);

}  // namespace plimsoll::workflow
