// SPDX-License-Identifier: Apache-2.0
#include "gateway/route.h"

#include <cstddef>
#include <vector>

namespace plimsoll::gateway {

namespace {

constexpr std::size_t kSegmentsMax = 4;  // /api/jobs/{id}/cancel

// The decoded segments of the path; empty where it is none of ours.
std::vector<std::string> segments_of(std::string_view target) {
    // The absolute form, which proxies may be sent (RFC 9112, section 3.2.2).
    if (target.starts_with("http://")) {
        const auto slash = target.find('/', 7);
        if (slash == std::string_view::npos) return {};
        target.remove_prefix(slash);
    }
    const std::string_view path = target.substr(0, target.find_first_of("?#"));
    std::vector<std::string> segments;
    if (!path.starts_with('/')) return segments;
    for (std::size_t at = 1; at <= path.size();) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        if (segments.size() == kSegmentsMax) return {};
        segments.push_back(net::decode_percent(path.substr(at, end - at)));
        at = end + 1;
    }
    return segments;
}

MatchedRoute match_job(bool is_post, const std::vector<std::string>& rest) {
    if (!is_post) {
        if (rest.empty()) return {Route::Jobs, {}};
        if (rest.size() == 1 && !rest[0].empty()) return {Route::Job, rest[0]};
        return {};
    }
    if (rest.size() == 1 && rest[0] == "cancel") return {Route::CancelJobs, {}};
    if (rest.size() == 2 && !rest[0].empty() && rest[1] == "cancel")
        return {Route::CancelJob, rest[0]};
    return {};
}

}  // namespace

MatchedRoute match_route(std::string_view method, std::string_view target) {
    const bool is_post = method == "POST";
    if (!is_post && method != "GET") return {};
    std::vector<std::string> segments = segments_of(target);
    const bool below_api = !segments.empty() && segments[0] == "api";
    if (below_api) segments.erase(segments.begin());
    if (segments.empty()) return {};
    const std::string name = segments[0];
    segments.erase(segments.begin());
    if (name == "jobs" && below_api) return match_job(is_post, segments);
    if (name == "history" && !is_post && segments.size() == 1 && !segments[0].empty())
        return {Route::HistoryItem, segments[0]};
    if (!segments.empty()) return {};
    if (name == "prompt") return {is_post ? Route::PostPrompt : Route::GetPrompt, {}};
    if (name == "queue") return {is_post ? Route::PostQueue : Route::GetQueue, {}};
    if (name == "history") return {is_post ? Route::PostHistory : Route::GetHistory, {}};
    if (name == "interrupt" && is_post) return {Route::Interrupt, {}};
    if (name == "free" && is_post) return {Route::Free, {}};
    return {};
}

}  // namespace plimsoll::gateway
