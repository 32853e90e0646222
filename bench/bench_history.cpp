// SPDX-License-Identifier: Apache-2.0
//
// The history at scale: makes the runs (a million unless the command line names another number; ten
// take a core a quarter of an hour) in a temporary folder, then asks for every view of the History
// page and for best settings, as the daemon does: one store, SQLite's own small cache, pages of 200
// runs as the web page takes them. Each view is asked several times, each time about something
// else; the slowest counts. Times are those of one core (CPU time of the thread), so that a busy
// machine does not change them; the clock on the wall, in which reading from disk counts, stands
// beside. The yardstick: one row by its primary key.
//
// A bound that is missed ends it with EXIT_FAILURE. It needs about 1.4 KiB of disk for each run,
// which it gives back; only a file that is named is kept, and asked again the next time.
#include "advisor/reference_job.h"
#include "advisor/resource_manager.h"
#include "history/sqlite_store.h"
#include "made_runs.h"
#include "service/pace.h"
#include "service/past_runs.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace plimsoll::bench {
namespace {

using history::Outcome;
using history::RunFilter;
using history::SqliteStore;
using history::StatsBy;

constexpr std::int64_t kRuns = 1'000'000;
constexpr double kBytesARun = 1450;     // measured, with everything beside the runs
constexpr int kAsked = 15;              // chosen: enough for a median and a worst
constexpr int kPage = 200;              // runs on a page of web/src/views/HistoryView.vue
constexpr double kViewSeconds = 0.100;  // the bounds that are promised
constexpr double kBestSeconds = 0.005;

struct Times {
    double core = 0;  // seconds that the thread has computed
    double wall = 0;
};

double now_of(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Times times_of(const std::function<void()>& work) {
    const Times begin{now_of(CLOCK_THREAD_CPUTIME_ID), now_of(CLOCK_MONOTONIC)};
    work();
    return {now_of(CLOCK_THREAD_CPUTIME_ID) - begin.core, now_of(CLOCK_MONOTONIC) - begin.wall};
}

double median_of(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

template <class T>
T must(Result<T> result) {
    if (result) return std::move(*result);
    std::fprintf(stderr, "bench_history: %s\n", result.error().message.c_str());
    std::exit(EXIT_FAILURE);
}

class Bench {
  public:
    Bench(std::filesystem::path file, std::int64_t runs) : file_(std::move(file)), runs_(runs) {}

    void make() {
        auto store = must(SqliteStore::create(
            file_, {.durability = history::Durability::None, .cache_mib = 1024}));
        RunMaker maker(runs_);
        std::vector<history::RunRecord> batch;
        constexpr std::int64_t kBatch = 50'000;  // chosen: words of a transaction wait in memory
        const Times times = times_of([&] {
            for (std::int64_t made = 0; made < runs_; made += kBatch) {
                batch.clear();
                for (std::int64_t i = made; i < std::min(runs_, made + kBatch); ++i)
                    batch.push_back(maker.next());
                if (const auto recorded = store->record_runs(batch); !recorded) {
                    std::fprintf(stderr, "bench_history: %s\n", recorded.error().message.c_str());
                    std::exit(EXIT_FAILURE);
                }
                if (made % 1'000'000 == 0 && made > 0) {
                    std::printf("        %lld runs\n", static_cast<long long>(made));
                    std::fflush(stdout);
                }
            }
        });
        store.reset();
        std::printf("made    %lld runs in %.0f s, %.1f us of a core each; the file has %.2f GiB\n",
                    static_cast<long long>(runs_), times.wall,
                    1e6 * times.core / static_cast<double>(runs_),
                    static_cast<double>(std::filesystem::file_size(file_)) / 0x1p30);
        std::fflush(stdout);
    }

    bool ask() {
        store_ = must(SqliteStore::create(file_));
        find_yard();
        ask_lists();
        ask_words();
        ask_runs();
        ask_stats();
        ask_paces();
        ask_best();
        return all_met_;
    }

  private:
    // One row by its primary key, with nothing of ours around it.
    void find_yard() {
        SQLite::Database database(file_.string(), SQLite::OPEN_READONLY);
        SQLite::Statement select(database, "SELECT * FROM runs WHERE id = ?");
        std::vector<double> times;
        for (int i = 0; i < 200; ++i)
            times.push_back(times_of([&] {
                                select.reset();
                                select.bind(1, 1 + (runs_ - 1) * i / 200);
                                select.executeStep();
                            }).core);
        yard_seconds_ = median_of(times);
        std::printf("yard    one row by its primary key %19.3f ms\n", yard_seconds_ * 1e3);
    }

    void judge(const std::string& name, double bound, const std::function<std::size_t(int)>& ask) {
        std::vector<double> core;
        std::vector<double> wall;
        std::size_t rows = 0;
        for (int i = 0; i < kAsked; ++i) {
            const Times times = times_of([&] { rows = ask(i); });
            core.push_back(times.core);
            wall.push_back(times.wall);
        }
        const double worst = std::ranges::max(core);
        const bool met = worst < bound;
        all_met_ = all_met_ && met;
        std::printf(
            "%-7s %-40s %8.3f ms, worst %8.3f < %g ms, %7.1f x yard, wall %8.3f ms, %zu rows\n",
            met ? "met" : "MISSED", name.c_str(), median_of(core) * 1e3, worst * 1e3, bound * 1e3,
            median_of(core) / yard_seconds_, median_of(wall) * 1e3, rows);
        std::fflush(stdout);
    }

    std::size_t page(const RunFilter& filter, std::optional<std::int64_t> cursor = std::nullopt) {
        return must(store_->list_runs(filter, {.limit = kPage, .cursor = cursor})).runs.size();
    }

    [[nodiscard]] static std::int64_t moment(int i) { return kFirstMs + kSpanMs * (i + 1) / 20; }

    void ask_lists() {
        const auto list = [&](const char* name, const std::function<RunFilter(int)>& filter) {
            judge(name, kViewSeconds, [&](int i) { return page(filter(i)); });
        };
        list("list, newest", [](int) { return RunFilter(); });
        judge("list, deep inside", kViewSeconds,
              [&](int i) { return page({}, runs_ * (i + 1) / 17); });
        list("list, a model", [](int i) { return RunFilter{.model = made_model(i)}; });
        list("list, a card of long ago", [](int) { return RunFilter{.card = made_card(0)}; });
        list("list, out of memory", [](int) { return RunFilter{.outcome = Outcome::OutOfMemory}; });
        list("list, lost (1 in 10 000)", [](int) { return RunFilter{.outcome = Outcome::Lost}; });
        list("list, a verdict", [](int) { return RunFilter{.verdict = "fits"}; });
        list("list, model, card, outcome, verdict", [](int i) {
            return RunFilter{.model = made_model(23 - i),
                             .card = made_card(i % 3),
                             .outcome = Outcome::Failed,
                             .verdict = "fits_slowly"};
        });
        list("list, a model before a date",
             [](int i) { return RunFilter{.model = made_model(i), .before_ms = moment(i)}; });
        list("list, what no run has",
             [](int) { return RunFilter{.card = made_card(2), .outcome = Outcome::TimedOut}; });
    }

    void ask_words() {
        const auto list = [&](const char* name, const std::function<RunFilter(int)>& filter) {
            judge(name, kViewSeconds, [&](int i) { return page(filter(i)); });
        };
        list("words, common", [](int i) { return RunFilter{.text = made_word(i)}; });
        list("words, rare", [](int i) { return RunFilter{.text = made_word(19'000 + i)}; });
        list("words, common and rare",
             [](int i) { return RunFilter{.text = made_word(i) + " " + made_word(9'000 + i)}; });
        list("words, a model, out of memory", [](int i) {
            return RunFilter{
                .model = made_model(i), .outcome = Outcome::OutOfMemory, .text = made_word(10 + i)};
        });
        list("words, before a date",
             [](int i) { return RunFilter{.before_ms = moment(i), .text = made_word(100 + i)}; });
        list("words that no prompt has", [](int) { return RunFilter{.text = "nowhere"}; });
    }

    void ask_runs() {
        const auto ids = must(store_->list_runs({}, {.limit = 2 * kAsked})).runs;
        judge("compare two runs", kViewSeconds, [&](int i) {
            const auto at = static_cast<std::size_t>(2 * i);
            (void)must(store_->read_run(ids[at].run_id));
            (void)must(store_->read_run(ids[at + 1].run_id.substr(0, 20)));
            return std::size_t{2};
        });
    }

    void ask_stats() {
        const auto stats = [&](const char* name, StatsBy by,
                               const std::function<RunFilter(int)>& filter) {
            // As GET /api/stats: the total, too.
            judge(name, kViewSeconds, [&](int i) {
                (void)must(store_->stats_of(filter(i), StatsBy::All));
                return must(store_->stats_of(filter(i), by)).size();
            });
        };
        const auto all = [](int) { return RunFilter(); };
        stats("stats by model", StatsBy::Model, all);
        stats("stats by card", StatsBy::Card, all);
        stats("stats by day", StatsBy::Day, all);
        stats("stats by day, a model", StatsBy::Day,
              [](int i) { return RunFilter{.model = made_model(i)}; });
        stats("stats by model, a card", StatsBy::Model,
              [](int i) { return RunFilter{.card = made_card(i % 3)}; });
        stats("stats by model, done, a part of days", StatsBy::Model, [](int i) {
            return RunFilter{.outcome = Outcome::Done,
                             .since_ms = moment(i) + 40'000'000,
                             .before_ms = moment(i) + 30 * 86'400'000LL};
        });
        // Words have no summaries: a bounded number of runs is added up.
        stats("stats by day, a common word", StatsBy::Day,
              [](int i) { return RunFilter{.text = made_word(i)}; });
        stats("stats by model, two words", StatsBy::Model,
              [](int i) { return RunFilter{.text = made_word(i) + " " + made_word(9'000 + i)}; });
        stats("stats by day, a word, before a date", StatsBy::Day,
              [](int i) { return RunFilter{.before_ms = moment(i), .text = made_word(100 + i)}; });
        judge("count", kViewSeconds, [&](int i) {
            return static_cast<std::size_t>(
                must(store_->count_runs({.model = made_model(i), .outcome = Outcome::Done})));
        });
    }

    // What a forecast's seconds are learned from, once after each run that is recorded.
    void ask_paces() {
        std::vector<std::string> cards;
        for (const auto& card : must(store_->stats_of({}, StatsBy::Card)))
            cards.push_back(card.key);
        judge("paces of a card", kBestSeconds, [&](int i) {
            const std::string& card = cards[static_cast<std::size_t>(i) % cards.size()];
            (void)must(service::read_paces(*store_, card));
            return timing::kPaceRunsMax;
        });
    }

    void ask_best() {
        const auto profiles = advisor::builtin_profiles();
        judge("best settings, from the summaries", kBestSeconds, [&](int) {
            return must(service::past_runs_of(*store_, "sdxl-base", profiles)).size();
        });
        const advisor::Surroundings around = advisor::reference_surroundings();
        const advisor::ResourceManager manager(
            {.forecaster = advisor::make_forecaster(around),
             .budget = {},
             .profiles = {profiles.begin(), profiles.end()},
             .history = [&](std::string_view model) {
                 return must(service::past_runs_of(*store_, model, profiles));
             }});
        (void)manager.get_best_settings("sdxl-base", 0);  // the networks are built once
        judge("best settings, forecast and all", kBestSeconds, [&](int i) {
            const auto best = manager.get_best_settings("sdxl-base", 0.25 * (i % 3));
            return best && *best ? std::size_t{1} : std::size_t{0};
        });
    }

    std::filesystem::path file_;
    std::int64_t runs_;
    std::unique_ptr<SqliteStore> store_;
    double yard_seconds_ = 1;
    bool all_met_ = true;
};

// Gone at the end, whatever happens.
class Folder {
  public:
    Folder() {
        std::string name =
            (std::filesystem::temp_directory_path() / "plimsoll_bench_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~Folder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

int run(std::int64_t runs, const char* kept) {
    if (kept != nullptr) {
        Bench bench(kept, runs);
        if (!std::filesystem::exists(kept)) bench.make();
        return bench.ask() ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    const Folder folder;
    const auto space = std::filesystem::space(folder.path());
    if (static_cast<double>(space.available) < 1.2 * kBytesARun * static_cast<double>(runs)) {
        std::fprintf(stderr, "bench_history: %s has not the %.1f GiB that are needed\n",
                     folder.path().c_str(), 1.2 * kBytesARun * static_cast<double>(runs) / 0x1p30);
        return EXIT_FAILURE;
    }
    Bench bench(folder.path() / "history.db", runs);
    bench.make();
    return bench.ask() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    const long long runs = argc > 1 ? std::atoll(argv[1]) : plimsoll::bench::kRuns;
    if (runs < 1) {
        std::fprintf(stderr, "usage: bench_history [RUNS [FILE, which is kept]]\n");
        return 2;
    }
    return plimsoll::bench::run(runs, argc > 2 ? argv[2] : nullptr);
}
