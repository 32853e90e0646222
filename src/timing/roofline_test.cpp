// SPDX-License-Identifier: Apache-2.0
#include "timing/roofline.h"

#include "memory/networks/walk.h"

#include <gtest/gtest.h>

namespace plimsoll::timing {
namespace {

using memory::ComputeType;
using memory::OpClass;

const Card& card(std::string_view key) {
    const auto found = find_card(key);
    EXPECT_TRUE(found.has_value()) << key;
    return **found;
}

// SDXL base as its reference configuration has it.
memory::OpCosts sdxl_costs(int batch, int cells) {
    modelfile::UnetConfig config;
    config.channel_mult = {1, 2, 4};
    config.num_res_blocks = {2, 2, 2};
    config.transformer_depth = {0, 0, 2, 2, 10, 10};
    config.transformer_depth_output = {0, 0, 0, 2, 2, 2, 10, 10, 10};
    config.transformer_depth_middle = 10;
    config.context_dim = 2048;
    config.adm_in_channels = 2816;
    config.use_linear_in_transformer = true;
    const auto unet = memory::build_unet(config);
    EXPECT_TRUE(unet.has_value());
    memory::StepCall call;
    call.batch = batch;
    call.latent_height = cells;
    call.latent_width = cells;
    return memory::simulate_step(**unet, call).costs;
}

// Denoising steps of 1024 x 1024 with cond and uncond in one batch, as the network's own walk
// prices them.
memory::Phase sdxl_sampling(int steps) {
    static const memory::OpCosts costs = sdxl_costs(2, 128);
    memory::Phase phase;
    phase.kind = memory::PhaseKind::Sample;
    phase.forwards = steps;
    phase.batch_per_forward = 2;
    phase.compute = ComputeType::Float16;
    phase.cost_per_forward = costs;
    return phase;
}

// Public measurements (data set: measured peaks and times; it/s of whole denoising steps, PyTorch
// SDPA): the default efficiencies must come within 1.6 x on every one, whatever the generation.
TEST(EstimateSeconds, comes_near_public_sdxl_measurements_from_turing_to_hopper) {
    struct Measured {
        const char* key;
        double steps_per_second;
    };
    for (const auto& [key, rate] : {Measured{"a100-80gb", 8.7},
                                    {"h100", 14.9},
                                    {"rtx4080", 4.6},
                                    {"rtx4090", 8.18},
                                    {"t4", 1.16}}) {
        const double seconds = estimate_seconds(sdxl_sampling(1), card(key)).total;
        EXPECT_LT(seconds * rate, 1.6) << key;
        EXPECT_GT(seconds * rate, 1 / 1.6) << key;
    }
}

TEST(EstimateSeconds, grows_with_steps_in_proportion) {
    const Card& reference = card("rtx3050-6gb");
    const double one = estimate_seconds(sdxl_sampling(1), reference).total;
    EXPECT_NEAR(estimate_seconds(sdxl_sampling(20), reference).total, 20 * one, 1e-9);
    EXPECT_GT(one, 0.8);  // 13.5 TFLOP on 13.5 TFLOPS cannot be faster
    EXPECT_LT(one, 4.0);
}

TEST(EstimateSeconds, charges_streamed_weights_on_every_forward) {
    memory::Phase phase = sdxl_sampling(10);
    const Card& reference = card("rtx3050-6gb");
    const double resident = estimate_seconds(phase, reference).total;
    phase.streamed_per_forward = Bytes::from_mib(516);
    const PhaseSeconds streamed = estimate_seconds(phase, reference);
    EXPECT_NEAR(streamed.total - resident, streamed.streaming, 1e-9);
    EXPECT_NEAR(streamed.streaming, 10 * 516 * 1048576.0 / 5e9, 1e-6);
    // Asynchronous copies hide behind computing when the card is slow enough.
    EXPECT_EQ(estimate_seconds(phase, reference, default_efficiency(), Offload::Async).streaming,
              0);
}

TEST(EstimateSeconds, separates_loading_from_running) {
    memory::Phase phase = sdxl_sampling(1);
    phase.loaded = Bytes::from_gib(4);
    phase.read_from_disk = Bytes::from_gib(6);
    memory::Forecast forecast;
    forecast.phases = {phase, phase};
    const ForecastSeconds seconds = estimate_forecast(forecast, card("rtx3060-12gb"));
    ASSERT_EQ(seconds.phases.size(), 2U);
    EXPECT_NEAR(seconds.phases[0].load, 4 * 1073741824.0 / 5e9 + 6 * 1073741824.0 / 1.5e9, 1e-6);
    EXPECT_NEAR(seconds.total - seconds.without_load, 2 * seconds.phases[0].load, 1e-9);
}

TEST(EstimateSeconds, is_bound_by_dispatch_where_kernels_are_tiny) {
    memory::Phase phase;
    phase.forwards = 1;
    phase.cost_per_forward[OpClass::Elementwise] = {0, 1000, 1000};
    Efficiency slow_host = default_efficiency();
    slow_host.dispatch_us = 100;
    const PhaseSeconds seconds = estimate_seconds(phase, card("h100"), slow_host);
    EXPECT_TRUE(seconds.dispatch_bound);
    EXPECT_NEAR(seconds.compute, 0.1, 1e-9);
}

// A quarter of the head dimension is a quarter of the products but the same softmax: more than a
// quarter of the time.
TEST(ForwardSeconds, charges_attention_for_its_scores_beside_its_products) {
    memory::OpCosts wide;
    wide[OpClass::Attention] = {4LL << 40, 1 << 20, 10, (4LL << 40) / (4 * 128)};
    memory::OpCosts narrow = wide;
    narrow[OpClass::Attention].flops /= 4;
    const Efficiency& e = default_efficiency();
    for (const char* key : {"a100-80gb", "rtx3060-12gb", "t4"}) {
        const double ratio = forward_seconds(narrow, ComputeType::Float16, card(key), e) /
                             forward_seconds(wide, ComputeType::Float16, card(key), e);
        EXPECT_GT(ratio, 0.26) << key;
        EXPECT_LT(ratio, 1.0) << key;
    }
}

TEST(ForwardSeconds, knows_what_software_spares_and_costs) {
    const memory::OpCosts costs = sdxl_costs(2, 128);
    const auto seconds = [&](const char* key, ComputeType type, const Software& software) {
        return forward_seconds(costs, type, card(key), default_efficiency(), software);
    };
    const double plain = seconds("rtx4090", ComputeType::Float16, {});
    EXPECT_LT(seconds("rtx4090", ComputeType::Float16, {.compiled = true}), plain);
    EXPECT_LT(seconds("rtx4090", ComputeType::Float16, {.channels_last = true}), plain);
    EXPECT_GT(
        seconds("rtx4090", ComputeType::Float16, {.attention = AttentionKernels::WritesScores}),
        plain);
    EXPECT_LT(seconds("a100-40gb", ComputeType::Float32, {.tf32_matmul = true}),
              seconds("a100-40gb", ComputeType::Float32, {}));
    // FlashAttention 3 runs on Hopper only.
    EXPECT_LT(seconds("h100", ComputeType::Float16, {.attention = AttentionKernels::Flash3}),
              seconds("h100", ComputeType::Float16, {}));
    EXPECT_EQ(seconds("rtx4090", ComputeType::Float16, {.attention = AttentionKernels::Flash3}),
              plain);
}

// The T4's matrix units could do 65 TFLOPS, its 70 W cannot.
TEST(ForwardSeconds, is_limited_by_the_watts_of_the_card) {
    memory::OpCosts products;
    products[OpClass::MatMul] = {1LL << 45, 1 << 20, 1};
    Card patient = card("t4");
    const Efficiency& e = default_efficiency();
    const double limited = forward_seconds(products, ComputeType::Float16, patient, e);
    patient.tdp_w = 300;
    EXPECT_LT(forward_seconds(products, ComputeType::Float16, patient, e), 0.7 * limited);
}

TEST(EstimateSeconds, of_an_empty_phase_is_nothing) {
    const PhaseSeconds seconds = estimate_seconds(memory::Phase{}, card("rtx3050-6gb"));
    EXPECT_EQ(seconds.total, 0);
    EXPECT_TRUE(seconds.reasons.empty());
}

TEST(PeakTflops, follows_the_rules_of_the_architectures) {
    // Pascal and the 16 series have no matrix units: 16-bit work runs on the fp32 lanes.
    for (const char* key : {"gtx1080ti", "gtx1660s"})
        EXPECT_EQ(peak_tflops(card(key), OpClass::MatMul, ComputeType::Float16),
                  card(key).fp32_tflops);
    // Turing has fp16 matrix units but no bf16.
    EXPECT_GT(peak_tflops(card("rtx2060"), OpClass::MatMul, ComputeType::Float16), 20);
    EXPECT_EQ(peak_tflops(card("rtx2060"), OpClass::MatMul, ComputeType::BFloat16),
              card("rtx2060").fp32_tflops);
    // Ampere: fp32 convolutions use TF32, fp32 matmuls do not.
    const Card& ampere = card("rtx3060-12gb");
    EXPECT_EQ(peak_tflops(ampere, OpClass::MatMul, ComputeType::Float32), ampere.fp32_tflops);
    EXPECT_EQ(peak_tflops(ampere, OpClass::Convolution, ComputeType::Float32),
              *ampere.fp16_tflops / 2);
}

TEST(PcieGbs, knows_generation_and_lanes) {
    EXPECT_NEAR(pcie_gbs(card("rtx3050-6gb")), 15.75, 0.01);  // 4.0 x8
    EXPECT_NEAR(pcie_gbs(card("rtx2060")), 15.76, 0.01);      // 3.0 x16
}

}  // namespace
}  // namespace plimsoll::timing
