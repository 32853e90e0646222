// SPDX-License-Identifier: Apache-2.0
//
// Goal: a job is found done where all its own pictures are there and whole, and never otherwise:
// what is older, another job's, half written or of another prompt does not count. Method: a folder
// that is a list of files with their times.
#include "guard/written_work.h"

#include "guard/guard_fixture.h"
#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

using service::ImageRef;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// "8" decodes a batch, "9" saves it, and "more" nodes beside.
std::string graph_text(const std::string& prefix = "a", const std::string& more = "") {
    return fmt::format(
        R"({{"3": {{"class_type": "KSampler", "inputs": {{"seed": 18446744073709551615, "cfg": 8}}}}, )"
        R"("8": {{"class_type": "VAEDecode", "inputs": {{"samples": ["3", 0]}}}}, )"
        R"("9": {{"class_type": "SaveImage", "inputs": {{"images": ["8", 0], )"
        R"("filename_prefix": "{}"}}}}{}}})",
        prefix, more);
}
constexpr const char* kSecond =
    R"(, "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "a"}}, )"
    R"("6": {"class_type": "ImageScale", "inputs": {"image": ["8", 0]}})";

memory::Program program_with(int batch) {
    memory::Program program;
    for (const char* const id : {"8", "9", "6", "7"}) {
        memory::Step step;
        step.node_id = id;
        if (step.node_id == "8") {
            memory::VaeStep decode;
            decode.image = {.batch = batch, .height = 512, .width = 512};
            step.what = std::move(decode);
        }
        program.steps.push_back(std::move(step));
    }
    return program;
}

std::optional<std::vector<Saver>> savers(const std::string& prompt, int batch = 1,
                                         const NodeFiles& heard = {},
                                         const std::set<std::string>& targets = {}) {
    return savers_of(workflow::parse_api_workflow(prompt).value(), program_with(batch), heard,
                     targets);
}

TEST(SaversOf, a_job_of_pictures_alone_names_its_savers_in_order) {
    const auto one = savers(graph_text("sub/%year%_x"), 3).value();
    ASSERT_THAT(one, SizeIs(1));
    EXPECT_EQ(one[0].subfolder, "sub");
    EXPECT_EQ(one[0].stem, "%year%_x");
    EXPECT_EQ(one[0].pictures, 3U);
    const auto two = savers(graph_text("a", kSecond)).value();
    ASSERT_THAT(two, SizeIs(2));
    EXPECT_EQ(two[0].node_id, "9");
    EXPECT_EQ(two[1].node_id, "7");
    EXPECT_THAT(*savers(graph_text("a", kSecond), 1, {{"9", {}}}), SizeIs(1));
    EXPECT_THAT(*savers(graph_text("a", kSecond), 1, {}, {"7"}), SizeIs(1));
    // A node that nothing comes of, and a preview.
    EXPECT_THAT(
        *savers(graph_text(
            "a", R"(, "5": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}, )"
                 R"("4": {"class_type": "CheckpointLoaderSimple", "inputs": {}})")),
        SizeIs(1));
}

TEST(SaversOf, what_files_cannot_tell_is_not_guessed) {
    const auto more = [](const char* node) { return savers(graph_text("a", node)); };
    EXPECT_FALSE(
        more(R"(, "5": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["8", 0]}})"));
    EXPECT_FALSE(more(R"(, "5": {"class_type": "NobodyKnows", "inputs": {"images": ["8", 0]}})"));
    EXPECT_FALSE(more(
        R"(, "5": {"class_type": "SaveImage", "inputs": {"filename_prefix": "b", "images": ["1", 0]}}, )"
        R"("1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}})"));
    for (const char* const prefix : {"../a", "/a", "%year%/a", ""})
        EXPECT_FALSE(savers(graph_text(prefix))) << prefix;
    EXPECT_FALSE(savers(graph_text(), 0));
    EXPECT_FALSE(savers(
        R"({"8": {"class_type": "VAEDecode", "inputs": {}}, "5": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}})"));
}

TEST(NumberOf, is_what_the_prefix_is_followed_by) {
    const auto number = [](const char* stem, const char* name) {
        return number_of({.node_id = "9", .subfolder = "", .stem = stem, .pictures = 1}, name);
    };
    EXPECT_EQ(number("ComfyUI", "ComfyUI_00007_.png"), 7);
    EXPECT_EQ(number("a_%width%x%height%", "a_1024x512_123456_.png"), 123456);
    for (const char* const name : {"ComfyUI_00007_.webp", "ComfyUI_x_.png", "ComfyUI__.png",
                                   "ComfyUI_2_00007_.png", "Comfy_00007_.png", ""})
        EXPECT_FALSE(number("ComfyUI", name)) << name;
    EXPECT_FALSE(number("a_%width%", "a__00001_.png"));
}

TEST(IsSamePrompt, values_are_as_their_inputs_take_them_and_nothing_else_differs) {
    const auto same = [](const std::string& sent, const std::string& written) {
        const auto prompt = [](const std::string& value) {
            return R"({"3": {"class_type": "K", "inputs": {"v": )" + value + "}}}";
        };
        return is_same_prompt(prompt(sent), prompt(written));
    };
    EXPECT_TRUE(same("18446744073709551615", "18446744073709551615"));
    EXPECT_FALSE(same("18446744073709551615", "18446744073709551614"));
    EXPECT_TRUE(same("8", "8.0"));
    EXPECT_TRUE(same("8.7", "8"));
    EXPECT_FALSE(same("8", "9.0"));
    EXPECT_TRUE(same(R"("20")", "20"));
    EXPECT_TRUE(same("5", R"("5")"));
    EXPECT_TRUE(same("1", "true"));
    EXPECT_FALSE(same("true", "false"));
    EXPECT_TRUE(same(R"(["4", 0])", R"(["4", 0])"));
    EXPECT_FALSE(same(R"(["4", 0])", R"(["4", 1])"));
    EXPECT_TRUE(same(R"({"__value__": [1, 2]})", "[1, 2]"));
    EXPECT_TRUE(same("NaN", "NaN"));
    EXPECT_FALSE(same(R"("a")", R"("b")"));
    EXPECT_TRUE(
        is_same_prompt(R"({"3": {"class_type": "K", "inputs": {}, "_meta": {"title": "x"}}})",
                       R"({"3": {"inputs": {}, "class_type": "K", "is_changed": ["y"]}})"));
    EXPECT_FALSE(is_same_prompt(R"({"3": {"class_type": "K"}})",
                                R"({"3": {"class_type": "K"}, "4": {"class_type": "K"}})"));
    EXPECT_FALSE(is_same_prompt(R"({"3": {"class_type": "K"}})", R"({"3": {"class_type": "L"}})"));
    EXPECT_FALSE(is_same_prompt("{", "{"));
}

class FindWrittenWork : public testing::Test {
  protected:
    FindWrittenWork() {
        comfyui_.now_ms = [this] { return now_ms_; };
    }
    WrittenWork find(const std::string& prompt, int batch = 1, bool strict = false) {
        return find_written_work(upstream_,
                                 {.prompt = prompt,
                                  .savers = savers(prompt, batch).value(),
                                  .sent_ms = kSentMs,
                                  .now_ms = now_ms_,
                                  .strict = strict},
                                 claimed_)
            .value();
    }
    void write(const std::string& name, const std::string& prompt, std::int64_t after_ms,
               const std::string& subfolder = "") {
        now_ms_ = kSentMs + after_ms;
        comfyui_.write(name, prompt, subfolder);
        now_ms_ = kSentMs + 60'000;
    }
    static constexpr std::int64_t kSentMs = 1'000'000'400;
    std::int64_t now_ms_ = kSentMs + 60'000;
    FakeComfyUi comfyui_;
    FakeUpstream upstream_{comfyui_};
    ClaimedFiles claimed_;
};

TEST_F(FindWrittenWork, a_picture_of_the_same_prompt_is_found_among_others) {
    write("a_00001_.png", graph_text(), -90'000);  // the same job, yesterday
    write("a_00002_.png", graph_text("b"), 9'000);
    write("a_00003_.png", graph_text(), 10'000);
    write("z_00001_.png", graph_text(), 11'000);
    write("note.txt", graph_text(), 12'000);
    const WrittenWork work = find(graph_text());
    EXPECT_TRUE(work.whole);
    EXPECT_THAT(work.files.at("9"), ElementsAre(ImageRef{"a_00003_.png", "", "output"}));
}

TEST_F(FindWrittenWork, what_is_older_or_claimed_or_half_written_does_not_count) {
    write("a_00001_.png", graph_text(), -5'000);
    EXPECT_FALSE(find(graph_text()).whole);
    write("a_00002_.png", graph_text(), 5'000);
    claimed_.add({ImageRef{"a_00002_.png", "", "output"}});
    EXPECT_FALSE(find(graph_text()).whole);
    write("a_00003_.png", graph_text(), 6'000);
    comfyui_.output.back().bytes.resize(50'000);
    EXPECT_FALSE(find(graph_text()).whole);
    comfyui_.output.back().bytes = "no picture at all";
    EXPECT_FALSE(find(graph_text()).whole);
}

TEST_F(FindWrittenWork, a_file_within_what_clocks_are_exact_to_counts_where_claims_are_known) {
    write("a_00001_.png", graph_text(), 300);
    EXPECT_TRUE(find(graph_text()).whole);
    EXPECT_FALSE(find(graph_text(), 1, true).whole);
    write("a_00002_.png", graph_text(), 3'000);
    EXPECT_TRUE(find(graph_text(), 1, true).whole);
}

TEST_F(FindWrittenWork, a_batch_is_done_with_its_last_picture) {
    write("a_00004_.png", graph_text(), 10'000);
    write("a_00005_.png", graph_text(), 11'000);
    const WrittenWork part = find(graph_text(), 3);
    EXPECT_FALSE(part.whole);
    EXPECT_THAT(part.pieces, SizeIs(2));
    // Numbers of one run have no gap.
    write("a_00007_.png", graph_text(), 12'000);
    EXPECT_FALSE(find(graph_text(), 3).whole);
    write("a_00006_.png", graph_text(), 12'500);
    EXPECT_THAT(find(graph_text(), 3).files.at("9"), SizeIs(3));
}

TEST_F(FindWrittenWork, two_savers_share_a_folder_in_the_order_in_which_they_run) {
    const std::string prompt = graph_text("a", kSecond);
    write("a_00001_.png", prompt, 10'000);
    EXPECT_FALSE(find(prompt).whole);
    write("a_00002_.png", prompt, 11'000);
    const WrittenWork work = find(prompt);
    EXPECT_THAT(work.files.at("9"), ElementsAre(ImageRef{"a_00001_.png", "", "output"}));
    EXPECT_THAT(work.files.at("7"), ElementsAre(ImageRef{"a_00002_.png", "", "output"}));
}

TEST_F(FindWrittenWork, folders_below_are_found_by_their_numbers) {
    const std::string prompt = graph_text("deep/er/a");
    for (int number = 1; number <= 37; ++number)
        write(fmt::format("a_{:05}_.png", number), number == 37 ? prompt : graph_text(),
              number * 100, "deep/er");
    EXPECT_THAT(find(prompt).files.at("9"),
                ElementsAre(ImageRef{"a_00037_.png", "deep/er", "output"}));
}

TEST_F(FindWrittenWork, a_comfyui_that_does_not_tell_has_nothing_and_one_that_is_gone_is_an_error) {
    write("a_00001_.png", graph_text(), 10'000);
    comfyui_.lists_output = false;
    EXPECT_FALSE(find(graph_text()).whole);
    comfyui_.lists_output = true;
    // Whichever question it goes down at.
    for (int pieces = 0; pieces < 2; ++pieces) {
        comfyui_.is_there = true;
        comfyui_.pieces_until_gone = pieces;
        const auto work = find_written_work(upstream_,
                                            {.prompt = graph_text(),
                                             .savers = savers(graph_text()).value(),
                                             .sent_ms = kSentMs,
                                             .now_ms = now_ms_},
                                            claimed_);
        EXPECT_EQ(work.error().code, Errc::Unavailable) << pieces;
    }
}

TEST(ClaimedFiles, the_oldest_are_forgotten_beyond_their_number) {
    ClaimedFiles claimed;
    const auto file = [](std::size_t i) {
        return ImageRef{.filename = fmt::format("{}.png", i), .subfolder = "", .type = "output"};
    };
    for (std::size_t i = 0; i <= kClaimedMax; ++i) claimed.add({file(i)});
    EXPECT_FALSE(claimed.contains(file(0)));
    EXPECT_TRUE(claimed.contains(file(1)));
    EXPECT_TRUE(claimed.contains(file(kClaimedMax)));
}

}  // namespace
}  // namespace plimsoll::guard
