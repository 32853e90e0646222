// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/prompt_tokens.h"

#include <gtest/gtest.h>

#include <string>

namespace plimsoll::memory {
namespace {

TEST(PromptLength, counts_words_and_marks_and_fills_chunks_of_77) {
    EXPECT_EQ(estimate_prompt_length("").chunks, 1);
    const PromptLength short_one = estimate_prompt_length("cute dragon character, watercolour");
    EXPECT_EQ(short_one.chunks, 1);
    EXPECT_GE(short_one.tokens, 5);
    EXPECT_LE(short_one.tokens, 8);
    std::string words;
    for (int i = 0; i < 75; ++i) words += "cat ";
    EXPECT_EQ(estimate_prompt_length(words).chunks, 1);
    EXPECT_EQ(estimate_prompt_length(words + "dog").chunks, 2);
}

TEST(PromptLength, takes_weights_for_weights_and_escaped_brackets_for_text) {
    const PromptLength weighted = estimate_prompt_length("a (red:1.25) cat");
    EXPECT_TRUE(weighted.weighted);
    EXPECT_EQ(weighted.tokens, 3);
    const PromptLength escaped = estimate_prompt_length(R"(a \(red\) cat)");
    EXPECT_FALSE(escaped.weighted);
    EXPECT_EQ(escaped.tokens, 5);
    EXPECT_EQ(estimate_prompt_length("ratio 4:3").tokens, 4);
}

TEST(PromptLength, bounds_what_a_hostile_text_can_ask_for) {
    EXPECT_EQ(estimate_prompt_length(std::string(8'000'000, '.')).chunks, 1000);
    EXPECT_GE(estimate_prompt_length("\xE5\xB0\x8F\xE9\xBE\x99 \xFF\xFE").tokens, 4);
}

}  // namespace
}  // namespace plimsoll::memory
