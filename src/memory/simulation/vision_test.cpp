// SPDX-License-Identifier: Apache-2.0
//
// Goal: image encoders and upscalers are phases with the recorded tensors, under ComfyUI's rules
// for loading and tiling. Method: small graphs with catalogued files, against recorded peaks.
#include "memory/networks/upscale/upscaler.h"
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

struct Where {
    double gib = 12;
    ComfyVersion version = {0, 33, 0};
    MemoryPolicy policy = MemoryPolicy::Estimate;
    std::vector<std::string> flags = {};
};

Forecast forecast_of(Kind kind, const std::string& model, const std::string& workflow, int width,
                     int height, const Where& where, SessionState* session = nullptr) {
    Device device;
    device.total = Bytes::from_gib(where.gib);
    Server server{.version = where.version,
                  .flags = parse_launch_flags(where.flags).value(),
                  .policy = where.policy};
    ModelFiles files;
    files.by_name["m"] = known_file({.kind = kind, .name = model}, false).value();
    InputMedia media;
    for (const char* name : {"a.png", "b.png"})
        media.by_name[name] = {.width = width, .height = height};
    const auto graph = workflow::parse_api_workflow(workflow).value();
    return simulate_program(lower_graph(graph, build_models(files), media), server, device,
                            session);
}

Forecast see(int side, const Where& where = {}, const std::string& model = "clip_vision_h") {
    // Nothing but an unknown node takes what an encoder made.
    return forecast_of(
        Kind::ClipVision, model,
        R"({"1": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "m"}}, )"
        R"("2": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}, )"
        R"("3": {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["1", 0], )"
        R"("image": ["2", 0], "crop": "center"}}, )"
        R"("4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}})",
        side, side, where);
}

Forecast enlarge(int width, int height, const Where& where, SessionState* session = nullptr,
                 const std::string& model = "esrgan_x4", const std::string& image = "a.png") {
    return forecast_of(
        Kind::Upscaler, model,
        R"({"1": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "m"}}, )"
        R"("2": {"class_type": "LoadImage", "inputs": {"image": ")" +
            image +
            R"("}}, "3": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["1", 0], )"
            R"("image": ["2", 0]}}, )"
            R"("4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}})",
        width, height, where, session);
}

const Phase& phase(const Forecast& forecast, PhaseKind kind) {
    const auto found = std::ranges::find(forecast.phases, kind, &Phase::kind);
    EXPECT_NE(found, forecast.phases.end()) << phase_kind_name(kind);
    static const Phase kNone;
    return found == forecast.phases.end() ? kNone : *found;
}

TEST(SimulateVision, sees_with_the_recorded_peak) {
    // Recording t9c1f7925ee: ViT-H in fp16 computing in fp32, with its copies of weights.
    for (const ComfyVersion version : {ComfyVersion{0, 3, 64}, ComfyVersion{0, 33, 0}}) {
        const Forecast f = see(224, {.version = version});
        const Phase& p = phase(f, PhaseKind::ImageEncode);
        EXPECT_EQ(p.activations + p.cast, Bytes(36'746'240 + 602'112));
        EXPECT_EQ(p.resident, Bytes(1'266'785'280));
        EXPECT_EQ(f.verdict, Verdict::Fits);
    }
}

TEST(SimulateVision, brings_large_images_to_the_card_to_make_them_small) {
    // 4096 x 4096 in fp32, a copy of it, and the image of 224 pixels twice.
    const Phase& p = phase(see(4096), PhaseKind::ImageEncode);
    EXPECT_EQ(p.activations, Bytes(2 * 4096LL * 4096 * 12 + 2 * 224LL * 224 * 12));
}

TEST(SimulateVision, keeps_every_layers_tokens_of_siglip) {
    // 27 layers of 729 tokens, once apart and once together, beside what is recorded for one layer.
    const Phase& p = phase(see(378, {}, "siglip_384"), PhaseKind::ImageEncode);
    const std::int64_t states = 27LL * 729 * 1152 * 4;
    EXPECT_GT(p.activations, Bytes(2 * states));
    EXPECT_LT(p.activations, Bytes(2 * states + 45'825'024));
}

TEST(SimulateVision, follows_the_text_encoders_onto_the_cpu) {
    const Phase& p = phase(see(224, {.flags = {"--lowvram"}}), PhaseKind::ImageEncode);
    EXPECT_FALSE(p.runs_on_card);
    EXPECT_EQ(p.peak, Bytes(0));
}

TEST(SimulateUpscale, enlarges_a_tile_with_the_recorded_peak) {
    // Recording tfc7fb620eb: 512 x 512 in fp32, whatever the file's type.
    const Forecast f = enlarge(512, 512, {});
    const Phase& p = phase(f, PhaseKind::Upscale);
    EXPECT_EQ(p.activations, Bytes(2'147'483'648 + 3'145'728));
    EXPECT_EQ(p.resident, Bytes(66'791'948));
    EXPECT_EQ(p.forwards, 1);
    EXPECT_FALSE(p.tiled);
}

TEST(SimulateUpscale, cuts_larger_images_and_keeps_them_whole_on_the_card) {
    // Tiles of 512 that overlap by 32: 0 and 480 of 992 pixels, and 0 of 512.
    const Phase& p = phase(enlarge(992, 512, {}), PhaseKind::Upscale);
    EXPECT_EQ(p.forwards, 2);
    EXPECT_TRUE(p.tiled);
    EXPECT_EQ(p.activations, Bytes(2'147'483'648 + 992LL * 512 * 12));
}

TEST(SimulateUpscale, halves_the_tile_where_it_does_not_fit) {
    // 2 GiB less the upscaler do not hold the 2 GiB of a tile and the reserve of pages.
    for (const MemoryPolicy policy : {MemoryPolicy::Estimate, MemoryPolicy::Dynamic}) {
        const Forecast f = enlarge(512, 512, {.gib = 2, .policy = policy});
        const Phase& p = phase(f, PhaseKind::Upscale);
        EXPECT_EQ(f.verdict, Verdict::FitsSlowly);
        EXPECT_EQ(p.peak, f.card_limit) << "the attempt fills the card";
        EXPECT_EQ(p.forwards, 9);  // tiles of 256: 0, 224 and 448 along each side
        EXPECT_EQ(p.activations, Bytes(536'870'912 + 3'145'728));
        EXPECT_THAT(p.reasons, Contains(HasSubstr("halves")));
    }
}

TEST(SimulateUpscale, dies_where_not_even_the_smallest_tile_fits) {
    const Forecast f = enlarge(512, 512, {.gib = 0.1});
    EXPECT_EQ(f.verdict, Verdict::WillNotFit);
}

TEST(SimulateUpscale, stays_on_the_card_only_in_newer_versions) {
    for (const auto& [version, stays] :
         {std::pair{ComfyVersion{0, 3, 64}, false}, std::pair{ComfyVersion{0, 33, 0}, true}}) {
        SessionState session;
        const Where where{.version = version};
        EXPECT_EQ(phase(enlarge(512, 512, where, &session), PhaseKind::Upscale).resident,
                  Bytes(66'791'948));
        // A smaller image: the loader is cached, the upscaler comes again or is still there.
        const Forecast again = enlarge(256, 256, where, &session, "esrgan_x4", "b.png");
        const Phase& p = phase(again, PhaseKind::Upscale);
        EXPECT_EQ(p.resident, Bytes(66'791'948));
        EXPECT_EQ(p.loaded, stays ? Bytes(0) : Bytes(66'791'948));
    }
}

// By hand from the network's description: tensors of `width` channels in fp32 that Python holds.
std::int64_t maps(std::int64_t count, std::int64_t width) {
    return count * width * 256 * 256 * 4;
}

TEST(SimulateUpscale, walks_the_small_networks) {
    const auto peak = [](const std::string& model) {
        return phase(enlarge(256, 256, {}, nullptr, model), PhaseKind::Upscale).activations -
               Bytes(256LL * 256 * 12);
    };
    // A layer's input and its result.
    EXPECT_EQ(peak("compact_x4"), Bytes(maps(2, 64)));
    // Features, what six blocks made and weighed (the last merged once more), the first
    // convolution of the last two, four of them joined and the result; the centred image.
    EXPECT_EQ(peak("span_x4"), Bytes(maps(20, 48) + maps(1, 3)));
}

// Folding gives tiles a quarter of the pixels before the sides are doubled twice.
TEST(SimulateUpscale, folds_pixels_where_it_enlarges_twice) {
    const Phase& p = phase(enlarge(512, 512, {}, nullptr, "realesrgan_x2"), PhaseKind::Upscale);
    EXPECT_EQ(p.activations, Bytes(536'870'912 + 2 * 3'145'728));  // t..256 fp32, and the folded
}

}  // namespace
}  // namespace plimsoll::memory
