// SPDX-License-Identifier: Apache-2.0
//
// Goal: T5Gemma, Gemma 4 and Qwen 3.5 have their published sizes, and what they keep of a text
// grows as their papers say. Method: parameters counted by hand or as published; caches as closed
// forms of the layers' numbers.
#include "memory/built_text_encoders.h"
#include "memory/networks/text/gemma4.h"
#include "memory/networks/text/qwen35.h"
#include "memory/networks/text/t5gemma.h"
#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

BuiltTextEncoder encoder(std::string_view name) {
    modelfile::Part<modelfile::TextEncoderConfig> part;
    part.config = modelfile::known_text_encoder(name).value();
    part.weights.dtype = modelfile::DType::BFloat16;
    return build_text_encoder(part).value();
}

TEST(NewerLanguageModels, have_their_published_sizes) {
    constexpr std::int64_t kWidth = 768;
    constexpr std::int64_t kLayer = 4 * kWidth * kWidth + 3 * kWidth * 2048 + 4 * kWidth;
    EXPECT_EQ(encoder("t5gemma").network().params(), 256'000 * kWidth + 12 * kLayer + kWidth + 1);
    // "8B with embeddings", "5.1B with embeddings" (Gemma 4's model card).
    const auto millions = [](std::string_view name) {
        return static_cast<double>(encoder(name).network().params()) / 1e6;
    };
    EXPECT_NEAR(millions("gemma4_e4b"), 8000, 80);
    EXPECT_NEAR(millions("gemma4_e2b"), 5100, 80);
    EXPECT_NEAR(millions("qwen35_9b"), 9400, 400);
}

// A cache of keys and values for each token of the text to come, in the layers that attend: 1 of 4.
TEST(Qwen35Network, keeps_keys_of_every_fourth_layer_only) {
    const modelfile::Qwen35Config config;
    const auto network = build_qwen35(config).value();
    GenerateCall call{.prompt_tokens = 128, .new_tokens = 1000};
    call.storage = ComputeType::BFloat16;
    const auto peak = [&](int room) {
        call.new_tokens = room;
        return simulate_text_generate(*network, call, {.past = 0, .tokens = 128}).peak.count;
    };
    constexpr std::int64_t kToken = 2 * 2 * 2 * 256 * (24 / 4);
    EXPECT_EQ(peak(2000) - peak(1000), 1000 * kToken);
}

// Layers that look over a window keep no more than it; those that share keep nothing.
TEST(Gemma4Network, keeps_no_more_than_its_windows_of_most_layers) {
    const auto network = build_gemma4({}).value();
    GenerateCall call{.prompt_tokens = 700, .new_tokens = 5000};
    call.storage = ComputeType::BFloat16;
    const auto peak = [&](int past) {
        return simulate_text_generate(*network, call, {.past = past, .tokens = 1}).peak.count;
    };
    // Of the 24 layers with keys of their own 4 look over everything: 2 heads of 512, old and new
    // keys and values at once, 4 more copies of one layer's 8 heads in its kernel's fp32, and two
    // in 16 bit for them.
    constexpr double kKept = 2.0 * 2 * 2 * 2 * 512 * 4;
    constexpr double kSeen = 8.0 * 512 * (2 * 2 + 3 * 4);
    EXPECT_NEAR(static_cast<double>(peak(4000) - peak(2000)), 2000 * (kKept + kSeen),
                0.1 * 2000 * (kKept + kSeen));
}

TEST(NewerLanguageModels, refuse_numbers_that_contradict_each_other) {
    modelfile::Gemma4Config shared;
    shared.num_kv_shared_layers = shared.num_hidden_layers;
    EXPECT_FALSE(build_gemma4(shared));
    modelfile::Qwen35Config heads;
    heads.linear_num_value_heads = 17;
    EXPECT_FALSE(build_qwen35(heads));
    modelfile::T5GemmaConfig keys;
    keys.num_key_value_heads = 5;
    EXPECT_FALSE(build_t5gemma(keys));
}

}  // namespace
}  // namespace plimsoll::memory
