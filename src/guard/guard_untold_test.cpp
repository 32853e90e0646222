// SPDX-License-Identifier: Apache-2.0
//
// Goal: a ComfyUI that is killed between a picture and the news of it does no job twice, whoever
// else goes down meanwhile, and the job's client hears of its end. Method: guard_fixture.h.
#include "base/random.h"
#include "guard/guard_fixture.h"
#include "guard/latent_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace plimsoll::guard {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kSecond = 1000;

class Untold : public Guarding {
  protected:
    // As ComfyUI would answer; the graph saves as "plimsoll".
    std::string history(const std::string& id) {
        ClientRequest request;
        request.route = Route::HistoryItem;
        request.argument = id;
        const auto answered = guard_->answer(request);
        return answered ? answered->body : "";
    }
    void send(const std::string& id, const std::string& prompt) {
        (void)post(prompt, id);
        arrive(id);
        turn();
        clock_.advance(milliseconds(10 * kSecond));
    }
    void kill_comfyui() {
        comfyui_.is_there = false;
        turn(3, kSecond);
        comfyui_.restart();
        comfyui_.is_there = true;
    }
    const std::string prompt_ = prompt_text(512, 512);
};

TEST_F(Untold, a_picture_that_is_there_is_not_drawn_again) {
    send("job-a", prompt_);
    comfyui_.write("plimsoll_00001_.png", prompt_);
    kill_comfyui();
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(view("job-a").state, HeldState::Done);
    EXPECT_EQ(guard_->counts().done, 1);
    EXPECT_EQ(guard_->counts().retried, 0);
    EXPECT_THAT(history("job-a"),
                AllOf(HasSubstr(R"("9": {"images": [{"filename": "plimsoll_00001_.png")"),
                      HasSubstr(R"("status_str": "success")")));
    EXPECT_THAT(door_.sent["krita"],
                AllOf(Contains(HasSubstr(R"("type": "executed", "data": {"node": "9")")),
                      Contains(HasSubstr("execution_success")),
                      Contains(HasSubstr(R"("executing", "data": {"node": null)"))));
    EXPECT_TRUE(store_.list_held().value().empty());
}

TEST_F(Untold, half_a_picture_or_none_is_drawn_again) {
    send("job-a", prompt_);
    comfyui_.write("plimsoll_00001_.png", prompt_);
    comfyui_.output.back().bytes.resize(90'000);
    kill_comfyui();
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-a"));
}

TEST_F(Untold, the_same_prompt_twice_is_two_pictures) {
    // The first ends well and is heard of; the second is killed before it has drawn anything.
    send("job-a", prompt_);
    comfyui_.write("plimsoll_00001_.png", prompt_);
    comfyui_.jobs["job-a"] = {.state = JobState::Succeeded,
                              .images = {{"plimsoll_00001_.png", "", "output"}},
                              .error = std::nullopt};
    (void)post(prompt_, "job-b");
    turn(3);
    ASSERT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    kill_comfyui();
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-b"));
}

TEST_F(Untold, a_gateway_that_is_killed_as_well_finds_the_picture) {
    send("job-a", prompt_);
    comfyui_.write("plimsoll_00001_.png", prompt_);
    comfyui_.is_there = false;
    open();
    turn(3, kSecond);
    comfyui_.restart();
    comfyui_.is_there = true;
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(view("job-a").state, HeldState::Done);
    // Killed again before it was out of the books: nothing changes.
    open();
    turn(3, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
}

TEST_F(Untold, a_job_that_waited_is_looked_for_from_its_sending_on) {
    (void)post(prompt_text(640, 640), "job-a");
    arrive("job-a");
    (void)post(prompt_, "job-b");
    clock_.advance(milliseconds(10 * kSecond));
    comfyui_.write("plimsoll_00001_.png", prompt_);  // somebody else's, before b was sent
    clock_.advance(milliseconds(10 * kSecond));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    ASSERT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b"));
    open();
    kill_comfyui();
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a", "job-b", "job-b"));
}

TEST_F(Untold, a_comfyui_that_goes_down_while_it_is_asked_is_asked_again) {
    send("job-a", prompt_);
    comfyui_.write("plimsoll_00001_.png", prompt_);
    kill_comfyui();
    comfyui_.pieces_until_gone = 1;
    turn(3, kSecond);
    EXPECT_FALSE(comfyui_.is_there);
    EXPECT_THAT(queue(), HasSubstr("job-a"));
    comfyui_.pieces_until_gone = -1;
    comfyui_.is_there = true;
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_EQ(view("job-a").state, HeldState::Done);
}

TEST_F(Untold, a_job_that_was_heard_to_be_done_is_told_though_comfyui_forgot_it) {
    send("job-a", prompt_);
    guard_->on_message(
        {.client_id = "krita",
         .bytes =
             R"({"type": "executed", "data": {"node": "9", "display_node": "9", "output": )"
             R"({"images": [{"filename": "x_00001_.png", "subfolder": "", "type": "output"}]}, )"
             R"("prompt_id": "job-a"}})"});
    turn();
    kill_comfyui();
    turn(5, kSecond);
    EXPECT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_THAT(history("job-a"), HasSubstr(R"("filename": "x_00001_.png")"));
    EXPECT_THAT(door_.sent["krita"], Contains(HasSubstr("execution_success")));
}

class SpentLatents : public Guarding {
  protected:
    void SetUp() override {
        Guarding::SetUp();
        Random random(os_seed());
        output_ = std::filesystem::path(testing::TempDir()) / random.next_uuid();
        std::filesystem::create_directories(output_ / "plimsoll");
    }
    void TearDown() override { std::filesystem::remove_all(output_); }
    // A job that waits, with a latent that an earlier try saved.
    std::filesystem::path hold() {
        Facts facts;
        facts.client = "krita";
        facts.may_change = true;
        facts.latent = LatentCut{.sampler_id = "3", .slot = 0, .decode_id = "8", .stem = kStem};
        const std::string prompt = prompt_text(512, 512);
        (void)store_.keep_held(
            {.prompt_id = "job-a",
             .accepted_ms = clock_.unix_ms(),
             .mark = {},
             .body = fmt::format(R"({{"prompt": {}, "prompt_id": "job-a"}})", prompt),
             .facts_json = encode_facts(facts)});
        open();
        const std::filesystem::path file = output_ / "plimsoll" / (kStem + "_00001_.latent");
        std::ofstream(file) << "latent";
        return file;
    }
    const std::string kStem = "0d4c9d2e-51b4-4f3c-9a76-2f1d9a3c7b10";
    std::filesystem::path output_;
};

TEST_F(SpentLatents, go_with_their_job_and_not_before) {
    comfyui_.output_folders = {output_.string()};
    const auto file = hold();
    turn(3);
    ASSERT_THAT(comfyui_.posted, ElementsAre("job-a"));
    EXPECT_TRUE(std::filesystem::exists(file));
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_FALSE(std::filesystem::exists(file));
    EXPECT_THAT(warnings_, Not(Contains(HasSubstr("latents_left"))));
}

TEST_F(SpentLatents, that_lie_elsewhere_are_said_once) {
    comfyui_.output.push_back(
        {{kStem + "_00001_.latent", "plimsoll", "output"}, std::string(2U << 20U, 'x'), 0});
    (void)hold();
    turn(3);
    comfyui_.finish("job-a", JobState::Succeeded);
    turn(3);
    EXPECT_THAT(warnings_,
                Contains(AllOf(HasSubstr("latents_left"), HasSubstr("2.0 MiB"))).Times(1));
}

TEST_F(SpentLatents, of_a_job_that_is_taken_back_go_too) {
    comfyui_.output_folders = {output_.string()};
    const auto file = hold();
    guard_->pause();
    turn();
    ASSERT_TRUE(guard_->cancel("job-a"));
    // ComfyUI is met first: it says where its folder is.
    guard_->resume();
    (void)post(prompt_text(512, 512), "job-b");
    arrive("job-b");
    turn(3);
    EXPECT_FALSE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace plimsoll::guard
