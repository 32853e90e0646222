// SPDX-License-Identifier: Apache-2.0
//
// Goal: SeedVR2 restores a video within the graph as its recorded walks say. Method: an empty
// latent of a video, sampled and decoded by the catalogue's files.
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace plimsoll::memory {
namespace {

Forecast restore(std::string_view decode, int width, int height, int frames) {
    const std::string text = fmt::format(
        R"({{"1": {{"class_type": "UNETLoader", "inputs": {{"unet_name": "m", "weight_dtype": "default"}}}}, )"
        R"("2": {{"class_type": "VAELoader", "inputs": {{"vae_name": "v"}}}}, )"
        R"("3": {{"class_type": "EmptyHunyuanLatentVideo", "inputs": {{"width": {1}, "height": {2}, "length": {3}, )"
        R"("batch_size": 1}}}}, )"
        R"("4": {{"class_type": "SeedVR2Conditioning", "inputs": {{"model": ["1", 0], "vae_conditioning": ["3", 0]}}}}, )"
        R"("5": {{"class_type": "KSampler", "inputs": {{"seed": 1, "steps": 1, "cfg": 1, "denoise": 1, )"
        R"("sampler_name": "euler", "scheduler": "simple", "model": ["1", 0], "positive": ["4", 0], )"
        R"("negative": ["4", 1], "latent_image": ["3", 0]}}}}, )"
        R"("6": {{{0} "samples": ["5", 0], "vae": ["2", 0]}}}}, )"
        R"("7": {{"class_type": "SaveImage", "inputs": {{"images": ["6", 0]}}}}}})",
        decode, width, height, frames);
    Device device;
    device.total = Bytes::from_gib(32);
    device.compute_capability = 89;
    Server server;
    server.version = {0, 33, 0};
    ModelFiles files;
    files.by_name["m"] = known_file({.kind = modelfile::NamedFile::Kind::Model,
                                     .name = "seedvr2_3b",
                                     .dtype = modelfile::DType::Int8,
                                     .dtype_is_said = true},
                                    false)
                             .value();
    files.by_name["v"] =
        known_file({.kind = modelfile::NamedFile::Kind::Vae, .name = "seedvr2"}, false).value();
    const auto graph = workflow::parse_api_workflow(text).value();
    return simulate_program(lower_graph(graph, build_models(files)), server, device);
}

const Phase& phase(const Forecast& forecast, PhaseKind kind) {
    const auto found = std::ranges::find(forecast.phases, kind, &Phase::kind);
    EXPECT_NE(found, forecast.phases.end()) << phase_kind_name(kind);
    static const Phase kNone;
    return found == forecast.phases.end() ? kNone : *found;
}

constexpr std::string_view kWhole = R"("class_type": "VAEDecode", "inputs": {)";

TEST(SimulateSeedvr2, is_known_from_sampling_to_pixels) {
    const Forecast f = restore(kWhole, 640, 640, 17);
    EXPECT_NE(f.verdict, Verdict::Unknown);
    EXPECT_GT(phase(f, PhaseKind::Sample).activations, Bytes(0));
    // Recording t3eeb32ddd5: 17 frames of 640 x 640.
    EXPECT_EQ(phase(f, PhaseKind::VaeDecode).activations, Bytes(7'990'786'048 + 1'024'000));
}

// A tile keeps all frames, and what is blended of them waits on the card.
TEST(SimulateSeedvr2, tiles_cut_rows_and_columns_but_no_frames) {
    const auto decoded = [](int frames) {
        const Forecast f = restore(
            R"("class_type": "VAEDecodeTiled", "inputs": {"tile_size": 512, "overlap": 64, )"
            R"("temporal_size": 8, "temporal_overlap": 4,)",
            1280, 720, frames);
        const Phase& p = phase(f, PhaseKind::VaeDecode);
        EXPECT_TRUE(p.tiled);
        return p.activations.count;
    };
    const std::int64_t whole =
        phase(restore(kWhole, 512, 512, 33), PhaseKind::VaeDecode).activations.count;
    constexpr std::int64_t kSums = 4 * 1280 * 720 * (3 * 33 + 1);  // fp32, and the weights
    EXPECT_EQ(decoded(33), whole + kSums);
    EXPECT_GT(decoded(65), decoded(33));
}

}  // namespace
}  // namespace plimsoll::memory
