// SPDX-License-Identifier: Apache-2.0
#include "history/run_json.h"

#include "base/json.h"

namespace plimsoll::history {

namespace {

Result<json::array> parse_list(std::string_view text, std::string_view what) {
    TRY_ASSIGN(json::value list, parse_json(text));
    if (!list.is_array())
        return fail(Errc::Corrupt, "the " + std::string(what) + " of a run are not a list");
    return std::move(list.as_array());
}

std::string text_of(const json::value& object, std::string_view key) {
    return std::string(find_string(object, key).value_or(""));
}

Bytes bytes_of(const json::value& object, std::string_view key) {
    return Bytes(find_int(object, key).value_or(0));
}

}  // namespace

std::string phases_to_text(const std::vector<PhaseRecord>& phases) {
    json::array list;
    for (const PhaseRecord& phase : phases) {
        json::object one{{"kind", phase.kind},
                         {"nodeId", phase.node_id},
                         {"forecastPeakBytes", phase.forecast_peak.count},
                         {"forecastSeconds", phase.forecast_seconds}};
        if (phase.observed_peak) one["observedPeakBytes"] = phase.observed_peak->count;
        if (phase.observed_seconds) one["observedSeconds"] = *phase.observed_seconds;
        if (phase.pace != 1) one["pace"] = phase.pace;
        if (phase.forecast_load_seconds) one["forecastLoadSeconds"] = *phase.forecast_load_seconds;
        if (phase.observed_step_seconds) one["observedStepSeconds"] = *phase.observed_step_seconds;
        list.emplace_back(std::move(one));
    }
    return json::serialize(list);
}

std::string changes_to_text(const std::vector<ChangeRecord>& changes) {
    json::array list;
    for (const ChangeRecord& change : changes)
        list.emplace_back(json::object{{"knob", change.knob},
                                       {"from", change.from},
                                       {"to", change.to},
                                       {"savedBytes", change.saved.count},
                                       {"seconds", change.seconds}});
    return json::serialize(list);
}

std::string images_to_text(const std::vector<std::string>& images) {
    return json::serialize(json::array(images.begin(), images.end()));
}

Result<std::vector<PhaseRecord>> parse_phases(std::string_view text) {
    TRY_ASSIGN(const json::array list, parse_list(text, "phases"));
    std::vector<PhaseRecord> phases;
    for (const json::value& one : list) {
        PhaseRecord phase{.kind = text_of(one, "kind"),
                          .node_id = text_of(one, "nodeId"),
                          .forecast_peak = bytes_of(one, "forecastPeakBytes"),
                          .forecast_seconds = find_number(one, "forecastSeconds").value_or(0),
                          .observed_peak = std::nullopt,
                          .observed_seconds = find_number(one, "observedSeconds"),
                          .pace = find_number(one, "pace").value_or(1),
                          .forecast_load_seconds = find_number(one, "forecastLoadSeconds"),
                          .observed_step_seconds = find_number(one, "observedStepSeconds")};
        if (const auto peak = find_int(one, "observedPeakBytes"))
            phase.observed_peak = Bytes(*peak);
        phases.push_back(std::move(phase));
    }
    return phases;
}

Result<std::vector<ChangeRecord>> parse_changes(std::string_view text) {
    TRY_ASSIGN(const json::array list, parse_list(text, "changes"));
    std::vector<ChangeRecord> changes;
    for (const json::value& one : list)
        changes.push_back({.knob = text_of(one, "knob"),
                           .from = text_of(one, "from"),
                           .to = text_of(one, "to"),
                           .saved = bytes_of(one, "savedBytes"),
                           .seconds = find_number(one, "seconds").value_or(0)});
    return changes;
}

Result<std::vector<std::string>> parse_images(std::string_view text) {
    TRY_ASSIGN(const json::array list, parse_list(text, "images"));
    std::vector<std::string> images;
    for (const json::value& one : list) {
        if (!one.is_string()) return fail(Errc::Corrupt, "an image of a run is not a path");
        images.emplace_back(one.as_string());
    }
    return images;
}

}  // namespace plimsoll::history
