// SPDX-License-Identifier: Apache-2.0
//
// Goal: what was accepted is run once, in order, or told; nothing grows without bound. Method: a
// scripted ComfyUI of ours, the advisor's law instead of the forecaster, a history file that
// survives the queue.
#include "service/job_queue.h"

#include "advisor/loader_law.h"
#include "history/sqlite_store.h"
#include "service/comfyui/scripted_upstream.h"
#include "service/profiles.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>

namespace plimsoll::service {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A server of ours that is always there, and nobody else's to reach.
class OurComfyUi final : public OwnServer, public ComfyAtHand {
  public:
    explicit OurComfyUi(ScriptedUpstream& upstream) : upstream_(upstream) {}
    [[nodiscard]] std::string kind() const override { return "simulated"; }
    [[nodiscard]] Result<Upstream*> start(const std::vector<std::string>& /*flags*/) override {
        return &upstream_;
    }
    [[nodiscard]] const Clock& clock() const override { return upstream_.clock; }
    [[nodiscard]] const Clock& stopwatch() const override { return upstream_.clock; }
    [[nodiscard]] double speed() const override { return 1; }
    [[nodiscard]] Result<std::unique_ptr<Upstream>> reach() override {
        return fail(Errc::Unavailable, "jobs go to the server of ours");
    }
    [[nodiscard]] CardLook look_at_card(const DeviceStats& /*device*/,
                                        telemetry::Attention /*attention*/) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return "scripted"; }

  private:
    ScriptedUpstream& upstream_;
};

class JobQueueTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_queue_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        upstream_.models["checkpoints"] = {"sd_xl_base_1.0.safetensors"};
        upstream_.files["p.png"] = "PNG bytes";
        upstream_.stats = [] {
            ServerStats stats;
            stats.comfyui_version = "0.3.64";
            stats.argv = {"main.py"};
            stats.devices.push_back({.name = "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync",
                                     .type = "cuda",
                                     .vram_total = Bytes::from_mib(5898),
                                     .vram_free = Bytes::from_mib(1500),
                                     .torch_total = Bytes::from_mib(4200),
                                     .torch_free = Bytes::from_mib(100)});
            return stats;
        };
        upstream_.job = [] {
            return JobRecord{.state = JobState::Succeeded,
                             .images = {{"p.png", "", "output"}},
                             .error = std::nullopt};
        };
        for (int i = 0; i < 20; ++i)
            upstream_.sockets.push_back({{milliseconds(0), Started{}},
                                         {milliseconds(0), NodeStarted{"3"}},
                                         {milliseconds(2000), NodeStarted{"8"}},
                                         {milliseconds(100), Ended{}}});
        auto place = std::make_shared<Place>();
        place->config.home.value = folder_;
        place->config.output_dir.value = folder_ / "output";
        place_ = place;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    static JobOrder order(const std::string& prompt) {
        JobRequest request;
        request.model = "sdxl-base";
        request.prompt = prompt;
        request.width = 768;
        request.height = 768;
        request.seed = 7;
        Profiles profiles;
        const auto builtin = advisor::builtin_profiles();
        profiles.all.assign(builtin.begin(), builtin.end());
        ModelLibrary library({});
        JobOrder made;
        made.job = resolve_job(request, profiles, library).value();
        made.request_json = prompt;
        return made;
    }
    std::unique_ptr<JobQueue> queue() {
        return std::make_unique<JobQueue>(
            JobQueue::Parts{.place = [this] { return place_; },
                            .comfyui = ours_,
                            .own = &ours_,
                            .open_store = [this]() -> Result<std::unique_ptr<history::Store>> {
                                if (no_store_) return fail(Errc::Unavailable, "disk full");
                                TRY_ASSIGN(auto store,
                                           history::SqliteStore::create(folder_ / "history.db"));
                                return std::unique_ptr<history::Store>(std::move(store));
                            },
                            .clock = system_clock(),
                            .seed = seed_++,
                            .forecaster =
                                [this](const Site& site, const Job&) {
                                    return [law = law_, reserve = site.server.flags.reserve_vram](
                                               advisor::Scenario scenario) {
                                        if (!scenario.reserve_vram) scenario.reserve_vram = reserve;
                                        return law(scenario);
                                    };
                                },
                            .sleep = [this](milliseconds span) { upstream_.clock.advance(span); }},
            JobQueue::Callbacks{
                .on_job =
                    [this](const QueuedJob& job) {
                        const std::lock_guard lock(mutex_);
                        const auto state =
                            fmt::format("{} {}", job.prompt, queue_state_name(job.state));
                        if (told_.empty() || told_.back() != state) told_.push_back(state);
                        ended_ += has_ended(job.state) ? 1 : 0;
                        changed_.notify_all();
                    },
                .on_plan = {},
                .on_warning =
                    [this](std::string_view code, const std::string&, const std::string& message) {
                        const std::lock_guard lock(mutex_);
                        warnings_.push_back(fmt::format("{}: {}", code, message));
                    },
                .on_busy = {}});
    }
    // In a test's time, never by sleeping.
    void wait_for_ends(int count) {
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(
            changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_ >= count; }));
    }
    std::vector<history::KeptJob> kept() {
        return history::SqliteStore::create(folder_ / "history.db").value()->list_jobs().value();
    }
    static Result<JobOrder> resolve(const std::string& request) { return order(request); }

    std::filesystem::path folder_;
    ManualClock clock_;  // of the scripted ComfyUI; only the queue's thread looks at it
    ScriptedUpstream upstream_{clock_};
    OurComfyUi ours_{upstream_};
    advisor::LoaderLaw law_;
    std::shared_ptr<const Place> place_;
    std::uint64_t seed_ = 3;
    bool no_store_ = false;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> told_;
    std::vector<std::string> warnings_;
    int ended_ = 0;
};

TEST_F(JobQueueTest, jobs_run_one_after_the_other_in_order_and_are_told) {
    const auto jobs = queue();
    const QueuedJob one = jobs->submit(order("one")).value();
    const QueuedJob two = jobs->submit(order("two")).value();
    EXPECT_EQ(one.ahead, 0);
    EXPECT_EQ(two.ahead, 1);
    EXPECT_NE(one.job_id, two.job_id);
    EXPECT_THAT(kept(), SizeIs(2));
    jobs->start();
    wait_for_ends(2);
    EXPECT_THAT(told_, ElementsAre("one queued", "two queued", "one running", "one done",
                                   "two running", "two done"));
    EXPECT_THAT(kept(), IsEmpty());
    EXPECT_EQ(upstream_.most_open_sockets, 1);
    const QueuedJob done = jobs->find(one.job_id).value();
    EXPECT_EQ(done.progress, 1.0);
    EXPECT_THAT(done.images, SizeIs(1));
    ASSERT_THAT(done.records, SizeIs(1));
    EXPECT_EQ(done.observed_peak, Bytes::from_mib(4100));
    EXPECT_TRUE(done.ended_ms.has_value());
    EXPECT_EQ(jobs->list().front().job_id, two.job_id);  // ended ones newest first
    EXPECT_EQ(jobs->running(), std::nullopt);
}

TEST_F(JobQueueTest, a_waiting_job_that_is_cancelled_is_never_submitted) {
    const auto jobs = queue();
    const std::string one = jobs->submit(order("one")).value().job_id;
    const std::string two = jobs->submit(order("two")).value().job_id;
    const QueuedJob cancelled = jobs->cancel(one).value();
    EXPECT_EQ(cancelled.state, QueueState::Cancelled);
    EXPECT_EQ(cancelled.why, "cancelled before it ran");
    EXPECT_EQ(jobs->find(two)->ahead, 0);
    EXPECT_THAT(kept(), SizeIs(1));
    jobs->start();
    wait_for_ends(2);
    EXPECT_THAT(upstream_.workflows, SizeIs(1));
    // What has ended stays as it is.
    EXPECT_EQ(jobs->cancel(two)->state, QueueState::Done);
    const auto unknown = jobs->cancel("nobody");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, Errc::NotFound);
}

TEST_F(JobQueueTest, holds_no_more_jobs_than_its_limits) {
    const auto jobs = queue();
    for (std::size_t i = 0; i < kJobsWaitingMax; ++i) ASSERT_TRUE(jobs->submit(order("x")));
    const auto refused = jobs->submit(order("one too many"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::LimitExceeded);
    EXPECT_THAT(kept(), SizeIs(kJobsWaitingMax));
    for (const QueuedJob& job : jobs->list()) ASSERT_TRUE(jobs->cancel(job.job_id));
    const std::string last = jobs->submit(order("last")).value().job_id;
    ASSERT_TRUE(jobs->cancel(last));
    EXPECT_THAT(jobs->list(), SizeIs(kJobsEndedMax));
    EXPECT_EQ(jobs->list().front().job_id, last);
    EXPECT_THAT(kept(), IsEmpty());
}

TEST_F(JobQueueTest, a_stop_keeps_those_that_wait_for_the_next_start_and_takes_no_more) {
    std::string id;
    {
        const auto jobs = queue();
        id = jobs->submit(order("one")).value().job_id;
        jobs->stop();
        const auto late = jobs->submit(order("late"));
        ASSERT_FALSE(late);
        EXPECT_EQ(late.error().code, Errc::Unavailable);
    }
    const auto again = queue();
    again->restore(resolve);
    EXPECT_EQ(again->find(id)->state, QueueState::Queued);
    EXPECT_EQ(again->find(id)->prompt, "one");
    again->start();
    wait_for_ends(1);
    EXPECT_EQ(again->find(id)->state, QueueState::Done);
    EXPECT_THAT(upstream_.workflows, SizeIs(1));
}

TEST_F(JobQueueTest, what_had_begun_before_a_crash_is_told_as_lost_and_not_run_again) {
    auto store = history::SqliteStore::create(folder_ / "history.db").value();
    ASSERT_TRUE(store->keep_job(
        {.job_id = "a", .submitted_ms = 1, .started = true, .request_json = "began"}));
    ASSERT_TRUE(store->keep_job(
        {.job_id = "b", .submitted_ms = 2, .started = false, .request_json = "refused"}));
    ASSERT_TRUE(store->keep_job(
        {.job_id = "c", .submitted_ms = 3, .started = false, .request_json = "waits"}));
    const auto jobs = queue();
    jobs->restore([](const std::string& request) -> Result<JobOrder> {
        if (request == "refused") return fail(Errc::NotFound, "its preset is gone");
        return order(request);
    });
    EXPECT_EQ(jobs->find("a")->state, QueueState::Lost);
    EXPECT_EQ(jobs->find("b")->state, QueueState::Failed);
    EXPECT_EQ(jobs->find("b")->why, "its preset is gone");
    EXPECT_EQ(jobs->find("c")->state, QueueState::Queued);
    EXPECT_THAT(kept(), SizeIs(1));
    jobs->start();
    wait_for_ends(3);
    EXPECT_THAT(upstream_.workflows, SizeIs(1));
}

TEST_F(JobQueueTest, without_a_history_jobs_run_and_that_nothing_is_kept_is_said_once) {
    no_store_ = true;
    const auto jobs = queue();
    jobs->restore(resolve);
    ASSERT_TRUE(jobs->submit(order("one")));
    ASSERT_TRUE(jobs->submit(order("two")));
    jobs->start();
    wait_for_ends(2);
    EXPECT_THAT(warnings_, ElementsAre("history: jobs are not kept over a stop: disk full"));
    EXPECT_THAT(upstream_.workflows, SizeIs(2));
}

TEST_F(JobQueueTest, a_job_that_comfyui_refuses_ends_with_the_reason_and_the_next_one_runs) {
    upstream_.on_submit = [this] {
        upstream_.submitted =
            upstream_.workflows.size() == 1
                ? Result<void>(fail(Errc::InvalidInput, "node 3: no such sampler"))
                : Result<void>();
    };
    const auto jobs = queue();
    const std::string one = jobs->submit(order("one")).value().job_id;
    const std::string two = jobs->submit(order("two")).value().job_id;
    jobs->start();
    wait_for_ends(2);
    EXPECT_EQ(jobs->find(one)->state, QueueState::Failed);
    EXPECT_THAT(jobs->find(one)->why, HasSubstr("no such sampler"));
    EXPECT_EQ(jobs->find(two)->state, QueueState::Done);
}

}  // namespace
}  // namespace plimsoll::service
