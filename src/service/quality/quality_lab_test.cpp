// SPDX-License-Identifier: Apache-2.0
//
// Goal: each picture of a session is submitted once, whatever happens to the daemon and to ComfyUI.
// Method: a scripted ComfyUI, the advisor's law instead of the forecaster, a history file that
// survives the lab.
#include "service/quality/quality_lab.h"

#include "advisor/loader_law.h"
#include "history/sqlite_store.h"
#include "service/quality/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>

namespace plimsoll::service {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class EndsAtOnce final : public EventStream {
  public:
    [[nodiscard]] Result<std::optional<Message>> next(milliseconds) override {
        return std::optional<Message>(Ended{});
    }
    void close() override {}
};

// What is submitted is done at once and remembered, as by a ComfyUI that outlives the lab.
class Scripted final : public Upstream {
  public:
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> workflows;
    std::map<std::string, int> prompts;  // how often each id was submitted
    bool is_away = false;
    bool refuses = false;
    bool never_ends = false;
    int cancelled = 0;
    std::set<std::string> interrupted;
    int lost_submits = 0;  // ComfyUI goes away while it is asked, and is back at once
    bool lists_model = true;

    [[nodiscard]] std::string address() const override { return "scripted"; }
    [[nodiscard]] Result<ServerStats> read_stats() override {
        const std::lock_guard lock(mutex);
        if (is_away) return fail(Errc::Unavailable, "connection refused");
        return ServerStats{};
    }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view) override {
        if (!lists_model) return std::vector<std::string>{"other.safetensors"};
        return std::vector<std::string>{"sd_xl_base_1.0.safetensors"};
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view,
                                                                std::string_view input) override {
        if (input == "scheduler") return std::vector<std::string>{"karras", "normal"};
        if (input == "ckpt_name") return list_models("checkpoints");
        return std::vector<std::string>{"dpmpp_2m", "euler"};
    }
    [[nodiscard]] Result<std::string> read_object_info() override {
        return fail(Errc::Unavailable, "not asked");
    }
    [[nodiscard]] Result<void> submit(std::string_view workflow, const std::string& prompt_id,
                                      const std::string&) override {
        const std::lock_guard lock(mutex);
        if (is_away) return fail(Errc::Unavailable, "connection refused");
        if (lost_submits > 0) {
            --lost_submits;
            return fail(Errc::Unavailable, "connection reset");
        }
        if (refuses) return fail(Errc::InvalidInput, "ckpt_name: not in the list");
        workflows.emplace_back(workflow);
        ++prompts[prompt_id];
        changed.notify_all();
        return {};
    }
    [[nodiscard]] Result<std::unique_ptr<EventStream>> open_events(const std::string&,
                                                                   const std::string&) override {
        return std::make_unique<EndsAtOnce>();
    }
    [[nodiscard]] Result<JobRecord> read_job(const std::string& prompt_id) override {
        const std::lock_guard lock(mutex);
        if (is_away) return fail(Errc::Unavailable, "connection refused");
        if (!prompts.contains(prompt_id)) return JobRecord{};
        if (interrupted.contains(prompt_id))
            return JobRecord{.state = JobState::Interrupted, .images = {}, .error = std::nullopt};
        if (never_ends)
            return JobRecord{.state = JobState::Running, .images = {}, .error = std::nullopt};
        return JobRecord{.state = JobState::Succeeded,
                         .images = {{prompt_id + ".png", "", "output"}},
                         .error = std::nullopt};
    }
    [[nodiscard]] Result<void> cancel(const std::string& prompt_id) override {
        const std::lock_guard lock(mutex);
        ++cancelled;
        interrupted.insert(prompt_id);
        changed.notify_all();
        return {};
    }
    [[nodiscard]] Result<void> free_models() override { return {}; }
    [[nodiscard]] Result<void> unload_models() override { return {}; }
    [[nodiscard]] Result<PromptReply> post_prompt(std::string_view) override {
        return fail(Errc::Unavailable, "not asked");
    }
    [[nodiscard]] Result<std::string> download(const ImageRef&) override { return "picture"; }

    void wait_for(std::size_t submitted) {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(60),
                                     [&] { return workflows.size() >= submitted; }));
    }
};

// A client of the caller's own, as the real one hands out.
class Client final : public Upstream {
  public:
    explicit Client(Scripted& server) : server_(server) {}
    [[nodiscard]] std::string address() const override { return server_.address(); }
    [[nodiscard]] Result<ServerStats> read_stats() override { return server_.read_stats(); }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view folder) override {
        return server_.list_models(folder);
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view type,
                                                                std::string_view input) override {
        return server_.list_choices(type, input);
    }
    [[nodiscard]] Result<std::string> read_object_info() override {
        return server_.read_object_info();
    }
    [[nodiscard]] Result<void> submit(std::string_view workflow, const std::string& prompt_id,
                                      const std::string& client_id) override {
        return server_.submit(workflow, prompt_id, client_id);
    }
    [[nodiscard]] Result<std::unique_ptr<EventStream>> open_events(
        const std::string& client_id, const std::string& prompt_id) override {
        return server_.open_events(client_id, prompt_id);
    }
    [[nodiscard]] Result<JobRecord> read_job(const std::string& prompt_id) override {
        return server_.read_job(prompt_id);
    }
    [[nodiscard]] Result<void> cancel(const std::string& prompt_id) override {
        return server_.cancel(prompt_id);
    }
    [[nodiscard]] Result<void> free_models() override { return server_.free_models(); }
    [[nodiscard]] Result<void> unload_models() override { return server_.unload_models(); }
    [[nodiscard]] Result<PromptReply> post_prompt(std::string_view body) override {
        return server_.post_prompt(body);
    }
    [[nodiscard]] Result<std::string> download(const ImageRef& image) override {
        return server_.download(image);
    }

  private:
    Scripted& server_;
};

class AtHand final : public ComfyAtHand {
  public:
    explicit AtHand(Scripted& server) : server_(server) {}
    [[nodiscard]] Result<std::unique_ptr<Upstream>> reach() override {
        return std::make_unique<Client>(server_);
    }
    [[nodiscard]] CardLook look_at_card(const DeviceStats&, telemetry::Attention) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return "scripted"; }

  private:
    Scripted& server_;
};

// Any two pictures are alike to a degree; none has noise.
Result<quality::Comparison> compare_alike(std::string_view, std::string_view,
                                          const quality::Models&) {
    quality::Comparison out;
    out.likeness = quality::Likeness::SamePicture;
    for (const auto scale : {quality::Scale::Full, quality::Scale::Half, quality::Scale::Quarter})
        out.pair.add(quality::Measure::HaarPsi, scale, 0.95);
    out.candidate.add(quality::Measure::FlatNoise, quality::Scale::Full, 1.3);
    return out;
}

// Scores what the test says by its name, and counts how often it was asked.
using ScoreOf = std::function<Result<double>(const std::string& name, const ScoredPicture&)>;
class Scored final : public Scorer {
  public:
    Scored(const ScorerSpec& spec, ScoreOf& score) : name_(spec.rules.name), score_(score) {}
    [[nodiscard]] Result<double> score(const ScoredPicture& picture,
                                       const std::atomic<bool>*) override {
        return score_(name_, picture);
    }

  private:
    std::string name_;
    ScoreOf& score_;
};

class QualityLabTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_lab_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        auto place = std::make_shared<Place>();
        place->config.home.value = folder_;
        place->config.output_dir.value = folder_ / "output";
        const auto builtin = advisor::builtin_profiles();
        place->profiles.all.assign(builtin.begin(), builtin.end());
        place->budget = budget_of(place->config).value();
        place_ = place;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::unique_ptr<QualityLab> lab() { return std::make_unique<QualityLab>(parts()); }
    QualityLab::Parts parts() {
        return QualityLab::Parts{
            .place = [this] { return place_; },
            .comfyui = at_hand_,
            .open_store = [this]() -> Result<std::unique_ptr<history::Store>> {
                TRY_ASSIGN(auto store, history::SqliteStore::create(folder_ / "history.db"));
                return std::unique_ptr<history::Store>(std::move(store));
            },
            .clock = system_clock(),
            .seed = seed_++,
            .compare = compare_alike,
            .make_scorer =
                [this](const ScorerSpec& spec) { return std::make_unique<Scored>(spec, scores_); },
            .forecaster =
                [](const Site&, const Job&) {
                    return [law = advisor::LoaderLaw()](const advisor::Scenario& scenario) {
                        return law(scenario);
                    };
                },
            .sleep = [](milliseconds) {},
            .look_again = milliseconds(1),
            .on_warning =
                [this](std::string_view, const Phrase& message) {
                    const std::lock_guard lock(server_.mutex);
                    warnings_.push_back(message);
                }};
    }
    static QualityOrder order() {
        QualityOrder out;
        out.model = "sdxl-base";
        out.prompts = {"one", "two"};
        out.seed = 3;
        return out;
    }
    // In a test's time: until the session is over.
    static QualityView wait_for_end(QualityLab& lab, const std::string& id) {
        for (;;) {
            QualityView view = lab.find(id).value();
            if (quality::is_over(view.session.progress().state)) return view;
            std::this_thread::yield();
        }
    }
    std::size_t drawn(const QualityView& view) { return view.session.count().drawn; }

    std::filesystem::path folder_;
    Scripted server_;
    AtHand at_hand_{server_};
    std::shared_ptr<const Place> place_;
    ScoreOf scores_;
    std::vector<std::string> warnings_;
    std::uint64_t seed_ = 3;
};

TEST_F(QualityLabTest, a_session_draws_each_picture_once_within_its_bound_and_answers) {
    const auto lab = this->lab();
    lab->start();
    const auto begun = lab->begin(order());
    ASSERT_TRUE(begun) << begun.error().message;
    const std::string id = begun->session.plan().session_id;
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Done)
        << done.session.progress().why.message();
    EXPECT_EQ(server_.workflows.size(), drawn(done));
    EXPECT_LE(drawn(done), quality::bound_of(done.session.plan()).images);
    EXPECT_TRUE(done.session.answer().chosen) << done.session.answer().words;
    // What it found out is there for who asks later.
    const auto store = history::SqliteStore::create(folder_ / "history.db").value();
    EXPECT_FALSE(measured_of(*store, "sdxl-base").value().empty());
}

TEST_F(QualityLabTest, another_daemon_goes_on_and_nothing_is_submitted_twice) {
    std::string id;
    std::size_t at = 3;
    {
        const auto lab = this->lab();
        lab->start();
        id = lab->begin(order()).value().session.plan().session_id;
        server_.wait_for(at);
    }  // stopped in the middle
    for (int i = 0; i < 3; ++i) {
        const auto lab = this->lab();
        lab->start();
        at += 3;
        server_.wait_for(at);
    }
    const auto lab = this->lab();
    lab->start();
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Done);
    EXPECT_EQ(server_.workflows.size(), drawn(done));
    for (const auto& [prompt, times] : server_.prompts) EXPECT_EQ(times, 1);
}

TEST_F(QualityLabTest, an_unknown_session_is_told_with_the_known_ones) {
    const auto lab = this->lab();
    EXPECT_THAT(lab->find("x").error().message, HasSubstr("there is none yet"));
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    const auto unknown = lab->find("x");
    EXPECT_EQ(unknown.error().code, Errc::NotFound);
    EXPECT_THAT(unknown.error().message, HasSubstr(id));
}

TEST_F(QualityLabTest, a_session_is_paused_resumed_and_cancelled) {
    const auto lab = this->lab();  // not started: nothing draws
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    ASSERT_TRUE(lab->pause(id));
    EXPECT_FALSE(lab->pause(id));
    EXPECT_EQ(lab->find(id)->session.progress().state, quality::SessionState::Paused);
    ASSERT_TRUE(lab->resume(id));
    ASSERT_TRUE(lab->cancel(id));
    EXPECT_EQ(lab->find(id)->session.progress().state, quality::SessionState::Cancelled);
    EXPECT_FALSE(lab->resume(id));
}

TEST_F(QualityLabTest, a_model_whose_file_vanishes_ends_the_session_with_the_reason) {
    const auto lab = this->lab();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    server_.refuses = true;
    lab->start();
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Failed);
    EXPECT_THAT(done.session.progress().why.message(), HasSubstr("not in the list"));
}

TEST_F(QualityLabTest, refuses_orders_that_cannot_be) {
    const auto lab = this->lab();
    QualityOrder unknown = order();
    unknown.model = "nothing";
    EXPECT_EQ(lab->begin(unknown).error().code, Errc::NotFound);
    QualityOrder hasty = order();
    hasty.minutes_max = 0.1;
    EXPECT_EQ(lab->begin(hasty).error().code, Errc::LimitExceeded);
    QualityOrder empty = order();
    empty.prompts = {" "};
    EXPECT_EQ(lab->begin(empty).error().code, Errc::InvalidInput);
    server_.lists_model = false;
    EXPECT_EQ(lab->begin(order()).error().code, Errc::NotFound);
}

TEST_F(QualityLabTest, votes_are_counted_and_pairs_stay_within_a_block) {
    const auto lab = this->lab();
    lab->start();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    EXPECT_EQ(wait_for_end(*lab, id).session.progress().state, quality::SessionState::Done);
    for (int i = 0; i < 5; ++i) {
        const BlindPair pair = lab->next_pair(id).value();
        EXPECT_EQ(pair.left.block, pair.right.block);
        const auto count = lab->vote(id, {.vote_id = {},
                                          .left = pair.left,
                                          .right = pair.right,
                                          .preferred = quality::Preferred::First});
        ASSERT_TRUE(count);
        EXPECT_EQ(count->standings.votes, static_cast<std::size_t>(i + 1));
        EXPECT_FALSE(count->standings.enough());
    }
    const auto wrong = lab->vote(id, {.vote_id = {}, .left = {0, 0}, .right = {0, 0}});
    EXPECT_EQ(wrong.error().code, Errc::InvalidInput);
}

TEST_F(QualityLabTest, a_scorer_that_fails_is_named_and_the_session_goes_on) {
    auto place = std::make_shared<Place>(*place_);
    for (const char* const name : {"good", "broken"}) {
        ScorerSpec spec;
        spec.rules.name = name;
        spec.rules.margin = 0.1;
        place->scorers.push_back(spec);
    }
    place_ = place;
    std::atomic<int> broken = 0;
    std::atomic<int> wrong = 0;
    scores_ = [&](const std::string& name, const ScoredPicture& picture) -> Result<double> {
        if (picture.prompt.empty() || picture.bytes != "picture" ||
            !std::filesystem::exists(picture.file) ||
            (!picture.reference_file.empty() && picture.reference_bytes != "picture"))
            ++wrong;
        if (name == "good") return 1;
        ++broken;
        return fail(Errc::Unavailable, "no answer within 30 s, it was killed");
    };
    const auto lab = this->lab();
    lab->start();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Done);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(broken, 3);  // then it is asked no more
    const quality::Answer answer = done.session.answer();
    ASSERT_TRUE(answer.chosen) << answer.words;
    EXPECT_TRUE(answer.scorers[0].decides);
    EXPECT_EQ(answer.scorers[0].scored, drawn(done));
    EXPECT_FALSE(answer.scorers[1].decides);
    EXPECT_THAT(answer.scorers[1].why_failed, HasSubstr("no answer within 30 s"));
}

TEST_F(QualityLabTest, what_it_measured_and_what_was_voted_is_evidence_for_the_advisor) {
    const auto lab = this->lab();
    lab->start();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    EXPECT_EQ(wait_for_end(*lab, id).session.progress().state, quality::SessionState::Done);
    const auto store = history::SqliteStore::create(folder_ / "history.db").value();
    const auto known = quality_evidence(*store, "xl/sd_xl_base_1.0.safetensors", "").value();
    EXPECT_GE(known.settings.size(), 2U);
    EXPECT_EQ(known.minding.votes, 0U);
    EXPECT_TRUE(quality_evidence(*store, "other.safetensors", "")->settings.empty());
    EXPECT_TRUE(quality_evidence(*store, "", "")->settings.empty());
    // Votes about pairs that the lab finds alike say nothing about how much is minded.
    for (int i = 0; i < 3; ++i) {
        const BlindPair pair = lab->next_pair(id).value();
        ASSERT_TRUE(lab->vote(id, {.vote_id = {},
                                   .left = pair.left,
                                   .right = pair.right,
                                   .preferred = quality::Preferred::First,
                                   .voter = "ann"}));
    }
    EXPECT_EQ(parse_vote(store->list_votes(id)->front().vote_json)->voter, "ann");
    EXPECT_EQ(quality_evidence(*store, "sd_xl_base_1.0.safetensors", "ann")->minding.votes, 0U);
    EXPECT_FALSE(lab->vote(id, {.vote_id = {},
                                .left = {0, 0},
                                .right = {1, 0},
                                .voter = std::string(kVoterBytesMax + 1, 'x')}));
}

TEST_F(QualityLabTest, goes_on_by_itself_when_comfyui_is_back_and_says_so) {
    server_.lost_submits = 2;
    const auto lab = this->lab();
    lab->start();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Done);
    EXPECT_EQ(server_.workflows.size(), drawn(done));
    for (const auto& [prompt, times] : server_.prompts) EXPECT_EQ(times, 1);
    EXPECT_THAT(warnings_, testing::SizeIs(2));
    EXPECT_THAT(warnings_, testing::Each(HasSubstr("goes on")));
}

TEST_F(QualityLabTest, waits_for_a_person_once_comfyui_goes_away_again_and_again) {
    server_.lost_submits = 1'000'000;
    const auto lab = this->lab();
    lab->start();
    const std::string id = lab->begin(order()).value().session.plan().session_id;
    const auto rests = [&] {
        const quality::SessionProgress now = lab->find(id)->session.progress();
        return now.state == quality::SessionState::Paused && !now.resumes_itself();
    };
    while (!rests()) std::this_thread::yield();
    EXPECT_THAT(lab->find(id)->session.progress().why.message(), HasSubstr("resume it by hand"));
    {
        const std::lock_guard lock(server_.mutex);
        server_.lost_submits = 0;
    }
    ASSERT_TRUE(lab->resume(id));
    EXPECT_EQ(wait_for_end(*lab, id).session.progress().state, quality::SessionState::Done);
}

TEST_F(QualityLabTest, another_program_can_cancel_what_rests_and_what_is_drawn) {
    const auto lab = this->lab();
    const std::string rests = lab->begin(order()).value().session.plan().session_id;
    ASSERT_TRUE(lab->pause(rests));
    const auto store = history::SqliteStore::create(folder_ / "history.db").value();
    ASSERT_TRUE(cancel_session(*store, rests));
    EXPECT_EQ(lab->find(rests)->session.progress().state, quality::SessionState::Cancelled);
    EXPECT_FALSE(lab->resume(rests));
    EXPECT_FALSE(cancel_session(*store, rests));
    EXPECT_EQ(cancel_session(*store, "x").error().code, Errc::NotFound);
    // Before it is drawn for the first time.
    const std::string runs = lab->begin(order()).value().session.plan().session_id;
    ASSERT_TRUE(cancel_session(*store, runs));
    lab->start();
    EXPECT_EQ(wait_for_end(*lab, runs).session.progress().state, quality::SessionState::Cancelled);
    EXPECT_TRUE(server_.workflows.empty());
}

// What ComfyUI hands out is no picture, or was cut off.
TEST_F(QualityLabTest, pictures_that_cannot_be_read_end_the_session_with_the_reason) {
    QualityLab::Parts made = parts();
    made.compare = compare_picture_bytes;
    QualityLab lab(std::move(made));
    lab.start();
    const std::string id = lab.begin(order()).value().session.plan().session_id;
    const QualityView done = wait_for_end(lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Failed);
    EXPECT_THAT(done.session.progress().why.message(), HasSubstr("picture"));
    EXPECT_EQ(drawn(done), 0U);
    // Tried again as often as any picture, and no more.
    EXPECT_EQ(server_.workflows.size(), static_cast<std::size_t>(quality::kAttemptsMax));
}

// A card that nothing has used for a while, as the lab's clock has it.
class ProposalTest : public QualityLabTest {
  protected:
    std::unique_ptr<QualityLab> lab_that_proposes() {
        QualityLab::Parts parts = this->parts();
        parts.card_is_busy = [this] { return busy_.load(); };
        parts.on_proposal = [this](const QualityView& view) {
            const std::lock_guard lock(server_.mutex);
            proposed_.push_back(view.session.plan().session_id);
            server_.changed.notify_all();
        };
        parts.idle_after = milliseconds(0);
        parts.look_every = milliseconds(0);
        return std::make_unique<QualityLab>(std::move(parts));
    }
    std::string wait_for_proposal() {
        std::unique_lock lock(server_.mutex);
        EXPECT_TRUE(server_.changed.wait_for(lock, std::chrono::seconds(60),
                                             [&] { return !proposed_.empty(); }));
        return proposed_.empty() ? "" : proposed_.front();
    }
    std::atomic<bool> busy_ = false;
    std::vector<std::string> proposed_;
};

TEST_F(ProposalTest, proposes_a_test_of_a_model_that_it_never_saw_and_draws_it_once_accepted) {
    const auto lab = lab_that_proposes();
    lab->start();
    const std::string id = wait_for_proposal();
    const auto waiting = lab->proposals().value();
    ASSERT_EQ(waiting.size(), 1U);
    EXPECT_EQ(waiting[0].session.plan().session_id, id);
    EXPECT_EQ(waiting[0].session.plan().kind, quality::TestKind::Quick);
    EXPECT_GT(quality::bound_of(waiting[0].session.plan()).images, 0U);
    EXPECT_TRUE(server_.workflows.empty());
    EXPECT_FALSE(lab->resume(id));
    ASSERT_TRUE(lab->accept(id));
    EXPECT_FALSE(lab->accept(id));
    EXPECT_EQ(wait_for_end(*lab, id).session.progress().state, quality::SessionState::Done);
    // It is known now.
    EXPECT_EQ(proposed_.size(), 1U);
    EXPECT_TRUE(lab->proposals()->empty());
}

TEST_F(ProposalTest, asks_nobody_twice) {
    std::string id;
    {
        const auto lab = lab_that_proposes();
        lab->start();
        id = wait_for_proposal();
        ASSERT_TRUE(lab->cancel(id));
    }
    const auto lab = lab_that_proposes();
    lab->start();
    // A test of the user's own shows that it has looked around since.
    EXPECT_EQ(
        wait_for_end(*lab, lab->begin(order())->session.plan().session_id).session.progress().state,
        quality::SessionState::Done);
    EXPECT_EQ(proposed_.size(), 1U);
}

TEST_F(ProposalTest, is_accepted_from_the_command_line) {
    const auto lab = lab_that_proposes();
    lab->start();
    const std::string id = wait_for_proposal();
    const auto store = history::SqliteStore::create(folder_ / "history.db").value();
    ASSERT_TRUE(accept_session(*store, id));
    EXPECT_EQ(wait_for_end(*lab, id).session.progress().state, quality::SessionState::Done);
}

TEST_F(ProposalTest, needs_no_asking_where_the_configuration_agrees) {
    auto place = std::make_shared<Place>(*place_);
    place->config.quality_run_when_idle.value = true;
    place_ = place;
    const auto lab = lab_that_proposes();
    lab->start();
    EXPECT_EQ(wait_for_end(*lab, wait_for_proposal()).session.progress().state,
              quality::SessionState::Done);
}

TEST_F(ProposalTest, waits_while_the_card_is_busy_and_gives_way_in_the_middle_of_a_picture) {
    const auto lab = lab_that_proposes();
    lab->start();
    const std::string id = wait_for_proposal();
    {
        const std::lock_guard lock(server_.mutex);
        server_.never_ends = true;
    }
    ASSERT_TRUE(lab->accept(id));
    server_.wait_for(1);
    busy_ = true;
    lab->give_way();
    {
        std::unique_lock lock(server_.mutex);
        ASSERT_TRUE(server_.changed.wait_for(lock, std::chrono::seconds(60),
                                             [&] { return server_.cancelled == 1; }));
        server_.never_ends = false;
    }
    while (lab->find(id)->waits_for != "a job of the queue") std::this_thread::yield();
    EXPECT_EQ(server_.workflows.size(), 1U);
    busy_ = false;
    const QualityView done = wait_for_end(*lab, id);
    EXPECT_EQ(done.session.progress().state, quality::SessionState::Done);
    EXPECT_EQ(server_.workflows.size(), drawn(done) + 1);
}

TEST(OtherPrecisions, are_told_by_names_that_differ_in_precision_only) {
    const std::vector<std::string> listed{"xl/model_fp16.safetensors", "model.safetensors",
                                          "model-fp8_e4m3fn.safetensors", "model_v2.safetensors",
                                          "other.safetensors"};
    EXPECT_EQ(
        other_precisions("model.safetensors", listed),
        (std::vector<std::string>{"xl/model_fp16.safetensors", "model-fp8_e4m3fn.safetensors"}));
}

}  // namespace
}  // namespace plimsoll::service
