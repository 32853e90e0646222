// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/widget_types.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

namespace plimsoll::workflow {
namespace {

// The types that front end 1.58 draws itself. A type that packs draw with scripts of their own is
// known by `socketless`: it takes no link, so it must have a widget.
constexpr std::array kWidgetTypes =
    std::to_array<std::string_view>({"INT",          "FLOAT",
                                     "BOOLEAN",      "STRING",
                                     "MARKDOWN",     "COMBO",
                                     "IMAGEUPLOAD",  "COLOR",
                                     "IMAGECOMPARE", "BOUNDING_BOX",
                                     "CHART",        "GALLERIA",
                                     "PAINTER",      "COMPOSITOR",
                                     "TEXTAREA",     "CURVE",
                                     "RANGE",        "VIDEO_EDIT",
                                     "COLORS",       "RESOLUTION_PREVIEW",
                                     "LOAD_3D",      "BOUNDING_BOXES",
                                     "PREVIEW_3D",   "LIGHT_INFO_PREVIEW",
                                     "AUDIO_UI",     "LOAD_3D_ADVANCED",
                                     "AUDIOUPLOAD",  "AUDIO_RECORD",
                                     "WEBCAM"});

// From front end 1.58.
constexpr std::array kSavingTypes = std::to_array<std::string_view>(
    {"SaveImage", "SaveImageAdvanced", "SaveSVGNode",       "SaveVideo",      "SaveAnimatedWEBP",
     "SaveWEBM",  "SaveAudio",         "SaveAudioMP3",      "SaveAudioOpus",  "SaveAudioAdvanced",
     "SaveGLB",   "Save3DAdvanced",    "SaveGaussianSplat", "SavePointCloud", "SaveAnimatedPNG",
     "CLIPSave",  "VAESave",           "ModelSave",         "LoraSave",       "SaveLatent"});

struct TypeTitle {
    std::string_view type;
    std::string_view title;
};
// Names that front end 1.58 shows for types of ComfyUI 0.33.0 which have none of their own.
constexpr std::array kTypeTitles = std::to_array<TypeTitle>({
    {"EmptyCosmosLatentVideo", "Empty Cosmos Latent Video"},
    {"EmptyHunyuanImageLatent", "Empty Hunyuan Image Latent"},
    {"EmptyLTXVLatentVideo", "Empty LTXV Latent Video"},
    {"EmptyLatentHunyuan3Dv2", "Empty Hunyuan 3D v2 Latent"},
    {"EmptyTrellis2LatentStructure", "Empty Trellis2 Latent Structure"},
    {"Pixal3DConditioning", "Pixal3D Conditioning"},
    {"StableCascade_EmptyLatentImage", "Empty Stable Cascade Latent Image"},
    {"StableCascade_StageC_VAEEncode", "Stable Cascade Stage C VAE Encode"},
    {"TextEncodeQwenImageEdit", "Text Encode Qwen Image Edit"},
    {"TextEncodeQwenImageEditPlus", "Text Encode Qwen Image Edit Plus"},
    {"Trellis2Conditioning", "Trellis2 Conditioning"},
    {"Trellis2ShapeStage", "Trellis2 Shape Stage"},
    {"Trellis2TextureStage", "Trellis2 Texture Stage"},
    {"VAEDecodeHunyuan3D", "Hunyuan 3D VAE Decode"},
    {"VaeDecodeShapeTrellis", "Trellis2 VAE Decode Shape"},
    {"VaeDecodeStructureTrellis2", "Trellis2 VAE Decode Structure"},
    {"VaeDecodeTextureTrellis", "Trellis2 VAE Decode Texture"},
});

const json::array* options_of(const InputSpec& spec) {
    const json::value* const options = spec.option("options");
    return options == nullptr ? nullptr : options->if_array();
}

std::optional<json::value> first_choice(const InputSpec& spec) {
    if (drawn_type(spec) == kDynamicComboType) {
        const json::array* const options = options_of(spec);
        if (options == nullptr || options->empty()) return std::nullopt;
        const json::value* const key = find(options->front(), "key");
        return key == nullptr ? std::nullopt : std::optional(*key);
    }
    if (spec.choices == nullptr || spec.choices->empty()) return std::nullopt;
    return spec.choices->front();
}

}  // namespace

std::string_view drawn_type(const InputSpec& spec) {
    if (const json::value* const type = spec.option("widgetType"))
        if (const auto* text = type->if_string()) return *text;
    return spec.type;
}

bool saves_files(std::string_view class_type) {
    return std::ranges::find(kSavingTypes, class_type) != kSavingTypes.end();
}

std::string_view title_of_type(std::string_view class_type) {
    const auto* const found = std::ranges::find(kTypeTitles, class_type, &TypeTitle::type);
    return found == kTypeTitles.end() ? class_type : found->title;
}

bool is_widget(const InputSpec& spec) {
    if (spec.has_flag("forceInput")) return false;
    const std::string_view type = drawn_type(spec);
    return type == kDynamicComboType || spec.has_flag("socketless") ||
           std::ranges::find(kWidgetTypes, type) != kWidgetTypes.end();
}

bool has_seed_control(const InputSpec& spec) {
    const std::string_view type = drawn_type(spec);
    if (type != "INT" && type != "FLOAT" && type != "COMBO") return false;
    if (spec.option("control_after_generate") != nullptr)
        return spec.has_flag("control_after_generate");
    return type == "INT" && (spec.name == "seed" || spec.name == "noise_seed");
}

void repair_value(const InputSpec& spec, std::string_view class_type,
                  std::optional<json::value>& value) {
    const bool is_combo = drawn_type(spec) == "COMBO" || drawn_type(spec) == kDynamicComboType;
    if (is_combo && (!value || value->is_null())) {
        const std::optional<json::value> first = first_choice(spec);
        if (first) value = first;
    }
    constexpr std::string_view kOldPrefix = "sample_";
    const auto* text = value ? value->if_string() : nullptr;
    if (spec.name == "sampler_name" && text != nullptr && text->starts_with(kOldPrefix) &&
        (class_type == "KSampler" || class_type == "KSamplerAdvanced"))
        value = json::value(std::string_view(*text).substr(kOldPrefix.size()));
}

json::value to_step(const InputSpec& spec, const json::value& value) {
    if (!value.is_number()) return value;
    const auto option = [&](std::string_view key) -> std::optional<double> {
        const json::value* const number = spec.option(key);
        if (number == nullptr || !number->is_number()) return std::nullopt;
        return number->to_number<double>();
    };
    const auto rounded = [](double number) { return std::floor(number + 0.5); };  // Math.round
    const auto number = value.to_number<double>();
    if (drawn_type(spec) == "INT") {
        const double step = option("step").value_or(1);
        if (step == 0 || step == 1) return rounded(number);
        const double offset = std::fmod(option("min").value_or(0), step);
        return rounded((number - offset) / step) * step + offset;
    }
    if (drawn_type(spec) != "FLOAT") return value;
    const double step = option("step").value_or(0.5);
    const double precision = std::clamp(step > 0 ? -std::floor(std::log10(step)) : 0, 0.0, 20.0);
    double round = option("round").value_or(0);
    if (round == 0 && precision > 0) round = std::pow(10, -precision);
    if (round <= 0) return value;
    const std::string digits =
        fmt::format("{:.{}f}", rounded(number / round) * round, static_cast<int>(precision));
    const double settled = parse_number(digits).value_or(number);
    return std::clamp(settled, option("min").value_or(0),
                      std::max(option("min").value_or(0), option("max").value_or(2048)));
}

std::optional<json::value> default_value(const InputSpec& spec) {
    const std::string_view type = drawn_type(spec);
    if (type == kDynamicComboType) return first_choice(spec);
    if (type == "IMAGECOMPARE") return json::array{"", ""};
    if (const json::value* const value = spec.option("default")) return *value;
    if (type == "BOUNDING_BOX")
        return json::object{{"x", 0}, {"y", 0}, {"width", 512}, {"height", 512}};
    if (type == "COMBO") {
        if (spec.has_flag("multi_select")) return json::array();
        return first_choice(spec);
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
