// SPDX-License-Identifier: Apache-2.0
//
// Goal: a language model hands on what the model that it serves takes. Method: the loader node's
// `type` for models that share one encoder.
#include "memory/built_text_encoders.h"

#include "memory/built_models.h"
#include "memory/networks/text/decoder.h"
#include "modelfile/architectures.h"
#include "modelfile/file_names.h"

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

// Goal: packed encoders take their files' sizes and are unpacked matrix by matrix. Method: names of
// published files against their published sizes, and the largest matrix of the layers in fp32.
TEST(PackedTextEncoder, takes_its_published_size_and_unpacks_as_it_runs) {
    const auto named =
        modelfile::guess_file("gemma_3_12B_it_fp4_mixed.safetensors", "text_encoders");
    ASSERT_TRUE(named.has_value());
    const auto contents = known_file(*named, false).value();
    const auto built = build_text_encoder(contents->text_encoders.front()).value();
    EXPECT_EQ(types_of(built, {}).storage, ComputeType::BFloat16);
    const double bytes = static_cast<double>(built.network().weights(built.stored).count);
    EXPECT_NEAR(bytes, 9.4e9, 0.05e9);
    const Walk walk = simulate_text_encode(*built.text, {.storage = ComputeType::BFloat16});
    EXPECT_GE(walk.max_cast, Bytes(std::int64_t{3840} * 15360 * 4));
}

TEST(PackedTextEncoder, has_the_bits_of_its_format) {
    const auto weights = [](std::string_view file) {
        const auto named = modelfile::guess_file(file, "text_encoders").value();
        const auto contents = known_file(named, false).value();
        const auto built = build_text_encoder(contents->text_encoders.front()).value();
        return built.network().weights(built.stored);
    };
    // Matrices of one layer: queries and output 4096 x 4096, keys and values 1024 x 4096, and
    // three of 12288 x 4096; 36 layers. nvfp4 has 4.5 bits where bf16 has 16.
    constexpr std::int64_t kMatrices = std::int64_t{36} * 4096 * (2 * 4096 + 2 * 1024 + 3 * 12288);
    EXPECT_EQ(weights("qwen_3_8b_bf16.safetensors") - weights("qwen_3_8b_nvfp4.safetensors"),
              Bytes(kMatrices * 23 / 16));
}

// Goal: encoders known by their files' names alone are as large as those files. Method: names of
// published files against their published sizes; tokenizers in them are tens of megabytes.
TEST(PackedTextEncoder, is_as_large_as_the_file_of_its_name) {
    const auto gigabytes = [](std::string_view file) {
        const auto named = modelfile::guess_file(file, "text_encoders").value();
        const auto contents = known_file(named, false).value();
        Bytes sum;
        for (const auto& part : contents->text_encoders) {
            const auto built = build_text_encoder(part).value();
            sum += built.network().weights(built.stored);
        }
        return static_cast<double>(sum.count) / 1e9;
    };
    // Embeddings that their files may pack are taken in 16 bit: never less than published.
    EXPECT_GE(gigabytes("qwen3.8_27b_w4a8.safetensors"), 17.28);
    EXPECT_LE(gigabytes("qwen3.8_27b_w4a8.safetensors"), 22);
    EXPECT_NEAR(gigabytes("gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot.safetensors"), 15.373,
                0.1);
    EXPECT_NEAR(gigabytes("gemma4-12b-with-proj-ltx-2.5-comfy-bf16.safetensors"), 26.264, 0.1);
    EXPECT_NEAR(gigabytes("ming_image_0.1_ling_mini_2.0_int8_convrot.safetensors"), 19.508, 0.1);
    EXPECT_NEAR(gigabytes("minimax_music3_text_encoder_pruned_int8_convrot.safetensors"), 9.197,
                0.1);
}

}  // namespace
}  // namespace plimsoll::memory
