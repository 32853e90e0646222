// SPDX-License-Identifier: Apache-2.0
//
// Goal: LTX's latent upsamplers are phases with the tensors that their forwards keep, under
// ComfyUI's rules for them. Method: small graphs with catalogued files; tensors counted by hand.
#include "memory/networks/upscale/latent_upscaler.h"
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace plimsoll::memory {
namespace {

using Kind = modelfile::NamedFile::Kind;
using testing::Contains;
using testing::HasSubstr;

constexpr std::int64_t kWeightsOfTwice = 2LL * 497'867'904;  // LTX-2's by two, in bf16

struct Where {
    double gib = 12;
    ComfyVersion version = {0, 33, 0};
    MemoryPolicy policy = MemoryPolicy::Estimate;
    int capability = 86;
};

// 768 x 512 pixels; two upsamplers, one after the other.
Program program_of(const std::string& model, int length, const char* latent) {
    const std::string workflow = fmt::format(
        R"({{"1": {{"class_type": "LatentUpscaleModelLoader", "inputs": {{"model_name": "m"}}}}, )"
        R"("2": {{"class_type": "{}", "inputs": {{"width": 768, "height": 512, "length": {}, )"
        R"("batch_size": 1}}}}, )"
        R"("3": {{"class_type": "LTXVLatentUpsampler", "inputs": {{"samples": ["2", 0], )"
        R"("upscale_model": ["1", 0]}}}}, )"
        R"("4": {{"class_type": "LTXVLatentUpsampler", "inputs": {{"samples": ["3", 0], )"
        R"("upscale_model": ["1", 0]}}}}, )"
        R"("5": {{"class_type": "SaveLatent", "inputs": {{"samples": ["4", 0]}}}}}})",
        latent, length);
    ModelFiles files;
    files.by_name["m"] = known_file({.kind = Kind::LatentUpscaler, .name = model}, false).value();
    return lower_graph(workflow::parse_api_workflow(workflow).value(), build_models(files), {});
}

Forecast forecast_of(const std::string& model, int length, const Where& where,
                     const char* latent = "EmptyLTXVLatentVideo") {
    Device device;
    device.total = Bytes::from_gib(where.gib);
    device.compute_capability = where.capability;
    return simulate_program(program_of(model, length, latent),
                            {.version = where.version, .flags = {}, .policy = where.policy},
                            device);
}

const Phase& nth_upscale(const Forecast& forecast, int n) {
    static const Phase kNone;
    for (const Phase& phase : forecast.phases)
        if (phase.kind == PhaseKind::Upscale && n-- == 0) return phase;
    ADD_FAILURE() << "no such phase";
    return kNone;
}

// What a block after the spread holds at once: what it was given, the normed tensor, their sum and
// its activation; the latent with the VAE's statistics taken off stays, and the one that came.
std::int64_t peak_by_hand(std::int64_t width, std::int64_t cells_before, std::int64_t cells_after,
                          std::int64_t element) {
    return (4 * width * cells_after + 2 * 128 * cells_before) * element;
}

TEST(SimulateLatentUpscale, keeps_four_tensors_of_the_larger_latent) {
    const std::int64_t before = 13 * 16 * 24;
    for (const ComfyVersion version : {ComfyVersion{0, 3, 64}, ComfyVersion{0, 33, 0}}) {
        const Phase& p = nth_upscale(forecast_of("ltx2_spatial", 97, {.version = version}), 0);
        EXPECT_EQ(p.activations, Bytes(peak_by_hand(1024, before, 4 * before, 2)));
        EXPECT_EQ(p.resident, Bytes(kWeightsOfTwice));
        EXPECT_EQ(p.compute, ComputeType::BFloat16);
    }
}

TEST(SimulateLatentUpscale, keeps_them_of_the_longer_latent_too) {
    const Phase& p = nth_upscale(forecast_of("ltxv_temporal", 97, {}), 0);
    // The cut off frame's bytes stay in the first block's input, not in what is made of it.
    const std::int64_t frame = 512 * 16 * 24 * 2;
    const Bytes without = Bytes(peak_by_hand(512, 13 * 16 * 24, 25 * 16 * 24, 2));
    EXPECT_EQ(p.activations, without + Bytes(frame));
}

TEST(SimulateLatentUpscale, computes_in_fp32_where_the_card_has_no_bf16) {
    const std::int64_t before = 13 * 16 * 24;
    const Phase& p = nth_upscale(forecast_of("ltx2_spatial", 97, {.capability = 75}), 0);
    EXPECT_EQ(p.compute, ComputeType::Float32);
    EXPECT_EQ(p.activations, Bytes(peak_by_hand(1024, before, 4 * before, 4)));
    EXPECT_EQ(p.resident, Bytes(2 * kWeightsOfTwice));
}

TEST(SimulateLatentUpscale, hands_on_a_latent_of_the_size_that_the_file_says) {
    const auto second = [](const std::string& model) {
        const Program program = program_of(model, 97, "EmptyLTXVLatentVideo");
        LatentShape latent;
        for (const Step& step : program.steps)
            if (const auto* enlarge = std::get_if<LatentUpscaleStep>(&step.what))
                latent = enlarge->latent;
        return std::vector<int>{latent.frames, latent.height, latent.width};
    };
    EXPECT_EQ(second("ltx2_spatial"), (std::vector<int>{13, 32, 48}));
    EXPECT_EQ(second("ltx2_spatial_x1.5"), (std::vector<int>{13, 24, 36}));
    EXPECT_EQ(second("ltxv_temporal"), (std::vector<int>{25, 16, 24}));
}

TEST(SimulateLatentUpscale, stays_on_the_card_only_in_newer_versions) {
    for (const auto& [version, stays] :
         {std::pair{ComfyVersion{0, 3, 64}, false}, std::pair{ComfyVersion{0, 33, 0}, true}}) {
        const Forecast f = forecast_of("ltx2_spatial", 9, {.version = version});
        EXPECT_EQ(nth_upscale(f, 0).loaded, Bytes(kWeightsOfTwice));
        EXPECT_EQ(nth_upscale(f, 1).loaded, stays ? Bytes(0) : Bytes(kWeightsOfTwice));
    }
}

TEST(SimulateLatentUpscale, comes_in_part_only_in_newer_versions) {
    // 1.2 GiB hold the weights, but not what the node believes that computing takes besides:
    // 128 x 13 x 16 x 24 x 3000 bytes.
    const Where old{.gib = 1.2, .version = {0, 3, 64}};
    EXPECT_EQ(nth_upscale(forecast_of("ltx2_spatial", 97, old), 0).resident,
              Bytes(kWeightsOfTwice));
    const Phase& p = nth_upscale(forecast_of("ltx2_spatial", 97, {.gib = 1.2}), 0);
    EXPECT_LT(p.resident, Bytes(kWeightsOfTwice));
}

TEST(SimulateLatentUpscale, dies_where_the_larger_latent_does_not_fit) {
    EXPECT_EQ(forecast_of("ltx2_spatial", 97, {.gib = 24}).verdict, Verdict::Fits);
    for (const ComfyVersion version : {ComfyVersion{0, 3, 64}, ComfyVersion{0, 33, 0}})
        EXPECT_EQ(forecast_of("ltx2_spatial", 2001, {.gib = 4, .version = version}).verdict,
                  Verdict::WillNotFit);
}

TEST(SimulateLatentUpscale, says_that_another_models_latent_does_not_pass) {
    const Forecast f = forecast_of("ltx2_spatial", 97, {}, "EmptyHunyuanLatentVideo");
    ASSERT_FALSE(f.phases.empty());
    bool said = false;
    for (const Phase& phase : f.phases)
        for (const Phrase& reason : phase.reasons)
            said = said || reason.message().contains("16 channels");
    EXPECT_TRUE(said);
}

}  // namespace
}  // namespace plimsoll::memory
