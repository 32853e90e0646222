// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/answer.h"

#include "base/json.h"
#include "memory/networks/gz_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

namespace plimsoll::memory {
namespace {

// What is compared, besides the list of resident models.
constexpr std::array<const char*, 6> kFields = {"free_after",   "forward_batches",
                                                "batch_number", "forwards_per_step",
                                                "decode_calls", "encode_calls"};

json::value question_of(const json::value& step) {
    json::object question;
    for (const char* field : {"scenario", "seq", "comfyui", "card", "step", "inputs"})
        question[field] = *find(step, field);
    return question;
}

// Goal: what is resident, streamed and batched is what the real loader did. Method: every recorded
// step is asked in order and compared field by field, whole models and bytes.
TEST(ResidencyAnswerer, decides_every_recorded_step_as_the_real_loader_did) {
    std::istringstream lines(recorded_text("residency/steps.jsonl.gz"));
    ResidencyAnswerer answerer;
    std::map<std::string, int> steps;
    for (std::string line; std::getline(lines, line);) {
        const json::value recorded = parse_json(line).value();
        const auto answer = answerer.answer_line(json::serialize(question_of(recorded)));
        ASSERT_TRUE(answer) << answer.error().message;
        const json::value said = parse_json(*answer).value();
        ASSERT_EQ(find(said, "verdict"), nullptr) << *answer;
        ASSERT_EQ(*find(said, "resident"), *find(recorded, "resident")) << line;
        for (const char* field : kFields)
            if (const json::value* expected = find(recorded, field)) {
                ASSERT_NE(find(said, field), nullptr) << field << " in " << line;
                ASSERT_EQ(*find(said, field), *expected) << field << " in " << line;
            }
        ++steps[std::string(find_string(recorded, "comfyui").value_or(""))];
    }
    for (const auto& [version, count] : steps)
        fmt::print("residency {:9} {:5} steps, every one as recorded\n", version, count);
    EXPECT_EQ(steps["0.3.64"], 3070);
    EXPECT_EQ(steps["0.33.0"], 790);
}

constexpr std::string_view kLoad =
    R"({"scenario":"x","seq":0,"comfyui":"0.3.64","card":{"tot_mib":5898,"x_mib":300,"cc":"8.6",)"
    R"("os":"linux","flags":"","cpu_free_mib":16384},"step":"load","inputs":{"model":"NAME"}})";

std::string with(std::string_view text, std::string_view what, std::string_view by) {
    std::string changed(text);
    changed.replace(changed.find(what), what.size(), by);
    return changed;
}

TEST(ResidencyAnswerer, calls_a_model_that_it_does_not_know_unknown_and_what_follows_too) {
    ResidencyAnswerer answerer;
    const std::string first = answerer.answer_line(with(kLoad, "NAME", "no_such_model")).value();
    EXPECT_THAT(first, testing::HasSubstr(R"("verdict":"unknown")"));
    const std::string next = with(with(kLoad, "\"seq\":0", "\"seq\":1"), "load", "text_encode");
    EXPECT_THAT(answerer.answer_line(next).value(), testing::HasSubstr(R"("verdict":"unknown")"));
    // Another scenario is not touched by that.
    const std::string other = with(with(kLoad, "\"x\"", "\"y\""), "NAME", "sd15");
    EXPECT_THAT(answerer.answer_line(other).value(), testing::Not(testing::HasSubstr("verdict")));
}

TEST(ResidencyAnswerer, survives_lines_that_make_no_sense) {
    ResidencyAnswerer answerer;
    EXPECT_FALSE(answerer.answer_line("[1, 2"));
    EXPECT_FALSE(answerer.answer_line("[1, 2]"));
    for (const auto& [what, by] :
         {std::pair{"5898", "-1"}, std::pair{"5898", "1e300"}, std::pair{"\"8.6\"", "\"new\""},
          std::pair{"300", "\"x\""}, std::pair{"\"load\"", "7"},
          std::pair{"\"flags\":\"\"", "\"flags\":\"--reserve-vram x\""}}) {
        const auto answer = answerer.answer_line(with(with(kLoad, "NAME", "sd15"), what, by));
        ASSERT_TRUE(answer) << by;
        EXPECT_THAT(*answer, testing::HasSubstr(R"("verdict":"unknown")")) << by;
    }
    const std::string sample =
        with(with(with(kLoad, "\"seq\":0", "\"seq\":1"), "\"load\"", "\"sample\""),
             R"("model":"NAME")", R"("model":"sd15","latent":[9000000,4,70000,1])");
    ASSERT_TRUE(answerer.answer_line(with(with(kLoad, "NAME", "sd15"), "\"x\"", "\"z\"")));
    EXPECT_THAT(answerer.answer_line(with(sample, "\"x\"", "\"z\"")).value(),
                testing::HasSubstr("out of range"));
}

}  // namespace
}  // namespace plimsoll::memory
