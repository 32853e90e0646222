// SPDX-License-Identifier: Apache-2.0
//
// Goal: what LTX-2's checkpoints bring of the text encoder has the published size and keeps alive
// what its formulas need. Method: weights and tensors counted by hand.
#include "memory/networks/ltx/ltx_text.h"

#include "memory/built_models.h"
#include "modelfile/architectures.h"
#include "modelfile/detect.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

constexpr std::int64_t kStates = std::int64_t{49} * 3840;

modelfile::TensorEntry tensor(std::string name, std::vector<std::int64_t> shape) {
    modelfile::TensorEntry entry;
    entry.name = std::move(name);
    entry.dtype = modelfile::DType::BFloat16;
    entry.shape = std::move(shape);
    entry.bytes = Bytes(2 * modelfile::element_count(entry.shape));
    return entry;
}

BuiltFile built(modelfile::TensorTable table) {
    table.index();
    return build_file(std::make_shared<modelfile::Contents>(modelfile::detect_contents(table)));
}

TEST(LtxTextProjection, is_found_in_a_file_with_its_exact_weights) {
    modelfile::TensorTable one;
    one.tensors.push_back(
        tensor("text_embedding_projection.aggregate_embed.weight", {3840, kStates}));
    const BuiltFile first = built(one);
    ASSERT_EQ(first.text_encoders.size(), 1U);
    EXPECT_TRUE(first.notes.empty());
    EXPECT_TRUE(first.text_encoders.front().follows_another);
    EXPECT_EQ(first.text_encoders.front().network().params(), 3840 * kStates);

    modelfile::TensorTable two;
    for (const auto& [name, width] : {std::pair{"audio", 2048}, std::pair{"video", 4096}}) {
        const std::string path =
            std::string("text_embedding_projection.") + name + "_aggregate_embed.";
        two.tensors.push_back(tensor(path + "weight", {width, kStates}));
        two.tensors.push_back(tensor(path + "bias", {width}));
    }
    const BuiltFile second = built(two);
    ASSERT_EQ(second.text_encoders.size(), 1U);
    EXPECT_TRUE(second.notes.empty());
    EXPECT_EQ(second.text_encoders.front().network().params(), 6144 * (kStates + 1));
}

// The first LTX-2 runs its connectors with the text encoder: as many weights as its listing of the
// diffusion model has below their names.
TEST(LtxTextConnector, of_the_first_model_runs_with_the_text_encoder) {
    const auto checkpoint = known_checkpoint("ltx2_19b").value();
    ASSERT_EQ(checkpoint->text_encoders.size(), 2U);
    const BuiltFile file = build_file(checkpoint);
    ASSERT_EQ(file.text_encoders.size(), 2U);
    constexpr std::int64_t kWidth = 3840;
    constexpr std::int64_t kBlock =
        4 * (kWidth * kWidth + kWidth) + 2 * kWidth + 8 * kWidth * kWidth + 5 * kWidth;
    EXPECT_EQ(file.text_encoders.back().network().params(), 2 * (128 * kWidth + 2 * kBlock));
    EXPECT_EQ(known_checkpoint("ltx2.3_22b").value()->text_encoders.size(), 1U);
}

// Three copies of all states at once: as they came, centred and scaled, divided.
TEST(LtxTextProjection, holds_three_copies_of_the_states) {
    const auto network = build_ltx_text_projection({}).value();
    TextCall call{.batch = 1, .tokens = 200};
    call.storage = call.compute = ComputeType::BFloat16;
    const double copy = 200.0 * kStates * 2;
    const double peak = static_cast<double>(simulate_text_encode(*network, call).peak.count);
    EXPECT_NEAR(peak / copy, 3.0, 0.01);
}

TEST(LtxTextProjection, refuses_numbers_out_of_all_bounds) {
    modelfile::LtxTextProjectionConfig wide;
    wide.states = 100'000;
    EXPECT_FALSE(build_ltx_text_projection(wide));
    modelfile::LtxTextConnectorConfig none;
    none.num_layers = 0;
    EXPECT_FALSE(build_ltx_text_connector(none));
}

}  // namespace
}  // namespace plimsoll::memory
