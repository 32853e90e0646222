// SPDX-License-Identifier: Apache-2.0
//
// Goal: sounds are sampled and decoded in their own latents, and their VAEs' forecasts are the
// recorded walks. Method: an empty latent decoded as it is, by checkpoints of the catalogue.
#include "memory/simulate.h"
#include "modelfile/file_names.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace plimsoll::memory {
namespace {

struct SoundJob {
    std::string_view model;
    std::string_view latent;  // the node that makes it
    double seconds = 0;
    std::string_view decode = R"("class_type": "VAEDecodeAudio", "inputs": {)";
    Bytes card = Bytes::from_gib(24);
};

Forecast forecast_of(std::string_view model, const std::string& text, Bytes card) {
    Device device;
    device.total = card;
    Server server;
    server.version = {0, 33, 0};
    ModelFiles files;
    files.by_name["m"] = known_checkpoint(model).value();
    const auto graph = workflow::parse_api_workflow(text).value();
    return simulate_program(lower_graph(graph, build_models(files)), server, device);
}

Forecast forecast_of(const SoundJob& job) {
    const std::string text = fmt::format(
        R"({{"1": {{"class_type": "CheckpointLoaderSimple", "inputs": {{"ckpt_name": "m"}}}}, )"
        R"("2": {{"class_type": "{}", "inputs": {{"seconds": {}, "batch_size": 1}}}}, )"
        R"("3": {{{} "samples": ["2", 0], "vae": ["1", 2]}}}}, )"
        R"("4": {{"class_type": "PreviewAudio", "inputs": {{"audio": ["3", 0]}}}}}})",
        job.latent, job.seconds, job.decode);
    return forecast_of(job.model, text, job.card);
}

const Phase& decode_of(const Forecast& forecast) {
    const auto found = std::ranges::find(forecast.phases, PhaseKind::VaeDecode, &Phase::kind);
    EXPECT_NE(found, forecast.phases.end());
    static const Phase kNone;
    return found == forecast.phases.end() ? kNone : *found;
}

TEST(SimulateSound, decodes_with_the_recorded_peak) {
    // Recordings t94cfd9e467 (1024 latents of Stable Audio), tab546e3bd7 (60 seconds of ACE-Step
    // 1.5) and tbcd85f99ba (30 seconds of ACE-Step).
    const Forecast open = forecast_of({"stable_audio", "EmptyLatentAudio", 47.6});
    EXPECT_EQ(decode_of(open).activations, Bytes(2'415'920'640 + 131'072));
    const Forecast ace = forecast_of({"ace_step15", "EmptyAceStep1.5LatentAudio", 60});
    EXPECT_EQ(decode_of(ace).activations, Bytes(3'317'761'536 + 192'000));
    const Forecast first = forecast_of({"ace_step", "EmptyAceStepLatentAudio", 30});
    EXPECT_EQ(decode_of(first).activations, Bytes(729'440'768 + 82'432));
}

// What is sung is part of the context of every step, and not of the text encoder's prompt.
TEST(SimulateSound, longer_lyrics_take_more_of_each_step) {
    const auto sampled = [](const std::string& lyrics) {
        const std::string text = fmt::format(
            R"({{"1": {{"class_type": "CheckpointLoaderSimple", "inputs": {{"ckpt_name": "m"}}}}, )"
            R"("2": {{"class_type": "EmptyAceStepLatentAudio", "inputs": {{"seconds": 10, "batch_size": 1}}}}, )"
            R"("3": {{"class_type": "TextEncodeAceStepAudio", "inputs": {{"tags": "pop", "lyrics": "{}", )"
            R"("lyrics_strength": 1, "clip": ["1", 1]}}}}, )"
            R"("4": {{"class_type": "KSampler", "inputs": {{"seed": 1, "steps": 50, "cfg": 1, "denoise": 1, )"
            R"("sampler_name": "euler", "scheduler": "simple", "model": ["1", 0], "positive": ["3", 0], )"
            R"("negative": ["3", 0], "latent_image": ["2", 0]}}}}, )"
            R"("5": {{"class_type": "VAEDecodeAudio", "inputs": {{"samples": ["4", 0], "vae": ["1", 2]}}}}, )"
            R"("6": {{"class_type": "PreviewAudio", "inputs": {{"audio": ["5", 0]}}}}}})",
            lyrics);
        return forecast_of("ace_step", text, Bytes::from_gib(24));
    };
    const auto phase = [](const Forecast& f, PhaseKind kind) {
        return *std::ranges::find(f.phases, kind, &Phase::kind);
    };
    std::string song;
    for (int i = 0; i < 2000; ++i) song += "la ";
    const Forecast plain = sampled("la");
    const Forecast sung = sampled(song);
    EXPECT_GT(phase(sung, PhaseKind::Sample).activations,
              phase(plain, PhaseKind::Sample).activations);
    EXPECT_EQ(phase(sung, PhaseKind::TextEncode).activations,
              phase(plain, PhaseKind::TextEncode).activations);
}

// The text encoder of MiniMax Music 3 writes 25 tokens a second, of 8 codes each, and the network
// listens to all of them in every step.
TEST(SimulateSound, a_written_song_is_what_each_step_listens_to) {
    const auto sung = [](int seconds) {
        const std::string text = fmt::format(
            R"({{"1": {{"class_type": "UNETLoader", "inputs": {{"unet_name": "dit", "weight_dtype": "default"}}}}, )"
            R"("2": {{"class_type": "CLIPLoader", "inputs": {{"clip_name": "lm", "type": "minimax", "device": "default"}}}}, )"
            R"("3": {{"class_type": "MiniMaxMusic3TextEncode", "inputs": {{"caption": "pop", "lyrics": "la", "seed": 1, )"
            R"("max_duration": {}, "cfg_scale": 1.7, "top_k": 50, "clip": ["2", 0]}}}}, )"
            R"("4": {{"class_type": "EmptyMiniMaxMusic3LatentAudio", "inputs": {{"seconds": 10, "batch_size": 1}}}}, )"
            R"("5": {{"class_type": "KSampler", "inputs": {{"seed": 1, "steps": 30, "cfg": 1, "denoise": 1, )"
            R"("sampler_name": "euler", "scheduler": "simple", "model": ["1", 0], "positive": ["3", 0], )"
            R"("negative": ["3", 0], "latent_image": ["4", 0]}}}}, )"
            R"("6": {{"class_type": "VAELoader", "inputs": {{"vae_name": "dav"}}}}, )"
            R"("7": {{"class_type": "VAEDecodeAudio", "inputs": {{"samples": ["5", 0], "vae": ["6", 0]}}}}, )"
            R"("8": {{"class_type": "PreviewAudio", "inputs": {{"audio": ["7", 0]}}}}}})",
            seconds);
        const auto named = [](std::string_view file, std::string_view folder) {
            return known_file(modelfile::guess_file(file, folder).value(), false).value();
        };
        Device device;
        device.total = Bytes::from_gib(24);
        Server server;
        server.version = {0, 33, 0};
        ModelFiles files;
        files.by_name["dit"] = named("minimax_music3_dit_fp16.safetensors", "diffusion_models");
        files.by_name["lm"] =
            named("minimax_music3_text_encoder_pruned_int8_convrot.safetensors", "text_encoders");
        files.by_name["dav"] = named("minimax_music3_dav.safetensors", "vae");
        const auto graph = workflow::parse_api_workflow(text).value();
        return simulate_program(lower_graph(graph, build_models(files)), server, device);
    };
    const Forecast small = sung(60);
    const Forecast large = sung(240);
    EXPECT_NE(small.verdict, Verdict::Unknown);
    const auto sampled = [](const Forecast& f) {
        return std::ranges::find(f.phases, PhaseKind::Sample, &Phase::kind)->activations;
    };
    EXPECT_GT(sampled(large), sampled(small));
    EXPECT_EQ(decode_of(large).activations, decode_of(small).activations);
}

// The latents of the node are of 2,048 samples, those of Stable Audio 3 of 4,096: half as many are
// decoded. Of each 17 tokens are made, and which of them are near each other is told from the
// distances of all to all, twice at once in 64 bit.
TEST(SimulateSound, an_empty_latent_is_cut_anew_for_its_network) {
    constexpr double kSeconds = 190.2;  // 4096 latents of the node
    const Forecast f = forecast_of({"stable_audio_3_medium", "EmptyLatentAudio", kSeconds});
    constexpr double kTokens = 17.0 * 4096 / 2;
    const double distances = 2 * 8 * kTokens * kTokens;
    EXPECT_NEAR(static_cast<double>(decode_of(f).activations.count), distances, 0.01 * distances);
}

TEST(SimulateSound, begins_again_in_tiles_where_the_whole_has_no_room) {
    const Forecast f = forecast_of(
        {"ace_step15", "EmptyAceStep1.5LatentAudio", 240, SoundJob{}.decode, Bytes::from_gib(8)});
    const Phase& decode = decode_of(f);
    EXPECT_TRUE(decode.tiled);
    EXPECT_EQ(f.verdict, Verdict::FitsSlowly);
    EXPECT_LT(decode.activations, Bytes::from_gib(1));  // 128 of 6000 latents
}

TEST(SimulateSound, a_tile_is_as_many_latents_as_the_node_says) {
    constexpr std::string_view kTiled =
        R"("class_type": "VAEDecodeAudioTiled", "inputs": {"tile_size": 1500, "overlap": 64, )";
    const Forecast f = forecast_of({"ace_step15", "EmptyAceStep1.5LatentAudio", 180, kTiled});
    const Phase& decode = decode_of(f);
    EXPECT_TRUE(decode.tiled);
    EXPECT_EQ(decode.forwards, 4);  // at 0, 1436, 2872 and 4308 of 4500
    // 1500 latents are 60 seconds.
    EXPECT_EQ(decode.activations, Bytes(3'317'761'536 + 192'000));
}

}  // namespace
}  // namespace plimsoll::memory
