// SPDX-License-Identifier: Apache-2.0
//
// Goal: both Stores keep the same promises. Method: every test runs on the double and on a file.
#include "history/store.h"

#include "history/sqlite_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <tuple>

namespace plimsoll::history {
namespace {

RunRecord sample_run(const std::string& id, std::int64_t started_ms) {
    RunRecord run;
    run.run_id = id;
    run.started_ms = started_ms;
    run.ended_ms = started_ms + 42'500;
    run.prompt_id = "5b0a3c1e-0000-4000-8000-000000000001";
    run.prompt = "a dragon's \"egg\"; DROP TABLE runs; -- \xF0\x9F\x90\x89";
    run.model = "sdxl-base";
    run.checkpoint = "sd_xl_base_1.0.safetensors";
    run.family = "sdxl";
    run.settings = {.width = 1024,
                    .height = 768,
                    .batch = 2,
                    .steps = 30,
                    .cfg = 6.5,
                    .sampler = "dpmpp_2m",
                    .scheduler = "karras",
                    .quality = "high",
                    .seed = "18446744073709551615"};
    run.card = "NVIDIA GeForce RTX 3050 6GB";
    run.comfyui_version = "0.3.64";
    run.verdict = "fits_slowly";
    run.load_line = Bytes::from_mib(4352);
    run.forecast_peak = Bytes::from_mib(4100.5);
    run.forecast_seconds = 61.25;
    run.observed_peak = Bytes::from_mib(4090);
    run.observed_used = Bytes::from_mib(4800);
    run.card_total = Bytes::from_mib(6144);
    run.observed_seconds = 58.5;
    run.phases = {{"text_encode", "6", Bytes(1'800'000'000), 0.4, Bytes(1'790'000'000), 0.5},
                  {"vae_decode", "8", Bytes(4'000'000'000), 2.5, std::nullopt, std::nullopt, 1.25,
                   0.125, 2.75}};
    run.changes = {{"vae", "whole", "tiles of 512", Bytes(900'000'000), 1.5}};
    run.images = {"/out/ComfyUI_00001_.png"};
    run.outcome = Outcome::OutOfMemory;
    run.error = "node 8: allocation on device";
    return run;
}

class EveryStore : public testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        if (!GetParam()) {
            store_ = std::make_unique<MemoryStore>();
            return;
        }
        folder_ = testing::TempDir() + "/plimsoll_store_" +
                  testing::UnitTest::GetInstance()->current_test_info()->name() +
                  std::to_string(::getpid());
        std::replace(folder_.begin() + 1, folder_.end(), ' ', '_');
        std::filesystem::remove_all(folder_);
        auto opened = SqliteStore::create(std::filesystem::path(folder_) / "history.db");
        ASSERT_TRUE(opened) << opened.error().message;
        store_ = std::move(*opened);
    }
    void TearDown() override {
        store_.reset();
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }
    Store& store() { return *store_; }

  private:
    std::unique_ptr<Store> store_;
    std::string folder_;
};
INSTANTIATE_TEST_SUITE_P(MemoryAndSqlite, EveryStore, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Sqlite" : "Memory"; });

TEST_P(EveryStore, gives_back_every_field_of_a_run) {
    const RunRecord run = sample_run("run-1", 1000);
    ASSERT_TRUE(store().record_run(run));
    const auto read = store().read_run("run-1");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, run);
}

TEST_P(EveryStore, finds_a_run_by_the_beginning_of_its_id_unless_two_begin_so) {
    ASSERT_TRUE(store().record_run(sample_run("abc-1", 1)));
    ASSERT_TRUE(store().record_run(sample_run("abd-2", 2)));
    EXPECT_EQ(store().read_run("abc").value().run_id, "abc-1");
    EXPECT_EQ(store().read_run("ab").error().code, Errc::InvalidInput);
    EXPECT_EQ(store().read_run("a%").error().code, Errc::NotFound);
    EXPECT_EQ(store().read_run("").error().code, Errc::NotFound);
}

TEST_P(EveryStore, a_run_written_again_replaces_itself_and_keeps_its_place) {
    RunRecord first = sample_run("first", 5);
    first.outcome = Outcome::Running;
    first.observed_peak.reset();
    first.observed_used.reset();
    ASSERT_TRUE(store().record_run(first));
    ASSERT_TRUE(store().record_run(sample_run("second", 5)));
    ASSERT_TRUE(store().record_run(sample_run("first", 5)));
    const auto page = store().list_runs({}, {}).value();
    ASSERT_EQ(page.runs.size(), 2U);
    EXPECT_EQ(page.runs[0].run_id, "second");
    EXPECT_EQ(page.runs[1], sample_run("first", 5));
}

TEST_P(EveryStore, pages_show_every_run_once_newest_first) {
    // 25 runs, several with the same start, in pages of 4.
    for (int i = 0; i < 25; ++i)
        ASSERT_TRUE(store().record_run(sample_run(fmt::format("r{}", i), 100 + i / 3)));
    std::vector<std::string> seen;
    Page page{.limit = 4, .cursor = std::nullopt};
    std::int64_t last_start = 1'000'000;
    do {
        const auto answer = store().list_runs({}, page).value();
        ASSERT_FALSE(answer.runs.empty());
        for (const RunRecord& run : answer.runs) {
            EXPECT_LE(run.started_ms, last_start);
            last_start = run.started_ms;
            seen.push_back(run.run_id);
        }
        page.cursor = answer.next;
    } while (page.cursor);
    ASSERT_EQ(seen.size(), 25U);
    for (int i = 0; i < 25; ++i)
        EXPECT_EQ(seen[static_cast<std::size_t>(i)], fmt::format("r{}", 24 - i));
}

TEST_P(EveryStore, filters_combine_and_pages_keep_them) {
    for (int i = 0; i < 12; ++i) {
        RunRecord run = sample_run(fmt::format("r{}", i), 100 + i);
        if (i % 2 == 0) run.model = "anime-sprite";
        if (i % 3 == 0) run.outcome = Outcome::Done;
        ASSERT_TRUE(store().record_run(run));
    }
    RunFilter filter{.model = "anime-sprite"};
    EXPECT_EQ(store().count_runs(filter).value(), 6);
    const auto first = store().list_runs(filter, {.limit = 4}).value();
    ASSERT_TRUE(first.next);
    const auto rest = store().list_runs(filter, {.limit = 4, .cursor = first.next}).value();
    EXPECT_EQ(rest.runs.size(), 2U);
    EXPECT_EQ(rest.runs.back().run_id, "r0");
    filter.outcome = Outcome::Done;
    EXPECT_EQ(store().count_runs(filter).value(), 2);  // 0 and 6
    filter.since_ms = 101;
    EXPECT_EQ(store().list_runs(filter, {}).value().runs.at(0).run_id, "r6");
    filter.before_ms = 106;
    EXPECT_TRUE(store().list_runs(filter, {}).value().runs.empty());
    EXPECT_EQ(store().count_runs({.family = "sd15"}).value(), 0);
    EXPECT_EQ(store().count_runs({.card = "NVIDIA GeForce RTX 3050 6GB"}).value(), 12);
}

TEST_P(EveryStore, refuses_a_page_size_out_of_range_and_names_the_range) {
    for (const int limit : {0, -1, kPageRunsMax + 1}) {
        const auto page = store().list_runs({}, {.limit = limit});
        ASSERT_FALSE(page);
        EXPECT_EQ(page.error().message, fmt::format("limit {} is outside 1 to 1000", limit));
    }
}

TEST_P(EveryStore, presets_are_saved_replaced_listed_and_removed) {
    ASSERT_TRUE(store().save_preset({"portrait fast", R"({"steps":12})", 7}));
    ASSERT_TRUE(store().save_preset({"big", R"({"width":1536})", 8}));
    ASSERT_TRUE(store().save_preset({"portrait fast", R"({"steps":14})", 9}));
    EXPECT_EQ(store().load_preset("portrait fast").value(),
              (Preset{"portrait fast", R"({"steps":14})", 9}));
    const auto presets = store().list_presets().value();
    ASSERT_EQ(presets.size(), 2U);
    EXPECT_EQ(presets[0].name, "big");
    ASSERT_TRUE(store().remove_preset("big"));
    EXPECT_EQ(store().list_presets().value().size(), 1U);
}

TEST_P(EveryStore, an_unknown_preset_names_the_nearest_ones) {
    EXPECT_EQ(store().load_preset("x").error().message,
              "no preset 'x': none is saved yet, see plimsoll presets save");
    ASSERT_TRUE(store().save_preset({"portrait", "{}", 1}));
    EXPECT_EQ(store().load_preset("portrat").error().message,
              "no preset 'portrat'; saved are: portrait");
    EXPECT_EQ(store().remove_preset("portrat").error().code, Errc::NotFound);
    EXPECT_EQ(store().list_presets().value().size(), 1U);
}

TEST_P(EveryStore, refuses_presets_with_bad_names_or_settings) {
    const std::string good = "{}";
    for (const std::string& name :
         {std::string(), std::string("../up"), std::string(".hidden"), std::string("a/b"),
          std::string("end "), std::string("new\nline"), std::string(65, 'a'),
          std::string("a\0b", 3)}) {
        const auto saved = store().save_preset({name, good, 1});
        ASSERT_FALSE(saved) << name;
        EXPECT_EQ(saved.error().code, Errc::InvalidInput);
    }
    EXPECT_TRUE(store().save_preset({std::string(64, 'a'), good, 1}));
    EXPECT_EQ(store().save_preset({"list", "[]", 1}).error().code, Errc::InvalidInput);
    EXPECT_EQ(store().save_preset({"broken", "{", 1}).error().code, Errc::Corrupt);
    EXPECT_EQ(store()
                  .save_preset({"huge", R"({"a":")" + std::string(kPresetBytesMax, 'x') + "\"}", 1})
                  .error()
                  .code,
              Errc::LimitExceeded);
    EXPECT_EQ(store().list_presets().value().size(), 1U);
}

TEST_P(EveryStore, pages_lead_from_the_oldest_too_and_show_every_run_once) {
    for (int i = 0; i < 5; ++i)
        ASSERT_TRUE(store().record_run(sample_run(fmt::format("r{}", i), 1000 * (i / 2))));
    std::vector<std::string> seen;
    Page page{.limit = 2, .cursor = std::nullopt, .order = Order::OldestFirst};
    do {
        const auto answer = store().list_runs({}, page).value();
        for (const RunRecord& run : answer.runs) seen.push_back(run.run_id);
        page.cursor = answer.next;
    } while (page.cursor);
    EXPECT_EQ(seen, (std::vector<std::string>{"r0", "r1", "r2", "r3", "r4"}));
}

TEST_P(EveryStore, finds_runs_by_whole_words_of_their_prompt) {
    RunRecord run = sample_run("a", 1);
    run.prompt = "A Lighthouse, 100% sea";
    ASSERT_TRUE(store().record_run(run));
    run.run_id = "b";
    run.prompt = "a dragon (sea:1.2)";
    ASSERT_TRUE(store().record_run(run));
    run.run_id = "c";
    run.prompt = "\u4e00\u53ea\u732b\u54aa\uff0c\u70ab\u9177";  // one cat, cool
    ASSERT_TRUE(store().record_run(run));
    EXPECT_EQ(store().count_runs({.text = "lightHOUSE"}), 1);
    EXPECT_EQ(store().count_runs({.text = "sea, lighthouse"}), 1);
    EXPECT_EQ(store().count_runs({.text = "sea"}), 2);
    EXPECT_EQ(store().count_runs({.text = "light"}), 0);
    EXPECT_EQ(store().count_runs({.text = "a%n"}), 0);
    EXPECT_EQ(store().count_runs({.text = "A"}), 2);
    EXPECT_EQ(store().count_runs({.text = "\u732b\u54aa"}), 1);
    EXPECT_EQ(store().count_runs({.text = "\u54aa\u732b"}), 0);
    EXPECT_EQ(store().count_runs({.text = "\" OR prompt : sea *"}), 0);
    EXPECT_EQ(store().count_runs({.text = " % "}), 0);
    EXPECT_EQ(store().list_runs({.model = "sdxl-base", .text = "sea"}, {}).value().runs.size(), 2U);
    EXPECT_EQ(store().count_runs({.model = "none", .text = "sea"}), 0);
    // Other words are found when the run is written again, the old ones are not.
    run.prompt = "a whale";
    ASSERT_TRUE(store().record_run(run));
    EXPECT_EQ(store().count_runs({.text = "\u732b"}), 0);
    EXPECT_EQ(store().count_runs({.text = "whale"}), 1);
}

TEST_P(EveryStore, stats_group_runs_and_mean_only_what_is_done_and_measured) {
    RunRecord run = sample_run("a", 1'700'000'000'000);  // 2023-11-14
    run.outcome = Outcome::Done;
    run.forecast_peak = Bytes(110);
    run.observed_peak = Bytes(100);
    run.forecast_seconds = 9;
    run.observed_seconds = 10;
    ASSERT_TRUE(store().record_run(run));
    run.run_id = "b";
    run.observed_seconds = std::nullopt;
    run.observed_peak = std::nullopt;
    ASSERT_TRUE(store().record_run(run));
    run.run_id = "c";
    run.started_ms += 86'400'000;
    run.model = "3d-cartoon";
    run.outcome = Outcome::OutOfMemory;
    run.observed_seconds = 99;
    run.observed_peak = Bytes(500);
    ASSERT_TRUE(store().record_run(run));

    const auto all = store().stats_of({}, StatsBy::All).value();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].runs, 3);
    EXPECT_EQ(all[0].done, 2);
    EXPECT_EQ(all[0].out_of_memory, 1);
    EXPECT_EQ(all[0].seconds_mean, 10);
    EXPECT_EQ(all[0].peak_max, Bytes(500));
    EXPECT_NEAR(all[0].forecast_peak_error_mean.value(), 0.1, 1e-12);
    EXPECT_NEAR(all[0].forecast_seconds_error_mean.value(), 0.1, 1e-12);

    const auto models = store().stats_of({}, StatsBy::Model).value();
    ASSERT_EQ(models.size(), 2U);
    EXPECT_EQ(models[0].key, "sdxl-base");
    EXPECT_EQ(models[1].seconds_mean, std::nullopt);
    const auto days = store().stats_of({.model = "sdxl-base"}, StatsBy::Day).value();
    ASSERT_EQ(days.size(), 1U);
    EXPECT_EQ(days[0].key, "2023-11-14");
    EXPECT_EQ(store().stats_of({.model = "none"}, StatsBy::All).value().at(0).runs, 0);
    EXPECT_TRUE(store().stats_of({.model = "none"}, StatsBy::Card).value().empty());
}

// Numbers that went through sums may differ in their last digits.
void expect_same(const std::optional<double>& a, const std::optional<double>& b) {
    ASSERT_EQ(a.has_value(), b.has_value());
    if (a) EXPECT_NEAR(*a, *b, 1e-6 * (1 + std::abs(*b)));
}

void expect_same(const RunStats& a, const RunStats& b) {
    SCOPED_TRACE(a.key);
    EXPECT_EQ(a.key, b.key);
    EXPECT_EQ(a.runs, b.runs);
    EXPECT_EQ(a.done, b.done);
    EXPECT_EQ(a.out_of_memory, b.out_of_memory);
    EXPECT_EQ(a.peak_max, b.peak_max);
    EXPECT_EQ(a.peak_mean, b.peak_mean);
    expect_same(a.seconds_mean, b.seconds_mean);
    expect_same(a.seconds_deviation, b.seconds_deviation);
    expect_same(a.seconds_min, b.seconds_min);
    expect_same(a.seconds_max, b.seconds_max);
    expect_same(a.forecast_peak_error_mean, b.forecast_peak_error_mean);
    expect_same(a.forecast_seconds_error_mean, b.forecast_seconds_error_mean);
}

TEST(BothStores, answer_alike_whatever_was_recorded_replaced_and_asked) {
    // Goal: summaries, facets and words of the file say what a look at every run says. Method: the
    // same random runs, a third of them written again with other values, into the double and a
    // file; every filter and grouping, pages of 7 in both orders.
    const auto seed = static_cast<unsigned>(std::random_device()());
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const std::string folder = testing::TempDir() + fmt::format("/plimsoll_both_{}", ::getpid());
    std::filesystem::remove_all(folder);
    MemoryStore memory;
    const auto file = SqliteStore::create(folder + "/history.db").value();
    const std::array<std::string, 4> words{"sea", "castle", "cat", "storm"};
    for (int i = 0; i < 400; ++i) {
        const int number = i >= 300 ? pick(300) : i;
        RunRecord run = sample_run(fmt::format("r{:04}", number), 0);
        run.started_ms = 1'700'000'000'000 + number * 7'000'000LL;  // about 12 a day
        run.model = fmt::format("model{}", pick(3));
        run.card = fmt::format("card{}", pick(2));
        run.family = run.model == "model0" ? "sd15" : "sdxl";
        run.verdict = pick(2) == 0 ? "fits" : "fits_slowly";
        run.outcome = static_cast<Outcome>(pick(7));
        run.settings.steps = 10 + 10 * pick(3);
        run.settings.width = 512 + 256 * pick(2);
        if (pick(9) == 0) run.settings = {};
        run.prompt = fmt::format("a {} and a {}", words.at(pick(4)), words.at(pick(4)));
        // No two means alike: which of equally fast settings is named first is left open.
        run.observed_seconds = 5.0 + pick(100) + std::sqrt(i);
        run.observed_peak = Bytes(4'000'000'000 + 1'000'000LL * pick(500));
        if (pick(5) == 0) run.observed_seconds.reset();
        if (pick(5) == 0) run.observed_peak.reset();
        if (pick(3) == 0) run.changes.clear();
        if (pick(3) == 0) run.changes = {{std::string(kTileVaeKnob), "", "", Bytes(1), 0}};
        ASSERT_TRUE(memory.record_run(run));
        ASSERT_TRUE(file->record_run(run));
    }
    const std::int64_t day = 1'700'006'400'000;  // midnight
    const std::vector<RunFilter> filters{
        {},
        {.model = "model1"},
        {.model = "model0", .card = "card1"},
        {.family = "sdxl", .outcome = Outcome::Done},
        {.outcome = Outcome::OutOfMemory, .verdict = "fits"},
        {.card = "none"},
        {.since_ms = day, .before_ms = day + 5 * 86'400'000},
        {.since_ms = day + 3'600'000, .before_ms = day + 300'000'000},
        {.model = "model2", .since_ms = day + 1, .before_ms = day + 40'000'000},
        {.verdict = "fits", .before_ms = day + 400'000'000},
        {.text = "cat sea"},
        {.outcome = Outcome::Done, .since_ms = day + 123'456'789, .text = "storm"}};
    for (std::size_t f = 0; f < filters.size(); ++f) {
        SCOPED_TRACE(fmt::format("filter {}", f));
        EXPECT_EQ(file->count_runs(filters[f]).value(), memory.count_runs(filters[f]).value());
        for (const StatsBy by : {StatsBy::All, StatsBy::Model, StatsBy::Card, StatsBy::Day}) {
            const auto here = file->stats_of(filters[f], by).value();
            const auto there = memory.stats_of(filters[f], by).value();
            ASSERT_EQ(here.size(), there.size());
            for (std::size_t i = 0; i < here.size(); ++i) expect_same(here[i], there[i]);
        }
        for (const Order order : {Order::NewestFirst, Order::OldestFirst}) {
            Page page{.limit = 7, .cursor = std::nullopt, .order = order};
            std::vector<std::string> seen;
            do {
                const auto answer = file->list_runs(filters[f], page).value();
                for (const RunRecord& run : answer.runs) seen.push_back(run.run_id);
                page.cursor = answer.next;
            } while (page.cursor);
            std::vector<std::string> expected;
            for (const RunRecord& run :
                 memory.list_runs(filters[f], {.limit = kPageRunsMax, .order = order}).value().runs)
                expected.push_back(run.run_id);
            EXPECT_EQ(seen, expected);
        }
    }
    for (const char* const model : {"model0", "model1", "none"}) {
        const auto here = file->fastest_settings(model, 3).value();
        const auto there = memory.fastest_settings(model, 3).value();
        ASSERT_EQ(here.size(), there.size());
        for (std::size_t i = 0; i < here.size(); ++i) {
            expect_same(here[i].stats, there[i].stats);
            if (i > 0) EXPECT_LE(here[i - 1].stats.seconds_mean, here[i].stats.seconds_mean);
        }
    }
    std::filesystem::remove_all(folder);
}

TEST_P(EveryStore, the_fastest_settings_are_those_of_done_runs_by_their_mean) {
    RunRecord run = sample_run("a", 1);
    run.outcome = Outcome::Done;
    for (const auto& [id, width, seconds] :
         {std::tuple("a", 512, 10.0), std::tuple("b", 512, 20.0), std::tuple("c", 640, 12.0),
          std::tuple("d", 768, 30.0)}) {
        run.run_id = id;
        run.settings.width = width;
        run.observed_seconds = seconds;
        ASSERT_TRUE(store().record_run(run));
    }
    run.run_id = "e";
    run.outcome = Outcome::OutOfMemory;
    run.settings.width = 512;
    ASSERT_TRUE(store().record_run(run));
    run.run_id = "f";
    run.settings.steps = 99;
    ASSERT_TRUE(store().record_run(run));
    const auto found = store().fastest_settings("sdxl-base", 2).value();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].settings.width, 640);
    EXPECT_EQ(found[1].settings.width, 512);
    EXPECT_EQ(found[1].stats.seconds_mean, 15);
    EXPECT_EQ(found[1].stats.seconds_deviation, 5);
    EXPECT_EQ(found[1].stats.runs, 3);
    EXPECT_EQ(found[1].stats.out_of_memory, 1);
    EXPECT_EQ(store().fastest_settings("sdxl-base", 0).error().code, Errc::InvalidInput);
}

TEST_P(EveryStore, jobs_are_kept_until_they_are_dropped_oldest_first) {
    const KeptJob second{"b", 20, false, R"({"model":"sdxl-base"})"};
    const KeptJob first{"a", 10, false, "{}"};
    ASSERT_TRUE(store().keep_job(second));
    ASSERT_TRUE(store().keep_job(first));
    EXPECT_EQ(store().list_jobs().value(), (std::vector<KeptJob>{first, second}));
    KeptJob begun = first;
    begun.started = true;
    ASSERT_TRUE(store().keep_job(begun));
    ASSERT_TRUE(store().drop_job("b"));
    ASSERT_TRUE(store().drop_job("b"));
    EXPECT_EQ(store().list_jobs().value(), std::vector<KeptJob>{begun});
}

HeldJob held_job(const std::string& id, std::int64_t turn, std::int64_t priority = 0) {
    return {.prompt_id = id,
            .accepted_ms = 5,
            .mark = {.turn = turn, .priority = priority},
            .body = R"({"prompt": {"1": {"inputs": {"seed": 18446744073709551615}}}})",
            .facts_json = R"({"model":"sdxl"})"};
}

TEST_P(EveryStore, held_jobs_are_listed_as_they_go_and_keep_their_bytes) {
    const HeldJob later = held_job("a", 20);
    const HeldJob sooner = held_job("b", 10);
    const HeldJob urgent = held_job("c", 30, 1);
    for (const HeldJob& job : {later, sooner, urgent}) ASSERT_TRUE(store().keep_held(job));
    EXPECT_EQ(store().list_held().value(), (std::vector<HeldJob>{urgent, sooner, later}));
    // Marks of several at once; one that has gone meanwhile is passed over.
    HeldJob sent = later;
    sent.mark = {.turn = 1, .priority = 2, .sent = true, .attempts = 3};
    const std::vector<HeldChange> changes{{"a", sent.mark}, {"gone", {.turn = 7}}};
    ASSERT_TRUE(store().mark_held(changes));
    EXPECT_EQ(store().list_held().value(), (std::vector<HeldJob>{sent, urgent, sooner}));
    const std::vector<std::string> ended{"c", "b", "gone"};
    ASSERT_TRUE(store().drop_held(ended));
    EXPECT_EQ(store().list_held().value(), std::vector<HeldJob>{sent});
}

TEST_P(EveryStore, quality_sessions_are_kept_with_their_pictures_and_votes) {
    QualitySession older{.session_id = "a",
                         .model = "sdxl-base",
                         .created_ms = 10,
                         .plan_json = R"({"x":1})",
                         .progress_json = "{}",
                         .findings_json = "[]"};
    const QualitySession newer{.session_id = "b",
                               .model = "other",
                               .created_ms = 20,
                               .plan_json = "{}",
                               .progress_json = "{}",
                               .findings_json = "[]"};
    ASSERT_TRUE(store().keep_session(older));
    ASSERT_TRUE(store().keep_session(newer));
    older.progress_json = R"({"state":"done"})";
    ASSERT_TRUE(store().keep_session(older));
    EXPECT_EQ(store().list_sessions().value(), (std::vector<QualitySession>{newer, older}));
    QualityPicture first{.session_id = "a", .candidate = 0, .block = 1, .picture_json = "1"};
    const QualityPicture second{.session_id = "a", .candidate = 1, .block = 0, .picture_json = "2"};
    ASSERT_TRUE(store().keep_picture(second));
    ASSERT_TRUE(store().keep_picture(first));
    first.picture_json = "again";
    ASSERT_TRUE(store().keep_picture(first));
    EXPECT_EQ(store().list_pictures("a").value(), (std::vector<QualityPicture>{first, second}));
    EXPECT_TRUE(store().list_pictures("b").value().empty());
    const QualityVote vote{.vote_id = "v", .session_id = "a", .voted_ms = 7, .vote_json = "{}"};
    ASSERT_TRUE(store().keep_vote(vote));
    ASSERT_TRUE(store().keep_vote(vote));
    EXPECT_EQ(store().list_votes("a").value(), std::vector<QualityVote>{vote});
    EXPECT_TRUE(store().list_votes("b").value().empty());
}

TEST_P(EveryStore, walls_are_remembered_until_they_are_dropped) {
    const Wall newer{"shape b", 20, "5.1 GiB were needed"};
    const Wall older{"shape a", 10, "6 GiB were needed"};
    ASSERT_TRUE(store().keep_wall(newer));
    ASSERT_TRUE(store().keep_wall(older));
    EXPECT_EQ(store().list_walls().value(), (std::vector<Wall>{older, newer}));
    const Wall again{"shape a", 30, "again"};
    ASSERT_TRUE(store().keep_wall(again));
    EXPECT_EQ(store().list_walls().value(), (std::vector<Wall>{newer, again}));
    ASSERT_TRUE(store().drop_wall("shape a"));
    ASSERT_TRUE(store().drop_wall("shape a"));
    EXPECT_EQ(store().list_walls().value(), std::vector<Wall>{newer});
}

TEST(Outcome, names_lead_back_to_the_outcome) {
    for (const Outcome outcome :
         {Outcome::Running, Outcome::Done, Outcome::OutOfMemory, Outcome::Failed,
          Outcome::Cancelled, Outcome::TimedOut, Outcome::Lost})
        EXPECT_EQ(parse_outcome(outcome_name(outcome)), outcome);
    EXPECT_FALSE(parse_outcome("fine"));
}

}  // namespace
}  // namespace plimsoll::history
