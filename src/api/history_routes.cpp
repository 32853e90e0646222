// SPDX-License-Identifier: Apache-2.0
//
// What was run, and numbers of it.
#include "api/app.h"
#include "api/picture.h"
#include "api/routes.h"
#include "base/text.h"
#include "service/trends.h"
#include "wire/encode.h"
#include "wire/encode_daemon.h"
#include "wire/encode_history.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

namespace plimsoll::api {

namespace {

constexpr int kExportRuns = 200;  // chosen: about 300 KiB, a few milliseconds
constexpr std::int64_t kMsMax = std::numeric_limits<std::int64_t>::max();

Result<history::RunFilter> read_filter(const Query& query) {
    history::RunFilter filter;
    TRY_ASSIGN(filter.model, query.text("model", 0, 512));
    TRY_ASSIGN(filter.family, query.text("family", 0, 64));
    TRY_ASSIGN(filter.card, query.text("card", 0, 200));
    TRY_ASSIGN(filter.text, query.text("text", 0, 200));
    TRY_ASSIGN(filter.since_ms, query.whole("sinceMs", 0, kMsMax));
    TRY_ASSIGN(filter.before_ms, query.whole("beforeMs", 0, kMsMax));
    TRY_ASSIGN(const auto outcome,
               query.word("outcome", {"running", "done", "out_of_memory", "failed", "cancelled",
                                      "timed_out", "lost"}));
    if (outcome) filter.outcome = history::parse_outcome(*outcome);
    TRY_ASSIGN(filter.verdict,
               query.word("verdict", {"fits", "fits_slowly", "will_not_fit", "unknown"}));
    return filter;
}

Result<history::Page> read_page(const Query& query) {
    history::Page page;
    TRY_ASSIGN(const auto limit, query.whole("limit", 1, history::kPageRunsMax));
    TRY_ASSIGN(page.cursor, query.whole("cursor", 0, kMsMax));
    TRY_ASSIGN(const auto sort, query.word("sort", {"newest", "oldest"}));
    page.limit = static_cast<int>(limit.value_or(page.limit));
    if (sort == "oldest") page.order = history::Order::OldestFirst;
    return page;
}

history::StatsBy dimension_of(std::string_view name) {
    if (name == "card") return history::StatsBy::Card;
    return name == "day" ? history::StatsBy::Day : history::StatsBy::Model;
}

}  // namespace

Answer list_history(Call& call) {
    const auto filter = read_filter(call.query);
    if (!filter) return answer_error(filter.error());
    const auto page = read_page(call.query);
    if (!page) return answer_error(page.error());
    return call.app.with_history([&](history::Store& store) {
        const auto runs = store.list_runs(*filter, *page);
        return runs ? answer_json(wire::encode_history(*runs)) : answer_error(runs.error());
    });
}

Answer get_trends(Call& call) {
    const auto filter = read_filter(call.query);
    if (!filter) return answer_error(filter.error());
    const auto by = call.query.word("by", {"model", "card", "day"});
    if (!by) return answer_error(by.error());
    const std::string name = by->value_or("day");
    const auto dimension = dimension_of(name);
    return call.app.with_history([&](history::Store& store) {
        const auto trends = service::trends_of(store, *filter, dimension);
        return trends ? answer_json(wire::encode_trends(name, *trends))
                      : answer_error(trends.error());
    });
}

Answer get_comparison(Call& call) {
    std::array<std::string, 2> ids;
    for (const auto& [name, id] : {std::pair("left", &ids[0]), std::pair("right", &ids[1])}) {
        const auto given = call.query.text(name, 1, 64);
        if (!given) return answer_error(given.error());
        if (!*given)
            return answer_error({Errc::InvalidInput, fmt::format("{} is missing", name)},
                                json::object{{"field", name}});
        *id = **given;
    }
    return call.app.with_history([&](history::Store& store) {
        const auto left = store.read_run(ids[0]);
        if (!left) return answer_error(left.error());
        const auto right = store.read_run(ids[1]);
        if (!right) return answer_error(right.error());
        return answer_json(wire::encode_comparison(*left, *right));
    });
}

Result<Export> Export::create(const Query& query) {
    Export wish;
    TRY_ASSIGN(wish.filter_, read_filter(query));
    TRY_ASSIGN(const auto format, query.word("format", {"csv", "jsonl"}));
    wish.is_csv_ = format == "csv";
    wish.page_ = {
        .limit = kExportRuns, .cursor = std::nullopt, .order = history::Order::OldestFirst};
    return wish;
}

net::Headers Export::headers() const {
    return {{"Content-Type", is_csv_ ? "text/csv; charset=utf-8" : "application/jsonl"},
            {"Content-Disposition", fmt::format("attachment; filename=\"plimsoll-history.{}\"",
                                                is_csv_ ? "csv" : "jsonl")}};
}

Result<std::string> Export::next(history::Store& store) {
    if (has_ended_) return std::string();
    TRY_ASSIGN(const history::RunPage page, store.list_runs(filter_, page_));
    std::string part;
    if (!std::exchange(has_begun_, true) && is_csv_) part = wire::csv_head();
    for (const history::RunRecord& run : page.runs)
        part += is_csv_ ? wire::csv_line(run) : wire::json_line(run);
    page_.cursor = page.next;
    has_ended_ = !page.next;
    return part;
}

Answer get_run(Call& call) {
    return call.app.with_history([&](history::Store& store) {
        const auto run = store.read_run(call.params.front());
        return run ? answer_json(wire::encode_run(*run)) : answer_error(run.error());
    });
}

Answer get_run_image(Call& call) {
    const auto index = parse_integer(call.params.at(1));
    if (!index || *index < 0 || *index > 999)
        return answer_error({Errc::InvalidInput, "the picture's number must be from 0 to 999"});
    std::filesystem::path path;
    Answer answer = call.app.with_history([&](history::Store& store) {
        const auto run = store.read_run(call.params.front());
        if (!run) return answer_error(run.error());
        if (static_cast<std::size_t>(*index) >= run->images.size())
            return answer_error({Errc::NotFound, "the run has no picture of that number"});
        path = run->images[static_cast<std::size_t>(*index)];
        return Answer();
    });
    return path.empty() ? answer : answer_picture_file(path);
}

Answer get_stats(Call& call) {
    const auto filter = read_filter(call.query);
    if (!filter) return answer_error(filter.error());
    const auto by = call.query.word("by", {"model", "card", "day"});
    if (!by) return answer_error(by.error());
    const std::string name = by->value_or("model");
    const auto dimension = dimension_of(name);
    return call.app.with_history([&](history::Store& store) {
        const auto total = store.stats_of(*filter, history::StatsBy::All);
        if (!total) return answer_error(total.error());
        const auto groups = store.stats_of(*filter, dimension);
        if (!groups) return answer_error(groups.error());
        const bool newest_only = filter->text && total->at(0).runs >= history::kSummedByWordsMax;
        return answer_json(wire::encode_stats(total->at(0), name, *groups, newest_only));
    });
}

}  // namespace plimsoll::api
