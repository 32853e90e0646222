// SPDX-License-Identifier: Apache-2.0
//
// Goal: a picture is kept under the load line, whoever owns the server, and whatever happens is
// told and recorded. Method: a scripted ComfyUI, a clock that the test moves, the loader's law of
// the advisor's tests instead of the real forecaster.
#include "service/generate.h"

#include "advisor/loader_law.h"
#include "service/comfyui/scripted_upstream.h"
#include "service/profiles.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace plimsoll::service {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kCheckpoint = "sd_xl_base_1.0.safetensors";

// A server of ours that only remembers how it was started.
class RememberingServer final : public OwnServer {
  public:
    explicit RememberingServer(ScriptedUpstream& upstream) : upstream_(upstream) {}
    std::vector<std::vector<std::string>> starts;
    double pace = 1;

    [[nodiscard]] std::string kind() const override { return "simulated"; }
    [[nodiscard]] Result<Upstream*> start(const std::vector<std::string>& flags) override {
        starts.push_back(flags);
        return &upstream_;
    }
    [[nodiscard]] const Clock& clock() const override { return upstream_.clock; }
    [[nodiscard]] const Clock& stopwatch() const override { return upstream_.clock; }
    [[nodiscard]] double speed() const override { return pace; }

  private:
    ScriptedUpstream& upstream_;
};

class GenerateTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_generate_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        config_.home.value = folder_;
        options_.output_dir = folder_ / "output";
        options_.sleep = [this](milliseconds span) { clock_.advance(span); };
        upstream_.models["checkpoints"] = {kCheckpoint};
        upstream_.files["p.png"] = "PNG bytes";
        upstream_.stats = [this] { return stats(); };
        upstream_.job = [] {
            return JobRecord{.state = JobState::Succeeded,
                             .images = {{"p.png", "", "output"}},
                             .error = std::nullopt};
        };
        script_runs(1);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    // Each run: the sampler for two seconds, then it is done.
    void script_runs(int count) {
        upstream_.sockets.clear();
        for (int i = 0; i < count; ++i)
            upstream_.sockets.push_back({{milliseconds(0), Started{}},
                                         {milliseconds(0), NodeStarted{"3"}},
                                         {milliseconds(2000), NodeStarted{"8"}},
                                         {milliseconds(100), Ended{}}});
    }
    [[nodiscard]] ServerStats stats() const {
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
    }
    static Job job(int width, int height, int batch) {
        JobRequest request;
        request.model = "sdxl-base";
        request.prompt = "cute dragon";
        request.width = width;
        request.height = height;
        request.batch = batch;
        request.seed = 12345678901234567890ULL;
        Profiles profiles;
        const auto builtin = advisor::builtin_profiles();
        profiles.all.assign(builtin.begin(), builtin.end());
        ModelLibrary library({});
        return resolve_job(request, profiles, library).value();
    }
    Result<Generation> run(const Job& job, OwnServer* own = nullptr) {
        return generate(job, config_, options_,
                        {.upstream = own == nullptr ? &upstream_ : nullptr,
                         .own = own,
                         .store = &store_,
                         .clock = clock_,
                         .random = random_,
                         .forecaster = [this](const Site& site, const Job&) {
                             // The law knows no flags: what the site has is asked of it.
                             return [law = law_, reserve = site.server.flags.reserve_vram](
                                        advisor::Scenario scenario) {
                                 if (!scenario.reserve_vram) scenario.reserve_vram = reserve;
                                 return law(scenario);
                             };
                         }});
    }

    ManualClock clock_;
    ScriptedUpstream upstream_{clock_};
    history::MemoryStore store_;
    Random random_{7};
    advisor::LoaderLaw law_;
    Config config_;
    GenerateOptions options_;
    std::filesystem::path folder_;
};

TEST_F(GenerateTest, a_picture_is_saved_and_recorded_with_forecast_beside_observed) {
    const Generation generation = run(job(1024, 1024, 1)).value();
    EXPECT_EQ(generation.end, GenerateEnd::Done);
    ASSERT_THAT(generation.images, SizeIs(1));
    std::ifstream picture(generation.images[0]);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(picture), {}), "PNG bytes");
    const auto runs = store_.list_runs({}, {})->runs;
    ASSERT_THAT(runs, SizeIs(1));
    EXPECT_EQ(runs[0], generation.runs[0]);
    EXPECT_EQ(runs[0].outcome, history::Outcome::Done);
    EXPECT_EQ(runs[0].card, "rtx3050-6gb");
    EXPECT_EQ(runs[0].prompt, "cute dragon");
    EXPECT_EQ(runs[0].settings.seed, "12345678901234567890");
    EXPECT_EQ(runs[0].images, (std::vector{generation.images[0].string()}));
    ASSERT_THAT(runs[0].phases, SizeIs(2));
    EXPECT_EQ(runs[0].phases[0].observed_peak, Bytes::from_mib(4100));
    EXPECT_NEAR(runs[0].phases[0].observed_seconds.value(), 2.0, 0.01);
    EXPECT_GT(runs[0].phases[0].forecast_peak, Bytes::from_mib(4352));
}

TEST_F(GenerateTest, a_users_server_keeps_its_flags_and_runs_the_workflow_byte_for_byte) {
    const Job wanted = job(1024, 1024, 1);
    const Generation generation = run(wanted).value();
    EXPECT_EQ(generation.plan.plan.verdict, advisor::PlanVerdict::FitsParked);
    EXPECT_THAT(upstream_.workflows, ElementsAre(wanted.workflow));
    EXPECT_TRUE(generation.runs[0].changes.empty());  // advice is no change
}

TEST_F(GenerateTest, a_server_of_ours_is_started_again_with_the_flag_that_holds_the_line) {
    RememberingServer own(upstream_);
    upstream_.stats = [&] {
        ServerStats answer = stats();
        answer.argv.insert(answer.argv.end(), own.starts.back().begin(), own.starts.back().end());
        return answer;
    };
    config_.comfyui_flags.value = "--disable-cuda-malloc  --reserve-vram 0.2";
    const Generation generation = run(job(1024, 1024, 1), &own).value();
    EXPECT_EQ(generation.plan.plan.verdict, advisor::PlanVerdict::FitsChanged);
    const std::string reserve =
        fmt::format("{:.1f}", generation.plan.plan.reserve_vram.value().gib());
    EXPECT_THAT(own.starts,
                ElementsAre(ElementsAre("--disable-cuda-malloc", "--reserve-vram", "0.2"),
                            ElementsAre("--disable-cuda-malloc", "--reserve-vram", reserve)));
    // What is recorded was forecast for the server that ran it.
    EXPECT_LE(generation.runs[0].forecast_peak, generation.plan.budget.load_line);
    EXPECT_EQ(generation.runs[0].card, "rtx3050-6gb (simulated)");
    ASSERT_THAT(generation.runs[0].changes, SizeIs(1));
    EXPECT_EQ(generation.runs[0].changes[0].knob, "reserve_vram");
}

TEST_F(GenerateTest, running_anyway_changes_neither_workflow_nor_server) {
    RememberingServer own(upstream_);
    options_.run_anyway = true;
    const Job wanted = job(1536, 1536, 4);
    ASSERT_TRUE(run(wanted, &own));
    EXPECT_THAT(own.starts, SizeIs(1));
    EXPECT_THAT(upstream_.workflows, ElementsAre(wanted.workflow));
}

TEST_F(GenerateTest, seconds_of_a_server_without_a_pace_are_not_recorded) {
    RememberingServer own(upstream_);
    own.pace = 0;
    const Generation generation = run(job(1024, 1024, 1), &own).value();
    EXPECT_EQ(generation.runs[0].observed_seconds, std::nullopt);
    EXPECT_EQ(generation.runs[0].phases[0].observed_seconds, std::nullopt);
    EXPECT_TRUE(generation.runs[0].observed_peak);
}

TEST_F(GenerateTest, what_a_plan_changes_is_recorded_as_it_ran) {
    script_runs(16);
    config_.max_vram_mb.value = 3000;
    config_.max_duration_min.value = 1000;
    options_.pins = {"size", "width", "height"};
    const Generation generation = run(job(1024, 1024, 16)).value();
    ASSERT_EQ(generation.end, GenerateEnd::Done) << generation.why.message();
    ASSERT_GT(generation.runs.size(), 1U);
    int pictures = 0;
    for (const auto& one : generation.runs) pictures += one.settings.batch;
    EXPECT_EQ(pictures, 16);
    EXPECT_EQ(upstream_.workflows.size(), generation.runs.size());
    EXPECT_FALSE(generation.runs[0].changes.empty());
}

TEST_F(GenerateTest, what_does_not_fit_is_not_submitted) {
    config_.max_vram_mb.value = 1024;
    options_.pins = {"size", "width", "height", "batch", "vae", "precision", "steps"};
    const Generation generation = run(job(1536, 1536, 4)).value();
    EXPECT_EQ(generation.end, GenerateEnd::DoesNotFit);
    EXPECT_THAT(generation.why, HasSubstr("no allowed change is enough"));
    EXPECT_TRUE(upstream_.workflows.empty());
    EXPECT_THAT(store_.list_runs({}, {})->runs, SizeIs(0));
    EXPECT_FALSE(std::filesystem::exists(options_.output_dir));
}

TEST_F(GenerateTest, a_folder_that_cannot_be_written_is_noticed_before_the_work) {
    std::ofstream(folder_ / "file") << "not a folder";
    options_.output_dir = folder_ / "file" / "output";
    const auto generation = run(job(1024, 1024, 1));
    ASSERT_FALSE(generation);
    EXPECT_EQ(generation.error().code, Errc::InvalidInput);
    EXPECT_THAT(generation.error().message, HasSubstr("--output-dir"));
    EXPECT_TRUE(upstream_.workflows.empty());
}

TEST_F(GenerateTest, a_picture_that_cannot_be_fetched_is_told_and_the_run_is_kept) {
    upstream_.files.clear();
    const Generation generation = run(job(1024, 1024, 1)).value();
    EXPECT_EQ(generation.end, GenerateEnd::Done);
    EXPECT_THAT(generation.images_left, ElementsAre("p.png"));
    EXPECT_THAT(fmt::format("{}", fmt::join(messages_of(generation.warnings), "\n")),
                HasSubstr("still in ComfyUI's output folder"));
    EXPECT_EQ(store_.list_runs({}, {})->runs[0].outcome, history::Outcome::Done);
}

// A machine that takes 1.4 times what the table says, on which the same job is run again and again.
// The forecaster is the real one; what is told of the work comes from the first run's table.
TEST_F(GenerateTest, after_three_runs_a_machine_1_4_times_slower_is_forecast_within_7_percent) {
    constexpr double kSlower = 1.4;
    constexpr int kSteps = 20;
    const Job asked = job(512, 512, 1);
    timing::ForecastSeconds seconds;
    options_.on_plan = [&](const PlanAnswer& plan, const Site&) {
        seconds = plan.plan.before.seconds;
    };
    const auto run_slower = [&](double sample, double decode) {
        const auto told = [](double of_work) {
            return milliseconds(static_cast<std::int64_t>(1000 * kSlower * of_work));
        };
        auto& socket = upstream_.sockets.emplace_back();
        socket.push_back({milliseconds(0), Started{}});
        socket.push_back({milliseconds(0), NodeStarted{"3"}});
        for (int step = 1; step <= kSteps; ++step)  // before the first one it loads: for 3 s
            socket.push_back({told(sample / kSteps) + milliseconds(step == 1 ? 3000 : 0),
                              NodeProgress{"3", static_cast<double>(step), kSteps}});
        socket.push_back({milliseconds(0), NodeStarted{"8"}});
        socket.push_back({told(decode), Ended{}});
        return generate(
            asked, config_, options_,
            {.upstream = &upstream_, .store = &store_, .clock = clock_, .random = random_});
    };
    upstream_.sockets.clear();
    const auto work_of = [&](std::string_view node) {
        const auto phases = store_.list_runs({}, {})->runs[0].phases;
        for (const history::PhaseRecord& phase : phases)
            if (phase.node_id == node)
                return (phase.forecast_seconds - *phase.forecast_load_seconds) / phase.pace;
        return 0.0;
    };
    // What the table says of the work: of a run that teaches nothing.
    upstream_.sockets.push_back({{milliseconds(0), Started{}}, {milliseconds(10), Ended{}}});
    (void)generate(asked, config_, options_,
                   {.upstream = &upstream_, .store = &store_, .clock = clock_, .random = random_});
    const double sample = work_of("3");
    const double decode = work_of("8");
    ASSERT_GT(sample, 1);
    const auto error = [&] {  // of the forecast that was made, on what it is to forecast
        return std::abs(seconds.without_load / (kSlower * (sample + decode)) - 1);
    };
    std::vector<double> errors;
    for (int i = 0; i < 8; ++i) {
        upstream_.sockets.clear();
        ASSERT_EQ(run_slower(sample, decode)->end, GenerateEnd::Done);
        errors.push_back(error());
    }
    EXPECT_FALSE(errors.empty());
    EXPECT_NEAR(errors[0], 1 - 1 / kSlower, 0.02);  // the table alone
    EXPECT_LT(errors[3], 0.07);                     // after three runs
    EXPECT_LT(errors[5], 0.04);
    ASSERT_TRUE(seconds.learned);
    EXPECT_EQ(seconds.learned->runs, 7);

    config_.learned.value = false;
    upstream_.sockets.clear();
    ASSERT_EQ(run_slower(sample, decode)->end, GenerateEnd::Done);
    EXPECT_FALSE(seconds.learned);
    EXPECT_NEAR(error(), 1 - 1 / kSlower, 0.02);
}

// Fail the Nth call of the store for every N until none fails: the picture is always made.
TEST_F(GenerateTest, a_history_that_fails_at_any_call_costs_no_picture) {
    for (int call = 0;; ++call) {
        script_runs(1);
        store_.fail_at(call);
        const Generation generation = run(job(1024, 1024, 1)).value();
        EXPECT_EQ(generation.end, GenerateEnd::Done);
        EXPECT_THAT(generation.images, SizeIs(1));
        store_.fail_at(-1);
        const std::string warnings =
            fmt::format("{}", fmt::join(messages_of(generation.warnings), "\n"));
        if (call == 0) {  // what earlier runs took
            EXPECT_TRUE(generation.recorded);
            EXPECT_THAT(warnings, HasSubstr("of the table alone"));
            continue;
        }
        if (call == 1) {  // what the lab measured
            EXPECT_TRUE(generation.recorded);
            EXPECT_THAT(warnings, HasSubstr("priced by priors"));
            continue;
        }
        if (generation.recorded) {
            EXPECT_EQ(call, 4);  // written before and after the run
            break;
        }
        EXPECT_THAT(warnings, HasSubstr("the run is not in the history"));
    }
}

TEST_F(GenerateTest, a_refused_workflow_is_an_error_and_is_recorded) {
    upstream_.submitted = fail(Errc::InvalidInput, "ComfyUI refused the workflow");
    EXPECT_EQ(run(job(1024, 1024, 1)).error().message, "ComfyUI refused the workflow");
    const auto runs = store_.list_runs({}, {})->runs;
    ASSERT_THAT(runs, SizeIs(1));
    EXPECT_EQ(runs[0].outcome, history::Outcome::Failed);
}

TEST_F(GenerateTest, without_the_model_nothing_is_planned_and_the_nearest_are_named) {
    upstream_.models["checkpoints"] = {"sd_xl_base_0.9.safetensors"};
    bool planned = false;
    options_.on_plan = [&](const PlanAnswer&, const Site&) { planned = true; };
    const auto generation = run(job(1024, 1024, 1));
    EXPECT_EQ(generation.error().code, Errc::NotFound);
    EXPECT_THAT(generation.error().message, HasSubstr("sd_xl_base_0.9.safetensors"));
    EXPECT_FALSE(planned);
}

TEST_F(GenerateTest, progress_carries_the_forecast_of_the_node_that_runs) {
    std::vector<std::string> nodes;
    options_.on_progress = [&](const GenerateProgress& now) {
        if (now.job.node_id.empty()) {
            EXPECT_EQ(now.phase, "queued");
            return;
        }
        if (nodes.empty() || nodes.back() != now.job.node_id) nodes.push_back(now.job.node_id);
        EXPECT_GT(now.forecast_peak, Bytes(0));
        EXPECT_EQ(now.load_line, Bytes::from_mib(4352));
    };
    ASSERT_TRUE(run(job(1024, 1024, 1)));
    EXPECT_THAT(nodes, ElementsAre("3", "8"));
}

}  // namespace
}  // namespace plimsoll::service
