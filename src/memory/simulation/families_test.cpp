// SPDX-License-Identifier: Apache-2.0
//
// Goal: forecasts of other families than Stable Diffusion are their recorded walks put together.
// Method: whole checkpoints of the catalogue in the plainest graph, against recorded peaks.
#include "memory/simulate.h"
#include "modelfile/architectures.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace plimsoll::memory {
namespace {

std::string picture(int side, double cfg) {
    return fmt::format(
        R"({{"1": {{"class_type": "CheckpointLoaderSimple", "inputs": {{"ckpt_name": "m"}}}}, )"
        R"("2": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "a dragon", "clip": ["1", 1]}}}}, )"
        R"("3": {{"class_type": "EmptyLatentImage", "inputs": {{"width": {0}, "height": {0}, "batch_size": 1}}}}, )"
        R"("4": {{"class_type": "KSampler", "inputs": {{"seed": 1, "steps": 20, "cfg": {1}, "denoise": 1.0, )"
        R"("sampler_name": "euler", "scheduler": "simple", "model": ["1", 0], "positive": ["2", 0], )"
        R"("negative": ["2", 0], "latent_image": ["3", 0]}}}}, )"
        R"("5": {{"class_type": "VAEDecode", "inputs": {{"samples": ["4", 0], "vae": ["1", 2]}}}}, )"
        R"("6": {{"class_type": "SaveImage", "inputs": {{"images": ["5", 0]}}}}}})",
        side, cfg);
}

Forecast forecast_of(std::string_view model, const std::string& workflow, ComfyVersion version) {
    Device device;
    device.total = Bytes::from_gib(24);
    Server server;
    server.version = version;
    ModelFiles files;
    files.by_name["m"] = known_checkpoint(model).value();
    const auto graph = workflow::parse_api_workflow(workflow).value();
    return simulate_program(lower_graph(graph, build_models(files)), server, device);
}

const Phase& phase(const Forecast& forecast, PhaseKind kind) {
    const auto found = std::ranges::find(forecast.phases, kind, &Phase::kind);
    EXPECT_NE(found, forecast.phases.end()) << phase_kind_name(kind);
    static const Phase kNone;
    return found == forecast.phases.end() ? kNone : *found;
}

TEST(SimulateFamilies, flux_samples_with_the_recorded_peak) {
    // Recording te91380830a: sampling_function, CFG 1, 1024 x 1024, 256 tokens.
    const Forecast f = forecast_of("flux_dev", picture(1024, 1.0), {0, 3, 64});
    EXPECT_EQ(phase(f, PhaseKind::Sample).activations, Bytes(554'517'504 + 9'444'864));
}

// Its cells are 16 pixels wide, those of the empty latent 8: the picture is as large as asked for.
TEST(SimulateFamilies, flux2_decodes_the_size_that_was_asked_for) {
    const auto decoded = [](int side) {
        const Forecast f = forecast_of("flux2_klein_4b", picture(side, 1.0), {0, 33, 0});
        return static_cast<double>(phase(f, PhaseKind::VaeDecode).activations.count) /
               (static_cast<double>(side) * side);
    };
    // 1,298 bytes a pixel, from the recordings of its decoder at other sizes.
    EXPECT_NEAR(decoded(1024), 1298, 13);
    EXPECT_NEAR(decoded(512), 1298, 13);
}

// HiDream-O1-Image's checkpoint has no text encoder: the prompt's numbers are handed on as they
// are.
TEST(SimulateFamilies, a_checkpoint_that_hands_its_tokens_on_needs_no_text_encoder) {
    const Forecast f = forecast_of("hidream_o1", picture(1024, 1.0), {0, 33, 0});
    const Phase& text = phase(f, PhaseKind::TextEncode);
    EXPECT_EQ(text.activations, Bytes(0));
    EXPECT_EQ(text.resident, Bytes(0));
    EXPECT_NE(f.verdict, Verdict::Unknown);
}

TEST(SimulateFamilies, every_model_of_the_catalogue_has_its_exact_weights_and_a_verdict) {
    for (const std::string& name : modelfile::known_model_names()) {
        const Forecast f = forecast_of(name, picture(512, 4.0), {0, 33, 0});
        ASSERT_FALSE(f.phases.empty()) << name;
        EXPECT_GT(f.phases.front().read_from_disk, Bytes(0)) << name;
        for (const Phase& p : f.phases) {
            if (p.kind == PhaseKind::Unknown) {
                EXPECT_FALSE(p.reasons.empty()) << name;
                EXPECT_NE(f.verdict, Verdict::Fits) << name;
            }
            if (p.kind == PhaseKind::Sample) EXPECT_GT(p.activations, Bytes(0)) << name;
        }
    }
}

}  // namespace
}  // namespace plimsoll::memory
