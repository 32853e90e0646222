// SPDX-License-Identifier: Apache-2.0
//
// Goal: a language model hands on what the model that it serves takes. Method: the loader node's
// `type` for models that share one encoder.
#include "memory/built_text_encoders.h"

#include "memory/networks/text/decoder.h"
#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

using Kind = DecoderOutput::Kind;

BuiltTextEncoder encoder(std::string_view name) {
    modelfile::Part<modelfile::TextEncoderConfig> part;
    part.config = modelfile::known_text_encoder(name).value();
    return build_text_encoder(part).value();
}

TEST(TextEncoderOutput, is_that_of_the_model_it_serves) {
    const BuiltTextEncoder qwen = encoder("qwen3_4b");
    ASSERT_NE(output_for(qwen, "lumina2"), nullptr);
    EXPECT_EQ(output_for(qwen, "lumina2")->kind, Kind::Hidden);  // Z-Image
    ASSERT_NE(output_for(qwen, "flux2"), nullptr);
    EXPECT_EQ(output_for(qwen, "flux2")->kind, Kind::Layers);  // Klein
    EXPECT_EQ(output_for(qwen, "no such model"), nullptr);
    EXPECT_EQ(output_for(qwen, ""), nullptr);
    const BuiltTextEncoder llama = encoder("llama3_8b");
    ASSERT_NE(output_for(llama, "hidream"), nullptr);
    EXPECT_EQ(output_for(llama, "hidream")->kind, Kind::All);
    EXPECT_EQ(output_for(llama, "hunyuan_video"), nullptr);  // its usual
}

// 109,628,544: the encoder of the published t5-base; UMT5's is counted out of its published
// numbers: a table of 256384 rows, and in each layer four square matrices, three of the
// feed-forward, two norms and 32 x 12 biases. Besides, CLIP's scale.
TEST(BuiltTextEncoder, small_t5s_have_their_published_size) {
    EXPECT_EQ(encoder("t5_base").network().params(), 109'628'544 + 1);
    constexpr std::int64_t kWidth = 768;
    constexpr std::int64_t kLayer =
        4 * kWidth * kWidth + 3 * kWidth * 2048 + 2 * kWidth + std::int64_t{32} * 12;
    EXPECT_EQ(encoder("umt5_base").network().params(), 256'384 * kWidth + 12 * kLayer + kWidth + 1);
    EXPECT_EQ(encoder("umt5_base").name, "umt5_base");
}

TEST(TextEncoderOutput, changes_what_is_alive) {
    const BuiltTextEncoder qwen = encoder("qwen3_4b");
    TextCall call{.batch = 1, .tokens = 512};
    const auto peak = [&](std::string_view purpose) {
        call.output = output_for(qwen, purpose);
        return simulate_text_encode(*qwen.text, call).peak;
    };
    // Three layers of 512 tokens in fp32, and their stack.
    EXPECT_GT(peak("flux2"), peak("lumina2"));
}

}  // namespace
}  // namespace plimsoll::memory
