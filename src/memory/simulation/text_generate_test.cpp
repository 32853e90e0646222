// SPDX-License-Identifier: Apache-2.0
//
// Goal: writing text keeps its cache and costs a forward for each word. Method: graphs with a
// language model of the catalogue, against the cache's size and numbers of forwards that follow
// from the node's inputs.
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace plimsoll::memory {
namespace {

Forecast forecast_of(std::string_view encoder, int max_length) {
    const std::string workflow = fmt::format(
        R"({{"1": {{"class_type": "CLIPLoader", "inputs": {{"clip_name": "m", "type": "krea2"}}}}, )"
        R"("2": {{"class_type": "TextGenerate", "inputs": {{"clip": ["1", 0], "prompt": "a dragon", )"
        R"("max_length": {}, "sampling_mode": "on"}}}}, )"
        R"("3": {{"class_type": "PreviewAny", "inputs": {{"source": ["2", 0]}}}}}})",
        max_length);
    Device device;
    device.total = Bytes::from_gib(24);
    Server server;
    server.version = {0, 33, 0};
    ModelFiles files;
    files.by_name["m"] = known_file({.kind = modelfile::NamedFile::Kind::TextEncoder,
                                     .name = std::string(encoder),
                                     .dtype = modelfile::DType::BFloat16,
                                     .dtype_is_said = true,
                                     .scaled_fp8 = false,
                                     .linear_millibits = 0,
                                     .vae = {}},
                                    false)
                             .value();
    const auto graph = workflow::parse_api_workflow(workflow).value();
    return simulate_program(lower_graph(graph, build_models(files)), server, device);
}

const Phase* written(const Forecast& forecast) {
    const auto found = std::ranges::find(forecast.phases, "TextGenerate", &Phase::class_type);
    return found == forecast.phases.end() ? nullptr : &*found;
}

TEST(TextGenerate, runs_once_for_each_word_and_reads_all_weights_each_time) {
    const Forecast forecast = forecast_of("qwen3vl_4b", 512);
    const Phase* phase = written(forecast);
    ASSERT_NE(phase, nullptr);
    EXPECT_EQ(phase->kind, PhaseKind::Other);
    EXPECT_EQ(phase->forwards, 512);
    // 36 layers of Qwen 3 4B and its table, 4.02 thousand million parameters, in bf16.
    std::int64_t moved = 0;
    for (const OpCost& cost : phase->cost_per_forward.by_class) moved += cost.bytes_moved;
    EXPECT_GT(moved, 8'000'000'000);
    EXPECT_LT(moved, 9'500'000'000);
}

TEST(TextGenerate, keeps_room_for_the_longest_answer) {
    const Forecast shorter = forecast_of("qwen3vl_4b", 1000);
    const Forecast longer = forecast_of("qwen3vl_4b", 3000);
    ASSERT_NE(written(shorter), nullptr);
    ASSERT_NE(written(longer), nullptr);
    const std::int64_t more =
        written(longer)->activations.count - written(shorter)->activations.count;
    // Keys and values of 8 heads of 128 in 36 layers, and of the 32 heads of one layer.
    constexpr std::int64_t kToken = 2 * 2 * (8 * 128 * 36 + 32 * 128);
    EXPECT_NEAR(static_cast<double>(more), 2000.0 * kToken, 0.02 * 2000.0 * kToken);
}

TEST(TextGenerate, is_unknown_for_a_model_that_only_encodes) {
    const Forecast forecast = forecast_of("mistral3_24b_pruned30", 64);
    const Phase* phase = written(forecast);
    ASSERT_NE(phase, nullptr);
    EXPECT_EQ(phase->kind, PhaseKind::Unknown);
    EXPECT_EQ(forecast.verdict, Verdict::Unknown);
}

}  // namespace
}  // namespace plimsoll::memory
