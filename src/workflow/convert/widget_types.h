// SPDX-License-Identifier: Apache-2.0
//
// Which inputs the front end draws as widgets, and what they hold before a file is loaded.
#pragma once
#include "base/json.h"
#include "workflow/convert/object_info.h"

#include <optional>
#include <string_view>

namespace plimsoll::workflow {

inline constexpr std::string_view kDynamicComboType = "COMFY_DYNAMICCOMBO_V3";
inline constexpr std::string_view kAutogrowType = "COMFY_AUTOGROW_V3";
inline constexpr std::string_view kMatchType = "COMFY_MATCHTYPE_V3";

// The type of the widget, which may differ from that of the input.
[[nodiscard]] std::string_view drawn_type(const InputSpec& spec);

// Any dynamic combo is one; an input that only takes links (forceInput) is not.
[[nodiscard]] bool is_widget(const InputSpec& spec);

// Whether the front end adds control_after_generate behind it.
[[nodiscard]] bool has_seed_control(const InputSpec& spec);

// What the editor makes of a saved value once all is loaded: no choice becomes the first one, names
// of samplers lose the prefix that they had in 2023.
void repair_value(const InputSpec& spec, std::string_view class_type,
                  std::optional<json::value>& value);

// A number that a primitive writes is brought to the step of the widget.
[[nodiscard]] json::value to_step(const InputSpec& spec, const json::value& value);

// nullopt: undefined, as a combo without choices.
[[nodiscard]] std::optional<json::value> default_value(const InputSpec& spec);

// Whether the front end fills the fields in the filename_prefix of a node of this type.
[[nodiscard]] bool saves_files(std::string_view class_type);

// The title of a node that object_info gives no display name: the front end's own, else its type.
[[nodiscard]] std::string_view title_of_type(std::string_view class_type);

// The choices of a dynamic combo: a key, and the inputs that it adds. nullptr: no such key.
[[nodiscard]] const json::value* find_dynamic_inputs(const InputSpec& spec, const json::value& key);

}  // namespace plimsoll::workflow
