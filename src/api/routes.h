// SPDX-License-Identifier: Apache-2.0
//
// The table of routes: one line each, as in docs/openapi.yaml. A route is a function from a Call to
// an Answer.
//
// Enters through: Call.   Leaves through: Answer.   Threads: routes run on any thread.
#pragma once
#include "api/answer.h"
#include "history/store.h"
#include "net/http_message.h"

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::api {

class App;

// The fields of a query, each at most once and known; nothing is left unsaid.
class Query {
  public:
    // InvalidInput for a field that is not in `known`, or is there twice.
    [[nodiscard]] static Result<Query> parse(std::string_view query,
                                             std::span<const std::string_view> known);

    [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
    // nullopt where it is not there; InvalidInput names the field and the range.
    [[nodiscard]] Result<std::optional<std::string>> text(std::string_view name, std::size_t least,
                                                          std::size_t most) const;
    [[nodiscard]] Result<std::optional<std::int64_t>> whole(std::string_view name,
                                                            std::int64_t least,
                                                            std::int64_t most) const;
    [[nodiscard]] Result<std::optional<double>> number(std::string_view name, double least,
                                                       double most) const;
    [[nodiscard]] Result<std::optional<std::string>> word(
        std::string_view name, std::initializer_list<std::string_view> words) const;

  private:
    std::vector<net::QueryField> fields_;
};

struct Call {
    App& app;
    const net::RequestHead& head;
    std::string body;
    std::vector<std::string> params;  // what stands for {..} in the path, decoded
    Query query;
};

enum class Runs : std::uint8_t { Here, OnWorker, AsStream, AsExport };

struct Route {
    std::string_view method;
    std::string_view pattern;  // "/api/jobs/{jobId}"
    Answer (*answer)(Call&);
    Runs runs = Runs::Here;
    bool takes_body = false;
    std::span<const std::string_view> query = {};  // its fields
};

[[nodiscard]] std::span<const Route> routes();

struct Match {
    const Route* route = nullptr;  // nullptr: no such path, or `allow` says which methods
    std::string allow;             // of the path, where it takes other methods only
    std::vector<std::string> params;
};
[[nodiscard]] Match match_route(std::string_view method, std::string_view path);

// Each file's part of the table.
Answer get_health(Call& call);
Answer get_doctor(Call& call);
Answer get_metrics(Call& call);
Answer get_openapi(Call& call);
Answer list_devices(Call& call);
Answer list_cards(Call& call);
Answer list_models(Call& call);
Answer post_forecast(Call& call);
Answer post_plan(Call& call);
Answer post_largest(Call& call);
Answer post_optimal(Call& call);
Answer post_check(Call& call);
Answer post_summary(Call& call);
Answer post_score(Call& call);
Answer get_best(Call& call);
Answer list_presets(Call& call);
Answer get_preset(Call& call);
Answer put_preset(Call& call);
Answer delete_preset(Call& call);
Answer list_history(Call& call);
Answer get_trends(Call& call);
Answer get_comparison(Call& call);
Answer get_run(Call& call);
Answer get_run_image(Call& call);
Answer get_stats(Call& call);
Answer post_generate(Call& call);
Answer list_jobs(Call& call);
Answer get_job(Call& call);
Answer delete_job(Call& call);
Answer get_job_image(Call& call);
Answer get_job_preview(Call& call);
Answer get_gateway(Call& call);
Answer pause_gateway(Call& call);
Answer resume_gateway(Call& call);
Answer get_held_job(Call& call);
Answer patch_held_job(Call& call);
Answer delete_held_job(Call& call);
Answer run_held_job_anyway(Call& call);
Answer post_quality_test(Call& call);
Answer get_quality_test(Call& call);
Answer list_quality_sessions(Call& call);
Answer post_quality_pause(Call& call);
Answer post_quality_resume(Call& call);
Answer post_quality_cancel(Call& call);
Answer post_quality_plan(Call& call);
Answer list_quality_proposals(Call& call);
Answer post_quality_accept(Call& call);
Answer get_quality_image(Call& call);
Answer get_quality_map(Call& call);
Answer get_quality_mark(Call& call);
Answer get_quality_report(Call& call);
Answer list_quality_pairs(Call& call);
Answer list_quality_ballots(Call& call);
Answer post_quality_ballots(Call& call);
Answer get_quality_pair(Call& call);
Answer list_quality_votes(Call& call);
Answer post_quality_vote(Call& call);

// All runs that a filter finds, a part at a time: oldest first, as CSV or as lines of JSON.
class Export {
  public:
    // InvalidInput as for lists.
    [[nodiscard]] static Result<Export> create(const Query& query);
    [[nodiscard]] net::Headers headers() const;
    // The next part; empty at the end. As many runs as make some hundred KiB.
    [[nodiscard]] Result<std::string> next(history::Store& store);

  private:
    history::RunFilter filter_;
    history::Page page_;
    bool is_csv_ = false;
    bool has_begun_ = false;
    bool has_ended_ = false;
};

}  // namespace plimsoll::api
