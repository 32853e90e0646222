// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_history.h"

#include "base/utf8.h"
#include "wire/encode.h"
#include "wire/encode_parts.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::wire {

namespace {

// A column of the CSV and a field of encode_run; "settings." reaches into the settings.
constexpr std::array<std::string_view, 28> kColumns{"runId",
                                                    "startedMs",
                                                    "endedMs",
                                                    "outcome",
                                                    "error",
                                                    "verdict",
                                                    "model",
                                                    "checkpoint",
                                                    "family",
                                                    "card",
                                                    "comfyuiVersion",
                                                    "settings.width",
                                                    "settings.height",
                                                    "settings.batch",
                                                    "settings.steps",
                                                    "settings.cfg",
                                                    "settings.sampler",
                                                    "settings.scheduler",
                                                    "settings.quality",
                                                    "settings.seed",
                                                    "loadLineBytes",
                                                    "forecastPeakBytes",
                                                    "observedPeakBytes",
                                                    "observedUsedBytes",
                                                    "cardTotalBytes",
                                                    "forecastSeconds",
                                                    "observedSeconds",
                                                    "prompt"};

const json::value& field_of(const json::object& run, std::string_view name) {
    constexpr std::string_view kSettings = "settings.";
    if (!name.starts_with(kSettings)) return run.at(name);
    return run.at("settings").as_object().at(name.substr(kSettings.size()));
}

std::string csv_cell(const json::value& value) {
    if (value.is_null()) return {};
    if (!value.is_string()) return json::serialize(value);
    std::string text = valid_utf8(value.as_string());
    constexpr std::string_view kFormula = "=+-@\t\r";  // how a spreadsheet's formula may begin
    if (!text.empty() && kFormula.find(text.front()) != std::string_view::npos) text = "'" + text;
    if (text.find_first_of("\",\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

// Which run it was says nothing about how it went.
bool is_compared(std::string_view column) {
    return column != "runId" && column != "startedMs" && column != "endedMs";
}

}  // namespace

namespace {

json::object encode_pace(const timing::Pace& pace) {
    return {{"runs", pace.runs}, {"factor", pace.factor}, {"low", pace.low}, {"high", pace.high}};
}

}  // namespace

json::object encode_paces(std::string_view card, const timing::Paces& paces) {
    json::array works;
    for (const timing::PaceOfWork& work : paces.works) {
        json::object one = encode_pace(work.pace);
        one["kind"] = work.kind;
        one["family"] = work.family;
        works.emplace_back(std::move(one));
    }
    json::object out = encode_pace(paces.card);
    out["card"] = card;
    out["works"] = std::move(works);
    return out;
}

json::object encode_stats_group(const history::RunStats& group, std::string_view key) {
    return {{"key", key},
            {"runs", group.runs},
            {"done", group.done},
            {"outOfMemory", group.out_of_memory},
            {"otherwise", group.runs - group.done - group.out_of_memory},
            {"secondsMean", or_null(group.seconds_mean)},
            {"secondsDeviation", or_null(group.seconds_deviation)},
            {"secondsMin", or_null(group.seconds_min)},
            {"secondsMax", or_null(group.seconds_max)},
            {"peakBytesMean", bytes_or_null(group.peak_mean)},
            {"peakBytesMax", bytes_or_null(group.peak_max)},
            {"forecastPeakErrorMean", or_null(group.forecast_peak_error_mean)},
            {"forecastSecondsErrorMean", or_null(group.forecast_seconds_error_mean)}};
}

json::object encode_trends(std::string_view by, const std::vector<service::Trend>& trends) {
    json::array list;
    for (const service::Trend& trend : trends) {
        json::array days;
        for (const auto& day : trend.days) days.emplace_back(encode_stats_group(day, day.key));
        list.emplace_back(json::object{{"key", trend.key},
                                       {"total", encode_stats_group(trend.total, trend.key)},
                                       {"days", std::move(days)}});
    }
    return {{"by", by}, {"trends", std::move(list)}};
}

json::object encode_comparison(const history::RunRecord& left, const history::RunRecord& right) {
    json::object one = encode_run(left);
    json::object other = encode_run(right);
    json::array differences;
    for (const std::string_view column : kColumns) {
        if (!is_compared(column)) continue;
        const json::value& a = field_of(one, column);
        const json::value& b = field_of(other, column);
        if (a == b) continue;
        json::value change = nullptr;
        if (a.is_int64() && b.is_int64())
            change = b.get_int64() - a.get_int64();
        else if (a.is_number() && b.is_number())
            change = b.to_number<double>() - a.to_number<double>();
        differences.emplace_back(
            json::object{{"field", column}, {"left", a}, {"right", b}, {"change", change}});
    }
    return {{"left", std::move(one)},
            {"right", std::move(other)},
            {"differences", std::move(differences)}};
}

std::string csv_head() {
    std::string line;
    for (const std::string_view column : kColumns)
        line += fmt::format("{}{}", line.empty() ? "" : ",", column);
    return line + "\r\n";
}

std::string csv_line(const history::RunRecord& run) {
    const json::object encoded = encode_run(run);
    std::string line;
    bool is_first = true;
    for (const std::string_view column : kColumns) {
        if (!std::exchange(is_first, false)) line += ',';
        line += csv_cell(field_of(encoded, column));
    }
    return line + "\r\n";
}

std::string json_line(const history::RunRecord& run) {
    return valid_utf8(json::serialize(encode_run(run))) + "\n";
}

json::object encode_backup(const std::string& path, const history::BackupReport& report) {
    return {{"file", path},
            {"runs", report.runs},
            {"presets", report.presets},
            {"bytes", report.bytes}};
}

json::object encode_check(const std::string& path, const history::CheckReport& report) {
    return {{"file", path},
            {"sound", report.is_sound()},
            {"schema", report.schema},
            {"runs", report.runs},
            {"presets", report.presets},
            {"bytes", report.bytes},
            {"damage", texts(report.damage)},
            {"differences", texts(report.differences)}};
}

json::object encode_restore(const history::RestoreReport& report) {
    return {{"runs", report.runs},       {"runsKnown", report.runs_known},
            {"presets", report.presets}, {"presetsKnown", report.presets_known},
            {"jobs", report.jobs},       {"unreadable", report.unreadable}};
}

json::object encode_retention(const service::RetentionReport& report) {
    return {{"picturesDeleted", report.pictures_deleted},
            {"pictureBytes", report.picture_bytes},
            {"picturesElsewhere", report.pictures_elsewhere},
            {"runsRetired", report.runs_retired},
            {"problems", texts(report.problems)}};
}

}  // namespace plimsoll::wire
