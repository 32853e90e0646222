// SPDX-License-Identifier: Apache-2.0
//
// Goal: what was accepted ends once, whatever ComfyUI, the card, the disk and the clients do
// meanwhile. Method: a ComfyUI that is a list of prompts, the advisor's law instead of the
// forecaster, a store that outlives the guard (as after kill -9), time that the test moves.
#include "guard/guard.h"

#include "advisor/loader_law.h"
#include "advisor/text_to_image.h"
#include "history/sqlite_store.h"
#include "service/comfyui/scripted_upstream.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace plimsoll::guard {
namespace {

using gateway::ClientRequest;
using gateway::Forward;
using gateway::Hold;
using gateway::Refusal;
using gateway::Route;
using service::JobState;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What ComfyUI has in its queue and its history.
struct FakeComfyUi {
    std::vector<std::string> posted;  // ids, in order
    std::vector<std::string> bodies;
    std::map<std::string, service::JobRecord> jobs;
    bool is_there = true;
    int refuse_with = 0;
    bool loses_answers = false;  // takes the prompt, and the connection breaks
    int unloads = 0;
    int frees = 0;
    int cancels = 0;
    Bytes allocated;

    void finish(const std::string& id, JobState state) { jobs[id].state = state; }
    void fail(const std::string& id, std::string type, std::string message) {
        jobs[id] = {.state = JobState::Failed,
                    .images = {},
                    .error = service::NodeError{.node_id = "8",
                                                .node_type = "VAEDecode",
                                                .message = std::move(message),
                                                .exception_type = std::move(type)}};
    }
    void restart() { jobs.clear(); }
};

class FakeUpstream final : public service::Upstream {
  public:
    explicit FakeUpstream(FakeComfyUi& comfyui) : comfyui_(comfyui) {}
    [[nodiscard]] std::string address() const override { return "http://fake"; }
    [[nodiscard]] Result<service::ServerStats> read_stats() override {
        TRY_DO(there());
        service::ServerStats stats;
        stats.devices.push_back({.name = "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync",
                                 .type = "cuda",
                                 .vram_total = Bytes::from_mib(5898),
                                 .vram_free = Bytes::from_mib(5500) - comfyui_.allocated,
                                 .torch_total = comfyui_.allocated,
                                 .torch_free = Bytes(0)});
        return stats;
    }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view) override {
        return std::vector<std::string>{};
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view,
                                                                std::string_view) override {
        return std::vector<std::string>{};
    }
    [[nodiscard]] Result<std::string> read_object_info() override { return std::string("{}"); }
    [[nodiscard]] Result<void> submit(std::string_view, const std::string&,
                                      const std::string&) override {
        return {};
    }
    [[nodiscard]] Result<service::PromptReply> post_prompt(std::string_view body) override {
        TRY_DO(there());
        const auto fields = gateway::parse_prompt_body(body).value();
        if (comfyui_.refuse_with != 0)
            return service::PromptReply{
                .status = comfyui_.refuse_with,
                .body = R"({"error": {"type": "prompt_outputs_failed_validation", "message": )"
                        R"("Prompt outputs failed validation", "details": "", "extra_info": {}}, )"
                        R"("node_errors": {"4": {"errors": [{"type": "value_not_in_list", )"
                        R"("message": "Value not in list", "details": "ckpt_name"}], )"
                        R"("dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"}}})"};
        comfyui_.posted.push_back(*fields.prompt_id);
        comfyui_.bodies.emplace_back(body);
        comfyui_.jobs[*fields.prompt_id].state = JobState::Running;
        if (comfyui_.loses_answers) return fail(Errc::Unavailable, "connection reset");
        return service::PromptReply{
            .status = 200,
            .body = fmt::format(R"({{"prompt_id": "{}", "number": 1, "node_errors": {{}}}})",
                                *fields.prompt_id)};
    }
    [[nodiscard]] Result<std::unique_ptr<service::EventStream>> open_events(
        const std::string&, const std::string&) override {
        return fail(Errc::Unavailable, "none");
    }
    [[nodiscard]] Result<service::JobRecord> read_job(const std::string& id) override {
        TRY_DO(there());
        const auto found = comfyui_.jobs.find(id);
        return found == comfyui_.jobs.end() ? service::JobRecord{} : found->second;
    }
    [[nodiscard]] Result<void> cancel(const std::string& id) override {
        ++comfyui_.cancels;
        comfyui_.jobs[id].state = JobState::Interrupted;
        return {};
    }
    [[nodiscard]] Result<void> free_models() override {
        ++comfyui_.frees;
        comfyui_.allocated = Bytes(0);
        return {};
    }
    [[nodiscard]] Result<void> unload_models() override {
        ++comfyui_.unloads;
        comfyui_.allocated = Bytes(0);
        return {};
    }
    [[nodiscard]] Result<std::string> download(const service::ImageRef&) override {
        return fail(Errc::NotFound, "none");
    }

  private:
    [[nodiscard]] Result<void> there() const {
        if (comfyui_.is_there) return {};
        return fail(Errc::Unavailable, "connection refused");
    }
    FakeComfyUi& comfyui_;
};

class FakeAtHand final : public service::ComfyAtHand {
  public:
    explicit FakeAtHand(FakeComfyUi& comfyui) : comfyui_(comfyui) {}
    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        return std::make_unique<FakeUpstream>(comfyui_);
    }
    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats&,
                                                 telemetry::Attention) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return "fake"; }

  private:
    FakeComfyUi& comfyui_;
};

class FakeDoor final : public gateway::HookDoor {
  public:
    void broadcast(std::string text) override { broadcasts.push_back(std::move(text)); }
    void send_to(const std::string& client, std::string text) override {
        sent[client].push_back(std::move(text));
    }
    [[nodiscard]] std::vector<std::string> client_ids() const override { return {}; }
    [[nodiscard]] std::string upstream_url() const override { return "http://fake"; }
    std::vector<std::string> broadcasts;
    std::map<std::string, std::vector<std::string>> sent;
};

std::string prompt_text(int width = 1024, int height = 1024, int batch = 1,
                        std::uint64_t seed = 12345678901234567890ULL) {
    return advisor::build_text_to_image({.model = "sdxl-base",
                                         .width = width,
                                         .height = height,
                                         .steps = 20,
                                         .batch = batch,
                                         .seed = seed},
                                        "sd_xl_base_1.0.safetensors", "a dragon", "");
}

class Guarding : public testing::Test {
  protected:
    void SetUp() override {
        auto place = std::make_shared<service::Place>();
        place->budget = advisor::make_budget(5120, 0.15, 30).value();
        place->config.card.value = "rtx3050-6gb";
        place_ = place;
        open();
    }
    // A process begins (after the earlier one was killed).
    void open(GuardOptions options = {}) {
        guard_.reset();
        guard_ = std::make_unique<Guard>(
            Guard::Parts{.place = [this] { return place_; },
                         .comfyui = at_hand_,
                         // It outlives the process, as a file does.
                         .open_store = [this]() -> Result<std::shared_ptr<history::Store>> {
                             return std::shared_ptr<history::Store>(&store_,
                                                                    [](history::Store*) {});
                         },
                         .clock = clock_,
                         .seed = ++seed_,
                         .options = std::move(options),
                         .restart_comfyui = [this]() -> Result<void> {
                             ++restarts_;
                             return {};
                         },
                         .forecaster =
                             [this](const service::Place&, std::string_view,
                                    const std::vector<SharedProgram>&) {
                                 return advisor::Forecaster(law_);
                             }},
            Guard::Callbacks{
                .on_job = [](const HeldView&) {},
                .on_warning =
                    [this](std::string_view code, const std::string&, const std::string& text) {
                        warnings_.push_back(fmt::format("{}: {}", code, text));
                    },
                .on_busy = [this](bool busy) { busy_ = busy; }});
        guard_->restore();
        guard_->attach(door_);
    }
    gateway::PromptDecision post(const std::string& prompt, const std::string& id = "",
                                 net::Headers headers = {}, const std::string& more = "") {
        ClientRequest request;
        request.number = ++requests_;
        request.route = Route::PostPrompt;
        request.headers = std::move(headers);
        request.body =
            fmt::format(R"({{"prompt": {}, "client_id": "krita"{}{}}})", prompt,
                        id.empty() ? "" : fmt::format(R"(, "prompt_id": "{}")", id), more);
        gateway::PromptCall call(std::move(request));
        return guard_->decide(call);
    }
    // ComfyUI answers the request that the gateway forwarded.
    void arrive(const std::string& id) {
        comfyui_.posted.push_back(id);
        comfyui_.jobs[id].state = JobState::Running;
        guard_->on_prompt_answered(requests_, 200,
                                   fmt::format(R"({{"prompt_id": "{}", "number": 1}})", id));
    }
    void turn(int times = 1, std::int64_t ms = 300) {
        for (int i = 0; i < times; ++i) {
            clock_.advance(milliseconds(ms));
            guard_->turn();
        }
    }
    std::string queue() {
        ClientRequest request;
        request.route = Route::GetQueue;
        const auto amended = guard_->amend(request, {.status = 200,
                                                     .headers = {},
                                                     .body = R"({"queue_running": [], )"
                                                             R"("queue_pending": []})"});
        return amended ? amended->body : "";
    }
    HeldView view(const std::string& id) { return guard_->find(id).value(); }

    ManualClock clock_;
    FakeComfyUi comfyui_;
    FakeAtHand at_hand_{comfyui_};
    FakeDoor door_;
    history::MemoryStore store_;
    std::shared_ptr<const service::Place> place_;
    advisor::LoaderLaw law_;
    std::vector<std::string> warnings_;
    std::unique_ptr<Guard> guard_;
    std::uint64_t seed_ = 0;
    std::uint64_t requests_ = 0;
    int restarts_ = 0;
    bool busy_ = false;
};

TEST_F(Guarding, the_first_job_is_carried_by_its_own_request_and_kept_before) {
    const auto decision = post(prompt_text(512, 512), "job-a");
    const auto* const forward = std::get_if<Forward>(&decision);
    ASSERT_NE(forward, nullptr);
    // Byte for byte: the 20 digits of the seed.
    EXPECT_THAT(*forward->body, HasSubstr("12345678901234567890"));
    ASSERT_EQ(store_.list_held().value().size(), 1U);
    EXPECT_TRUE(store_.list_held().value()[0].mark.sent);
    arrive("job-a");
    turn();
    EXPECT_TRUE(busy_);
    EXPECT_EQ(guard_->held_jobs(), 0);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_TRUE(store_.list_held().value().empty());
    EXPECT_EQ(guard_->counts().done, 1);
    EXPECT_FALSE(busy_);
    const auto runs = store_.list_runs({}, {}).value().runs;
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].outcome, history::Outcome::Done);
}

TEST_F(Guarding, an_id_is_given_to_a_prompt_that_has_none) {
    const auto decision = post(prompt_text(512, 512));
    const auto fields = gateway::parse_prompt_body(*std::get<Forward>(decision).body).value();
    ASSERT_TRUE(fields.prompt_id);
    EXPECT_EQ(fields.prompt_id->size(), 36U);
}

TEST_F(Guarding, the_next_job_waits_visibly_and_goes_when_the_first_has_ended) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    const auto decision = post(prompt_text(512, 512), "job-b");
    const auto* const hold = std::get_if<Hold>(&decision);
    ASSERT_NE(hold, nullptr);
    EXPECT_EQ(hold->prompt_id, "job-b");
    EXPECT_EQ(guard_->held_jobs(), 1);
    EXPECT_THAT(queue(), HasSubstr(R"(, "job-b", {)"));
    EXPECT_THAT(queue(), HasSubstr(R"({"client_id": "krita"}, ["9"]])"));
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(view("job-b").waits_for, WaitsFor::Turn);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    EXPECT_EQ(guard_->held_jobs(), 0);
    EXPECT_EQ(view("job-b").state, HeldState::Sent);
    comfyui_.finish("job-b", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 2);
    EXPECT_THAT(door_.broadcasts, testing::Contains(HasSubstr(R"("queue_remaining": 1)")));
}

TEST_F(Guarding, a_client_that_did_not_hear_the_answer_starts_no_second_run) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    const auto first = post(prompt_text(512, 512), "job-b");
    const auto again = post(prompt_text(512, 512), "job-b");
    EXPECT_EQ(std::get<Hold>(again).number, std::get<Hold>(first).number);
    EXPECT_TRUE(std::holds_alternative<Refusal>(post(prompt_text(640, 512), "job-b")));
    EXPECT_EQ(store_.list_held().value().size(), 2U);
}

TEST_F(Guarding, kill_nine_at_any_moment_loses_and_doubles_nothing) {
    // Killed while a runs and b waits: a ends meanwhile, c comes with the next process.
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.finish("job-a", JobState::Succeeded);
    open();
    (void)post(prompt_text(512, 512), "job-c");
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    // Killed again, with b in ComfyUI and not ended.
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    comfyui_.finish("job-b", JobState::Succeeded);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-c"));
    comfyui_.finish("job-c", JobState::Succeeded);
    turn();
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, killed_between_the_mark_and_the_answer_comfyui_is_asked) {
    (void)post(prompt_text(512, 512), "job-a");  // marked as sent; never arrives
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    // Once more, and this time it had arrived.
    open();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, an_answer_that_is_lost_is_no_second_run) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.loses_answers = true;
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(20);
    comfyui_.finish("job-b", JobState::Succeeded);
    turn(10);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    EXPECT_EQ(guard_->counts().done, 2);
}

TEST_F(Guarding, a_comfyui_that_was_killed_gets_its_job_again) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.is_there = false;
    turn(10);
    EXPECT_EQ(guard_->counts().waiting, 2);
    EXPECT_THAT(queue(), testing::AllOf(HasSubstr("job-a"), HasSubstr("job-b")));
    EXPECT_EQ(restarts_, 0);
    turn(10, 1100);
    EXPECT_EQ(restarts_, 1);
    comfyui_.restart();
    comfyui_.is_there = true;
    turn(10, 1100);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a", "job-b"));
}

TEST_F(Guarding, out_of_memory_frees_waits_and_tries_once_more_as_it_is) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
    turn();
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_EQ(comfyui_.frees, 0);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_THAT(queue(), HasSubstr("job-a"));
    turn(5);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn();
    EXPECT_EQ(guard_->counts().done, 1);
    EXPECT_EQ(guard_->counts().retried, 1);
}

TEST_F(Guarding, then_the_next_plan_then_quarantine_and_the_queue_goes_on) {
    (void)post(prompt_text(), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    int fails = 0;
    for (; fails < 20 && guard_->counts().quarantined == 0; ++fails) {
        turn();
        comfyui_.fail("job-a", "torch.OutOfMemoryError", "Allocation on device ");
        turn(6);
    }
    EXPECT_EQ(guard_->counts().quarantined, 1);
    EXPECT_LT(fails, 10);
    const HeldView ended = view("job-a");
    EXPECT_EQ(ended.state, HeldState::Failed);
    EXPECT_THAT(ended.why, HasSubstr("out of memory"));
    // The client hears it, and /history tells it.
    ASSERT_EQ(door_.sent["krita"].size(), 3U);
    EXPECT_THAT(door_.sent["krita"][1], HasSubstr(R"("type": "execution_error")"));
    ClientRequest request;
    request.route = Route::HistoryItem;
    request.argument = "job-a";
    EXPECT_TRUE(guard_->wants(Route::HistoryItem));
    EXPECT_THAT(guard_->answer(request)->body, HasSubstr(R"("status_str": "error")"));
    turn(3);
    EXPECT_EQ(comfyui_.posted.back(), "job-b");
    // Not the same form twice into the wall: each form was sent twice at most.
    std::map<std::string, int> forms;
    for (const std::string& body : comfyui_.bodies) EXPECT_LE(++forms[body], 2);
    EXPECT_FALSE(store_.list_walls().value().empty());
    // And a second job of that shape is not sent into it, also not by the next process.
    open();
    const std::size_t before = comfyui_.posted.size();
    const auto second = post(prompt_text(1024, 1024, 1, 7), "job-c");
    if (const auto* const hold = std::get_if<Hold>(&second)) {
        // Changed, then.
        EXPECT_FALSE(hold->answer_headers.empty());
    } else {
        EXPECT_TRUE(std::holds_alternative<Refusal>(second));
    }
    EXPECT_EQ(comfyui_.posted.size(), before);
}

TEST_F(Guarding, another_error_is_the_clients_and_nothing_is_tried_again) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    comfyui_.fail("job-a", "ValueError", "bad value");
    turn(5);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(guard_->counts().failed, 1);
    EXPECT_TRUE(door_.sent.empty());
}

TEST_F(Guarding, what_comfyui_refuses_late_is_told_as_a_failure) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b");
    comfyui_.refuse_with = 400;
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_EQ(view("job-b").state, HeldState::Failed);
    ASSERT_EQ(door_.sent["krita"].size(), 3U);
    EXPECT_THAT(door_.sent["krita"][1], HasSubstr(R"("node_id": "4")"));
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, comfyuis_own_calls_take_held_jobs_back) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    for (const char* const id : {"job-b", "job-c", "job-d"}) (void)post(prompt_text(512, 512), id);
    ClientRequest request;
    request.route = Route::PostQueue;
    request.body = R"({"delete": ["job-c", "unknown"]})";
    EXPECT_TRUE(guard_->wants(Route::PostQueue));
    EXPECT_EQ(guard_->answer(request), std::nullopt);  // ComfyUI hears it, too
    EXPECT_THAT(queue(), testing::Not(HasSubstr("job-c")));
    request.body = R"({"clear": true})";
    (void)guard_->answer(request);
    EXPECT_EQ(guard_->held_jobs(), 0);
    EXPECT_EQ(store_.list_held().value().size(), 1U);
    EXPECT_EQ(guard_->counts().cancelled, 3);
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, pause_holds_and_resume_lets_go) {
    guard_->pause();
    EXPECT_TRUE(std::holds_alternative<Hold>(post(prompt_text(512, 512), "job-a")));
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    EXPECT_EQ(view("job-a").waits_for, WaitsFor::Pause);
    guard_->resume();
    turn();
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Guarding, priority_and_place_are_kept) {
    guard_->pause();
    for (const char* const id : {"job-a", "job-b", "job-c"}) (void)post(prompt_text(512, 512), id);
    ASSERT_TRUE(guard_->move("job-c", "job-a"));
    ASSERT_TRUE(guard_->set_priority("job-b", 5));
    EXPECT_EQ(guard_->set_priority("job-b", 500).error().code, Errc::InvalidInput);
    open();
    std::vector<std::string> order;
    for (const HeldView& one : guard_->list()) order.push_back(one.prompt_id);
    EXPECT_THAT(order, ElementsAre("job-b", "job-c", "job-a"));
}

TEST_F(Guarding, what_others_left_on_the_card_is_cleared_once_where_the_forecast_says_so) {
    guard_->pause();
    (void)post(prompt_text(1024, 1024), "job-a");
    comfyui_.allocated = Bytes::from_gib(3);
    guard_->resume();
    turn();
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    // It does not get away, but nobody waits for ever.
    comfyui_.allocated = Bytes::from_gib(3);
    turn(6);
    EXPECT_EQ(comfyui_.unloads, 1);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    // On an empty card nothing is freed.
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    EXPECT_EQ(comfyui_.unloads, 1);
}

TEST_F(Guarding, a_client_that_was_told_of_a_dead_comfyui_may_ask_again) {
    // The prompt had arrived, the answer had not.
    (void)post(prompt_text(512, 512), "job-a");
    comfyui_.jobs["job-a"].state = JobState::Running;
    guard_->on_prompt_answered(requests_, 502, "bad gateway");
    EXPECT_TRUE(std::holds_alternative<Hold>(post(prompt_text(512, 512), "job-a")));
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    EXPECT_EQ(guard_->counts().done, 1);
    // And one that had not arrived is forgotten: its client knows.
    (void)post(prompt_text(512, 512), "job-b");
    guard_->on_prompt_answered(requests_, 502, "bad gateway");
    turn(3);
    EXPECT_TRUE(store_.list_held().value().empty());
    EXPECT_THAT(comfyui_.posted, IsEmpty());
}

TEST_F(Guarding, nobody_is_held_to_the_line_of_a_card_that_is_guessed) {
    auto place = std::make_shared<service::Place>(*place_);
    place->config.card.value.clear();
    place_ = place;
    const auto decision =
        post(prompt_text(2048, 2048, 4), "job-a", {{std::string(kPolicyHeader), "enforce"}});
    ASSERT_TRUE(std::holds_alternative<Forward>(decision));
    EXPECT_EQ(view("job-a").facts.peak, std::nullopt);
}

TEST_F(Guarding, a_store_that_cannot_be_written_lets_prompts_through_and_says_so) {
    store_.fail_at(0);
    const auto decision = post(prompt_text(512, 512), "job-a");
    EXPECT_TRUE(std::holds_alternative<Forward>(decision));
    EXPECT_THAT(warnings_, testing::Contains(HasSubstr("gateway_open")));
    EXPECT_EQ(guard_->held_jobs(), 0);
}

TEST_F(Guarding, secrets_go_to_comfyui_and_never_to_the_disk) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    (void)post(prompt_text(512, 512), "job-b", {},
               R"(, "extra_data": {"api_key_comfy_org": "sk-secret", "x": 1})");
    for (const history::HeldJob& job : store_.list_held().value())
        EXPECT_THAT(job.body, testing::Not(HasSubstr("sk-secret")));
    EXPECT_THAT(queue(), testing::Not(HasSubstr("sk-secret")));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(2);
    ASSERT_EQ(comfyui_.bodies.size(), 1U);
    EXPECT_THAT(comfyui_.bodies[0], HasSubstr("sk-secret"));
}

TEST_F(Guarding, what_is_no_prompt_is_comfyuis_to_refuse) {
    for (const char* const body : {"", "no json", "[]", R"({"prompt": []})", R"({"prompt": "x"})",
                                   R"({"prompt": {}})", R"({"prompt": {"1": {"inputs": {}}}})"}) {
        ClientRequest request;
        request.route = Route::PostPrompt;
        request.body = body;
        gateway::PromptCall call(std::move(request));
        const auto decision = guard_->decide(call);
        ASSERT_TRUE(std::holds_alternative<Forward>(decision)) << body;
        EXPECT_EQ(std::get<Forward>(decision).body, std::nullopt);
    }
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Guarding, policies_change_warn_refuse_or_leave_alone) {
    const std::string large = prompt_text(2048, 2048, 4);
    const auto with = [&](const char* policy) {
        return post(large, "", {{std::string(kPolicyHeader), policy}});
    };
    const auto observed = with("observe");
    EXPECT_EQ(std::get<Forward>(observed).body, std::nullopt);
    guard_->pause();
    const auto advised = with("advise");
    EXPECT_THAT(std::get<Hold>(advised).node_errors, HasSubstr("plimsoll_warning"));
    const auto fitted = with("fit");
    const auto enforced = with("enforce");
    // Where a plan fits, both change; where none does, one warns and the other refuses.
    if (std::holds_alternative<Refusal>(enforced)) {
        EXPECT_THAT(std::get<Refusal>(enforced).node_errors, HasSubstr(R"("input_name": "width")"));
        EXPECT_THAT(std::get<Refusal>(enforced).details, HasSubstr("[run anyway]"));
        EXPECT_TRUE(std::holds_alternative<Hold>(fitted));
    } else {
        EXPECT_GT(std::get<Hold>(enforced).answer_headers.size(), 1U);
        EXPECT_GT(std::get<Hold>(fitted).answer_headers.size(), 1U);
    }
    EXPECT_TRUE(std::holds_alternative<Refusal>(with("obey")));
    EXPECT_TRUE(std::holds_alternative<Hold>(
        post(large, "",
             {{std::string(kPolicyHeader), "enforce"}, {std::string(kRunAnywayHeader), "1"}})));
}

TEST_F(Guarding, what_was_refused_goes_when_its_user_says_so) {
    const std::string large = prompt_text(2048, 2048, 4);
    const net::Headers strict{{std::string(kPolicyHeader), "enforce"},
                              {std::string(kPinHeader), "size,batch,vae"}};
    ASSERT_TRUE(std::holds_alternative<Refusal>(post(large, "job-a", strict)));
    ASSERT_EQ(guard_->list().size(), 1U);
    const HeldView refused = guard_->list().front();
    EXPECT_EQ(refused.state, HeldState::Refused);
    EXPECT_TRUE(refused.may_run_anyway);
    EXPECT_FALSE(refused.why.empty());
    EXPECT_TRUE(store_.list_held().value().empty());
    turn(3);
    EXPECT_THAT(comfyui_.posted, IsEmpty());

    const auto sent = guard_->run_anyway(refused.prompt_id);
    ASSERT_TRUE(sent) << sent.error().message;
    EXPECT_EQ(sent->state, HeldState::Waiting);
    ASSERT_EQ(store_.list_held().value().size(), 1U);  // before it is sent
    turn();
    ASSERT_THAT(comfyui_.posted, ElementsAre(refused.prompt_id));
    // As it came: no plan has touched it, nor its seed.
    EXPECT_THAT(comfyui_.bodies.front(), HasSubstr("2048"));
    EXPECT_THAT(comfyui_.bodies.front(), HasSubstr("12345678901234567890"));
    comfyui_.finish(refused.prompt_id, JobState::Succeeded);
    turn(2);
    EXPECT_EQ(view(refused.prompt_id).state, HeldState::Done);
    EXPECT_EQ(guard_->run_anyway(refused.prompt_id).error().code, Errc::InvalidInput);
    EXPECT_EQ(guard_->run_anyway("nobody").error().code, Errc::NotFound);
}

TEST_F(Guarding, only_the_latest_refused_can_still_be_sent) {
    const net::Headers strict{{std::string(kPolicyHeader), "enforce"},
                              {std::string(kPinHeader), "size,batch,vae"}};
    for (std::size_t i = 0; i < kRefusedMax + 3; ++i)
        (void)post(prompt_text(2048, 2048, 4, i + 1), "", strict);
    const std::vector<HeldView> all = guard_->list();
    ASSERT_EQ(all.size(), kRefusedMax + 3);
    EXPECT_EQ(std::ranges::count_if(all, &HeldView::may_run_anyway),
              static_cast<std::ptrdiff_t>(kRefusedMax));
    EXPECT_FALSE(all.back().may_run_anyway);  // the oldest
    EXPECT_EQ(guard_->run_anyway(all.back().prompt_id).error().code, Errc::NotFound);
}

TEST_F(Guarding, what_is_held_goes_next_when_its_user_says_so_also_after_a_kill) {
    guard_->pause();
    for (const char* const id : {"job-a", "job-b"}) (void)post(prompt_text(512, 512), id);
    EXPECT_TRUE(view("job-b").may_run_anyway);
    ASSERT_TRUE(guard_->run_anyway("job-b"));
    EXPECT_FALSE(view("job-b").may_run_anyway);
    EXPECT_TRUE(view("job-a").may_run_anyway);
    open();
    guard_->pause();
    turn(3);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-b"));
}

TEST_F(Guarding, seeds_and_pins_never_change) {
    guard_->pause();
    (void)post(prompt_text(1536, 1536, 2), "job-a", {{std::string(kPinHeader), "size,steps"}});
    const auto kept = store_.list_held().value();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_THAT(kept[0].body, HasSubstr("12345678901234567890"));
    EXPECT_THAT(kept[0].body, HasSubstr("1536"));
}

TEST_F(Guarding, heat_holds_jobs_and_stops_one_only_at_the_last) {
    (void)post(prompt_text(512, 512), "job-a");
    arrive("job-a");
    turn();
    guard_->on_message({.client_id = "krita",
                        .bytes = R"({"type": "execution_start", "data": {"prompt_id": "job-a"}})"});
    turn();
    const auto heat = [&](double celsius, int seconds) {
        for (int i = 0; i < seconds; ++i) {
            clock_.advance(milliseconds(1000));
            service::CardSample sample;
            sample.at_ms = clock_.unix_ms();
            sample.look.heat.temperature_c = celsius;
            sample.look.limits = {.max_operating_c = 89, .slowdown_c = 97};
            guard_->on_sample(sample);
        }
    };
    heat(91, 40);
    (void)post(prompt_text(512, 512), "job-b");
    turn();
    EXPECT_EQ(view("job-b").waits_for, WaitsFor::Heat);
    EXPECT_EQ(comfyui_.cancels, 0);
    heat(99, 40);
    turn();
    EXPECT_EQ(comfyui_.cancels, 1);
    turn(2);
    EXPECT_EQ(view("job-a").state, HeldState::Waiting);
    heat(60, 60);
    turn(3);
    EXPECT_THAT(comfyui_.posted.size(), 2U);
}

TEST_F(Guarding, five_hundred_held_jobs_are_listed_within_five_milliseconds) {
    guard_->pause();
    for (int i = 0; i < 500; ++i) (void)post(prompt_text(512, 512), fmt::format("job-{}", i));
    const auto began = std::chrono::steady_clock::now();
    const std::string text = queue();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    std::cout << fmt::format("/queue with 500 held jobs: {:.2f} ms, {} bytes\n", took.count(),
                             text.size());
    EXPECT_THAT(text, HasSubstr("job-499"));
    EXPECT_LT(took.count(), 100);  // chosen: the goal is 5; a debug build on a busy machine
}

// With a file, as the daemon has it.
class GuardingOnDisk : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_guard_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        config_.card.value = "rtx3050-6gb";
        config_.home.value = folder_;
        lookout_ = service::Lookout::create(config_, at_hand_, system_clock(), {}, {}).value();
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::unique_ptr<Guard> open() {
        return std::make_unique<Guard>(
            Guard::Parts{.place = [this] { return lookout_->place(); },
                         .comfyui = at_hand_,
                         .open_store = [this]() -> Result<std::shared_ptr<history::Store>> {
                             return history::SqliteStore::create(folder_ / "history.db");
                         },
                         .clock = system_clock(),
                         .seed = 1},
            Guard::Callbacks{});
    }
    std::filesystem::path folder_;
    service::Config config_;
    FakeComfyUi comfyui_;
    FakeAtHand at_hand_{comfyui_};
    std::unique_ptr<service::Lookout> lookout_;
};

gateway::PromptDecision post(Guard& guard, std::uint64_t number, const std::string& prompt) {
    ClientRequest request;
    request.number = number;
    request.route = Route::PostPrompt;
    request.body = fmt::format(R"({{"prompt": {}, "prompt_id": "job-{}"}})", prompt, number);
    gateway::PromptCall call(std::move(request));
    return guard.decide(call);
}

TEST_F(GuardingOnDisk, a_prompt_is_forecast_kept_and_decided_within_milliseconds) {
    const auto guard = open();
    guard->restore();
    std::vector<double> took;
    for (std::uint64_t i = 0; i < 20; ++i) {
        const auto began = std::chrono::steady_clock::now();
        const auto decision = post(*guard, i + 1, prompt_text(768, 768, 1, i));
        took.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
                .count());
        EXPECT_FALSE(std::holds_alternative<Refusal>(decision));
    }
    std::ranges::sort(took);
    std::cout << fmt::format("checked, kept and decided: median {:.1f} ms, most {:.1f} ms\n",
                             took[took.size() / 2], took.back());
    EXPECT_LT(took[took.size() / 2], 500);  // chosen: the goal is 15; a debug build, a busy disk
    EXPECT_EQ(guard->list().size(), 20U);
}

TEST_F(GuardingOnDisk, ten_thousand_held_jobs_are_there_after_a_kill) {
    constexpr int kJobs = 10'000;
    {
        // Written as fast as can be; how single ones are written is the store's own test.
        const auto store = history::SqliteStore::create(folder_ / "history.db",
                                                        {.durability = history::Durability::None})
                               .value();
        for (int i = 0; i < kJobs; ++i)
            ASSERT_TRUE(
                store->keep_held({.prompt_id = fmt::format("job-{}", i),
                                  .accepted_ms = i,
                                  .mark = {.turn = HeldQueue::turn_of(i)},
                                  .body = fmt::format(R"({{"prompt": {}, "prompt_id": "job-{}"}})",
                                                      prompt_text(), i),
                                  .facts_json = "{}"}));
    }
    const auto began = std::chrono::steady_clock::now();
    const auto guard = open();
    guard->restore();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    std::cout << fmt::format("10,000 held jobs taken up again: {:.0f} ms\n", took.count());
    EXPECT_EQ(guard->held_jobs(), kJobs);
    // Known ones are the same, not second ones.
    EXPECT_TRUE(std::holds_alternative<Refusal>(post(*guard, 17, prompt_text(512, 512))));
    EXPECT_EQ(guard->held_jobs(), kJobs);
}

}  // namespace
}  // namespace plimsoll::guard
