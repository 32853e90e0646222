// SPDX-License-Identifier: Apache-2.0
#include "api/routes.h"

#include "base/say.h"
#include "base/text.h"
#include "base/utf8.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::api {

namespace {

constexpr std::array<std::string_view, 2> kBestQuery{"model", "minQuality"};
constexpr std::array<std::string_view, 11> kHistoryQuery{"model",   "family", "card",    "outcome",
                                                         "verdict", "text",   "sinceMs", "beforeMs",
                                                         "sort",    "limit",  "cursor"};
constexpr std::array<std::string_view, 9> kStatsQuery{
    "by", "model", "family", "card", "outcome", "verdict", "text", "sinceMs", "beforeMs"};
constexpr std::array<std::string_view, 2> kCompareQuery{"left", "right"};
constexpr std::array<std::string_view, 9> kExportQuery{
    "format", "model", "family", "card", "outcome", "verdict", "text", "sinceMs", "beforeMs"};
constexpr std::array<std::string_view, 1> kPreviewQuery{"n"};
constexpr std::array<std::string_view, 1> kEventsQuery{"lastEventId"};
constexpr std::array<std::string_view, 1> kQualityQuery{"sessionId"};
constexpr std::array<std::string_view, 1> kSideQuery{"side"};
constexpr std::array<std::string_view, 1> kReportQuery{"lang"};
constexpr std::array<std::string_view, 1> kPairsQuery{"count"};

// In the order of docs/openapi.yaml.
constexpr std::array kRoutes{
    Route{"GET", "/api/health", get_health},
    Route{"GET", "/api/doctor", get_doctor, Runs::OnWorker},
    Route{"GET", "/api/devices", list_devices},
    Route{"GET", "/api/cards", list_cards},
    Route{"GET", "/api/models", list_models, Runs::OnWorker},
    Route{"POST", "/api/forecast", post_forecast, Runs::Here, true},
    Route{"POST", "/api/plan", post_plan, Runs::OnWorker, true},
    Route{"POST", "/api/largest", post_largest, Runs::OnWorker, true},
    Route{"POST", "/api/settings/optimal", post_optimal, Runs::OnWorker, true},
    Route{"POST", "/api/settings/check", post_check, Runs::OnWorker, true},
    Route{"POST", "/api/settings/summary", post_summary, Runs::OnWorker, true},
    Route{"POST", "/api/settings/score", post_score, Runs::OnWorker, true},
    Route{"GET", "/api/settings/best", get_best, Runs::OnWorker, false, kBestQuery},
    Route{"GET", "/api/presets", list_presets, Runs::OnWorker},
    Route{"GET", "/api/presets/{name}", get_preset, Runs::OnWorker},
    Route{"PUT", "/api/presets/{name}", put_preset, Runs::OnWorker, true},
    Route{"DELETE", "/api/presets/{name}", delete_preset, Runs::OnWorker},
    Route{"GET", "/api/history", list_history, Runs::OnWorker, false, kHistoryQuery},
    Route{"GET", "/api/history/trends", get_trends, Runs::OnWorker, false, kStatsQuery},
    Route{"GET", "/api/history/compare", get_comparison, Runs::OnWorker, false, kCompareQuery},
    Route{"GET", "/api/history/export", nullptr, Runs::AsExport, false, kExportQuery},
    Route{"GET", "/api/history/{runId}", get_run, Runs::OnWorker},
    Route{"GET", "/api/history/{runId}/images/{index}", get_run_image, Runs::OnWorker},
    Route{"GET", "/api/stats", get_stats, Runs::OnWorker, false, kStatsQuery},
    Route{"POST", "/api/generate", post_generate, Runs::OnWorker, true},
    Route{"GET", "/api/jobs", list_jobs},
    Route{"GET", "/api/jobs/{jobId}", get_job},
    Route{"DELETE", "/api/jobs/{jobId}", delete_job, Runs::OnWorker},
    Route{"GET", "/api/jobs/{jobId}/images/{index}", get_job_image, Runs::OnWorker},
    Route{"GET", "/api/jobs/{jobId}/preview", get_job_preview, Runs::Here, false, kPreviewQuery},
    Route{"GET", "/api/gateway", get_gateway},
    Route{"POST", "/api/gateway/pause", pause_gateway},
    Route{"POST", "/api/gateway/resume", resume_gateway},
    Route{"GET", "/api/gateway/jobs/{promptId}", get_held_job},
    Route{"POST", "/api/gateway/jobs/{promptId}/run-anyway", run_held_job_anyway, Runs::OnWorker},
    Route{"PATCH", "/api/gateway/jobs/{promptId}", patch_held_job, Runs::OnWorker, true},
    Route{"DELETE", "/api/gateway/jobs/{promptId}", delete_held_job, Runs::OnWorker},
    Route{"POST", "/api/quality-test", post_quality_test, Runs::OnWorker, true},
    Route{"GET", "/api/quality-test", get_quality_test, Runs::OnWorker, false, kQualityQuery},
    Route{"POST", "/api/quality-test/plan", post_quality_plan, Runs::OnWorker, true},
    Route{"GET", "/api/quality-sessions", list_quality_sessions, Runs::OnWorker},
    Route{"GET", "/api/quality-proposals", list_quality_proposals, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/accept", post_quality_accept, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/pause", post_quality_pause, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/resume", post_quality_resume, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/cancel", post_quality_cancel, Runs::OnWorker},
    Route{"GET", "/api/quality-test/{sessionId}/images/{candidate}/{block}", get_quality_image,
          Runs::OnWorker, false, kSideQuery},
    Route{"GET", "/api/quality-test/{sessionId}/maps/{candidate}/{block}", get_quality_map,
          Runs::OnWorker, false, kSideQuery},
    Route{"GET", "/api/quality-test/{sessionId}/marks/{candidate}/{block}", get_quality_mark,
          Runs::OnWorker},
    Route{"GET", "/api/quality-test/{sessionId}/report", get_quality_report, Runs::OnWorker, false,
          kReportQuery},
    Route{"GET", "/api/quality-test/{sessionId}/pair", get_quality_pair, Runs::OnWorker},
    Route{"GET", "/api/quality-test/{sessionId}/pairs", list_quality_pairs, Runs::OnWorker, false,
          kPairsQuery},
    Route{"GET", "/api/quality-test/{sessionId}/ballots", list_quality_ballots, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/ballots", post_quality_ballots, Runs::OnWorker,
          true},
    Route{"GET", "/api/quality-test/{sessionId}/votes", list_quality_votes, Runs::OnWorker},
    Route{"POST", "/api/quality-test/{sessionId}/votes", post_quality_vote, Runs::OnWorker, true},
    Route{"GET", "/api/events", nullptr, Runs::AsStream, false, kEventsQuery},
    Route{"GET", "/metrics", get_metrics},
    Route{"GET", "/openapi.json", get_openapi},
};

// The parts of the path that stand for {..}; nullopt where the path is another one.
std::optional<std::vector<std::string>> params_of(std::string_view pattern, std::string_view path) {
    const auto wanted = split(pattern, '/');
    const auto given = split(path, '/');
    if (wanted.size() != given.size()) return std::nullopt;
    std::vector<std::string> params;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i].starts_with('{'))
            params.push_back(net::decode_percent(given[i]));
        else if (wanted[i] != given[i])
            return std::nullopt;
    }
    return params;
}

std::unexpected<Error> bad_field(std::string_view name, std::string_view range) {
    return fail(Errc::InvalidInput, say<"error.must_be">(name, range));
}

}  // namespace

std::span<const Route> routes() {
    return kRoutes;
}

Match match_route(std::string_view method, std::string_view path) {
    Match match;
    const std::string_view wanted = method == "HEAD" ? "GET" : method;
    for (const Route& route : kRoutes) {
        auto params = params_of(route.pattern, path);
        if (!params) continue;
        if (route.method == wanted) {
            match.route = &route;
            match.params = std::move(*params);
            return match;
        }
        match.allow += fmt::format("{}{}{}", match.allow.empty() ? "" : ", ", route.method,
                                   route.method == "GET" ? ", HEAD" : "");
    }
    return match;
}

Result<Query> Query::parse(std::string_view query, std::span<const std::string_view> known) {
    Query parsed;
    parsed.fields_ = net::parse_query(query);
    std::vector<std::string> names(known.begin(), known.end());
    for (std::size_t i = 0; i < parsed.fields_.size(); ++i) {
        const net::QueryField& field = parsed.fields_[i];
        if (!is_utf8(field.name) || !is_utf8(field.value))
            return fail(Errc::InvalidInput, "the query is not UTF-8");
        if (std::ranges::find(known, field.name) == known.end())
            return fail(
                Errc::InvalidInput,
                fmt::format("'{}' is no field of this query; there {}: {}",
                            field.name.substr(0, 64), names.size() == 1 ? "is" : "are",
                            names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
        for (std::size_t j = 0; j < i; ++j)
            if (parsed.fields_[j].name == field.name)
                return bad_field(field.name, "there once only");
    }
    return parsed;
}

std::optional<std::string> Query::text(std::string_view name) const {
    for (const net::QueryField& field : fields_)
        if (field.name == name) return field.value;
    return std::nullopt;
}

Result<std::optional<std::string>> Query::text(std::string_view name, std::size_t least,
                                               std::size_t most) const {
    auto value = text(name);
    if (!value) return value;
    const auto length = static_cast<std::size_t>(std::ranges::count_if(
        *value, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
    if (length < least || length > most)
        return bad_field(name, fmt::format("text of {} to {} characters", least, most));
    return value;
}

Result<std::optional<std::int64_t>> Query::whole(std::string_view name, std::int64_t least,
                                                 std::int64_t most) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto number = parse_integer(*value);
    if (!number || *number < least || *number > most)
        return bad_field(name, fmt::format("a whole number from {} to {}", least, most));
    return *number;
}

Result<std::optional<double>> Query::number(std::string_view name, double least,
                                            double most) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto number = parse_number(*value);
    if (!number || !(*number >= least && *number <= most))
        return bad_field(name, fmt::format("a number from {} to {}", least, most));
    return *number;
}

Result<std::optional<std::string>> Query::word(
    std::string_view name, std::initializer_list<std::string_view> words) const {
    auto value = text(name);
    if (!value) return value;
    if (std::ranges::find(words, *value) == words.end())
        return bad_field(name, fmt::format("one of {}", fmt::join(words, ", ")));
    return value;
}

}  // namespace plimsoll::api
