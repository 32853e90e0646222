// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/widget_types.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace plimsoll::workflow {
namespace {

// The types that front end 1.58 draws itself. A type that packs draw with scripts of their own is
// known by `socketless`: it takes no link, so it must have a widget.
constexpr std::array<std::string_view, 26> kWidgetTypes = {
    "INT",          "FLOAT",          "BOOLEAN",      "STRING",       "COMBO",    "MARKDOWN",
    "TEXTAREA",     "COLOR",          "COLORS",       "IMAGEUPLOAD",  "LOAD_3D",  "PREVIEW_3D",
    "AUDIO_UI",     "AUDIOUPLOAD",    "AUDIO_RECORD", "IMAGECOMPARE", "CURVE",    "PAINTER",
    "BOUNDING_BOX", "BOUNDING_BOXES", "RANGE",        "CHART",        "GALLERIA", "FILEUPLOAD",
    "SELECTBUTTON", "COMPOSITOR"};

std::string_view drawn_type(const InputSpec& spec) {
    if (const json::value* const type = spec.option("widgetType"))
        if (const auto* text = type->if_string()) return *text;
    return spec.type;
}

const json::array* options_of(const InputSpec& spec) {
    const json::value* const options = spec.option("options");
    return options == nullptr ? nullptr : options->if_array();
}

}  // namespace

bool is_widget(const InputSpec& spec) {
    if (spec.has_flag("forceInput")) return false;
    const std::string_view type = drawn_type(spec);
    return type == kDynamicComboType || spec.has_flag("socketless") ||
           std::ranges::find(kWidgetTypes, type) != kWidgetTypes.end();
}

bool has_seed_control(const InputSpec& spec) {
    if (drawn_type(spec) != "INT" && drawn_type(spec) != "COMBO") return false;
    if (spec.option("control_after_generate") != nullptr)
        return spec.has_flag("control_after_generate");
    return drawn_type(spec) == "INT" && (spec.name == "seed" || spec.name == "noise_seed");
}

std::optional<json::value> default_value(const InputSpec& spec) {
    const std::string_view type = drawn_type(spec);
    if (type == kDynamicComboType) {
        const json::array* const options = options_of(spec);
        if (options == nullptr || options->empty()) return std::nullopt;
        const json::value* const key = find(options->front(), "key");
        return key == nullptr ? std::nullopt : std::optional(*key);
    }
    if (const json::value* const value = spec.option("default")) return *value;
    if (type == "COMBO") {
        if (spec.has_flag("multiselect")) return json::array();
        if (spec.choices == nullptr || spec.choices->empty()) return std::nullopt;
        return spec.choices->front();
    }
    if (type == "INT" || type == "FLOAT") return 0;
    if (type == "BOOLEAN") return false;
    if (type == "STRING" || type == "MARKDOWN" || type == "PREVIEW_3D" || type == "LOAD_3D")
        return "";
    return std::nullopt;
}

const json::value* find_dynamic_inputs(const InputSpec& spec, const json::value& key) {
    const json::array* const options = options_of(spec);
    if (options == nullptr) return nullptr;
    for (const json::value& option : *options) {
        const json::value* const name = find(option, "key");
        if (name != nullptr && *name == key) return find(option, "inputs");
    }
    return nullptr;
}

}  // namespace plimsoll::workflow
