// SPDX-License-Identifier: Apache-2.0
// Goal: what each encoder reads of a prompt, and how much of that conditions the network. Method:
// lengths that follow from the published templates.
#include "memory/lowering/text_rules.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

constexpr int kWords = 20;

PromptUse use_of(const std::vector<std::string>& encoders, std::string_view purpose) {
    return use_prompt(encoders, purpose, {.tokens = kWords, .chunks = 1, .weighted = false});
}

TEST(TextRules, templates_are_read_but_their_first_part_is_no_condition) {
    const PromptUse krea = use_of({"qwen3vl_4b"}, "krea2");
    EXPECT_EQ(krea.runs.front().tokens, kWords + 39);
    EXPECT_EQ(krea.tokens, kWords + 5);
    EXPECT_EQ(use_of({"qwen3vl_8b"}, "ideogram4").tokens, kWords + 8);
    EXPECT_EQ(use_of({"ministral3_3b"}, "flux2").tokens, kWords + 1);
    EXPECT_EQ(use_of({"gemma2_2b"}, "pixeldit").tokens, 300);
}

TEST(TextRules, start_and_length_of_a_sound_are_tokens_of_its_condition) {
    EXPECT_EQ(use_of({"t5_base"}, "stable_audio").runs.front().tokens, 128);
    EXPECT_EQ(use_of({"t5_base"}, "stable_audio").tokens, 128 + 2);
    EXPECT_EQ(use_of({"umt5_base"}, "ace_step").tokens, kWords + 1);
}

TEST(TextRules, of_four_encoders_clip_is_pooled_only_and_of_three_it_is_joined) {
    const PromptUse four = use_of({"clip_l", "clip_g", "t5_xxl", "llama3_8b_hv"}, "unknown");
    EXPECT_EQ(four.runs.size(), 4U);
    EXPECT_EQ(four.tokens, 128);
    EXPECT_EQ(use_of({"clip_l", "clip_g", "t5_xxl"}, "sd3").tokens, 77 + 77);
}

}  // namespace
}  // namespace plimsoll::memory
