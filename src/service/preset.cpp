// SPDX-License-Identifier: Apache-2.0
#include "service/preset.h"

#include "base/json.h"
#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>

namespace plimsoll::service {

namespace {

// How a field is written into a preset and taken out of it.
struct Field {
    std::string_view name;
    json::value (*write)(const JobRequest&);              // null where it is not wished for
    bool (*take)(const json::value& value, JobRequest&);  // false: wrong type
    std::string_view type;
};

template <class T>
json::value value_or_null(const std::optional<T>& wish) {
    return wish ? json::value(*wish) : json::value(nullptr);
}

bool take_text(const json::value& value, std::optional<std::string>& wish) {
    if (!value.is_string()) return false;
    if (!wish) wish = std::string(value.get_string());
    return true;
}

bool take_whole(const json::value& value, std::optional<int>& wish) {
    const auto* const number = value.if_int64();
    if (number == nullptr || *number < 0 || *number > std::numeric_limits<int>::max()) return false;
    if (!wish) wish = static_cast<int>(*number);
    return true;
}

bool names_a_source(const JobRequest& request) {
    return request.model || request.model_file || request.family || request.file ||
           request.workflow;
}

constexpr std::array kFields{
    Field{"model", [](const JobRequest& r) { return value_or_null(r.model); },
          [](const json::value& value, JobRequest& r) {
              return names_a_source(r) ? value.is_string() : take_text(value, r.model);
          },
          "text"},
    Field{"width", [](const JobRequest& r) { return value_or_null(r.width); },
          [](const json::value& value, JobRequest& r) { return take_whole(value, r.width); },
          "a whole number"},
    Field{"height", [](const JobRequest& r) { return value_or_null(r.height); },
          [](const json::value& value, JobRequest& r) { return take_whole(value, r.height); },
          "a whole number"},
    Field{"batch", [](const JobRequest& r) { return value_or_null(r.batch); },
          [](const json::value& value, JobRequest& r) { return take_whole(value, r.batch); },
          "a whole number"},
    Field{"steps", [](const JobRequest& r) { return value_or_null(r.steps); },
          [](const json::value& value, JobRequest& r) { return take_whole(value, r.steps); },
          "a whole number"},
    Field{"cfg", [](const JobRequest& r) { return value_or_null(r.cfg); },
          [](const json::value& value, JobRequest& r) {
              if (!value.is_number()) return false;
              if (!r.cfg) r.cfg = value.to_number<double>();
              return true;
          },
          "a number"},
    Field{"sampler", [](const JobRequest& r) { return value_or_null(r.sampler); },
          [](const json::value& value, JobRequest& r) { return take_text(value, r.sampler); },
          "text"},
    Field{"scheduler", [](const JobRequest& r) { return value_or_null(r.scheduler); },
          [](const json::value& value, JobRequest& r) { return take_text(value, r.scheduler); },
          "text"},
    Field{"quality",
          [](const JobRequest& r) {
              return r.quality ? json::value(advisor::quality_name(*r.quality))
                               : json::value(nullptr);
          },
          [](const json::value& value, JobRequest& r) {
              if (!value.is_string()) return false;
              const auto quality = advisor::parse_quality(std::string_view(value.get_string()));
              if (quality && !r.quality) r.quality = *quality;
              return quality.has_value();
          },
          "one of draft, optimized, high, ultra"},
    Field{"seed", [](const JobRequest& r) { return value_or_null(r.seed); },
          [](const json::value& value, JobRequest& r) {
              const bool whole = value.is_uint64() || (value.is_int64() && value.get_int64() >= 0);
              if (whole && !r.seed) r.seed = value.to_number<std::uint64_t>();
              return whole;
          },
          "a whole number of at most 20 digits"},
    Field{"negative", [](const JobRequest& r) { return value_or_null(r.negative); },
          [](const json::value& value, JobRequest& r) { return take_text(value, r.negative); },
          "text"},
    Field{
        "vaeTiling",
        [](const JobRequest& r) { return r.vae_tiling ? json::value(true) : json::value(nullptr); },
        [](const json::value& value, JobRequest& r) {
            if (!value.is_bool()) return false;
            r.vae_tiling = r.vae_tiling || value.get_bool();
            return true;
        },
        "true or false"},
};

}  // namespace

Result<std::string> encode_wishes(const JobRequest& request) {
    if (request.model_file || request.file || request.workflow || request.family)
        return fail(Errc::InvalidInput,
                    "a preset holds --model and its settings, no file and no family");
    json::object settings;
    for (const Field& field : kFields)
        if (json::value value = field.write(request); !value.is_null())
            settings[field.name] = std::move(value);
    if (settings.empty()) return fail(Errc::InvalidInput, say<"error.preset_empty">());
    return json::serialize(settings);
}

Result<Phrases> apply_preset(const history::Preset& preset, JobRequest& request) {
    TRY_ASSIGN(const json::value settings, parse_json(preset.settings_json));
    if (!settings.is_object())
        return fail(Errc::Corrupt, fmt::format("preset {}: is no JSON object", preset.name));
    Phrases warnings;
    for (const auto& [key, value] : settings.as_object()) {
        const std::string_view name(key);
        const auto* const field = std::ranges::find(kFields, name, &Field::name);
        if (field == kFields.end())
            warnings.push_back(say<"note.preset_field">(preset.name, name));
        else if (!field->take(value, request))
            return fail(Errc::InvalidInput,
                        say<"error.preset_field">(preset.name, name, field->type));
    }
    return warnings;
}

}  // namespace plimsoll::service
