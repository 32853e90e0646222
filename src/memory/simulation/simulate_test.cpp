// SPDX-License-Identifier: Apache-2.0
//
// Whole jobs on the reference card: an RTX 3050 6 GB of which 300 MiB are taken by others, ComfyUI
// 0.3.64 unless a test says otherwise. Bytes of weights are those that ComfyUI's real loader kept
// in the recorded steps; bytes of tensors are those of the recorded walks.
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace plimsoll::memory {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct JobWish {
    int width = 1024;
    int height = 1024;
    int batch = 1;
    double cfg = 7.0;
    int seed = 1;
    std::string sampler = "euler";
    std::string text = "a dragon";
    std::string decode = R"("class_type": "VAEDecode", "inputs": {)";
    std::string model = "4";
    std::string_view more = {};  // nodes; NOLINT(readability-redundant-member-init)
};

std::string job(const JobWish& w = {}) {
    return fmt::format(
        R"({{"3": {{"class_type": "KSampler", "inputs": {{"seed": {}, "steps": 20, "cfg": {}, )"
        R"("sampler_name": "{}", "scheduler": "normal", "denoise": 1.0, "model": ["{}", 0], )"
        R"("positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}}}}, )"
        R"("4": {{"class_type": "CheckpointLoaderSimple", "inputs": {{"ckpt_name": "xl"}}}}, )"
        R"("5": {{"class_type": "EmptyLatentImage", "inputs": {{"width": {}, "height": {}, )"
        R"("batch_size": {}}}}}, )"
        R"("6": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "{}", "clip": ["4", 1]}}}}, )"
        R"("7": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "blurry", "clip": ["4", 1]}}}}, )"
        R"({} "8": {{{} "samples": ["3", 0], "vae": ["4", 2]}}}}, )"
        R"("9": {{"class_type": "SaveImage", "inputs": {{"images": ["8", 0]}}}}}})",
        w.seed, w.cfg, w.sampler, w.model, w.width, w.height, w.batch, w.text, w.more, w.decode);
}

class SimulateProgram : public testing::Test {
  protected:
    SimulateProgram() {
        device_.total = Bytes::from_mib(5898);
        device_.used_by_others = Bytes::from_mib(300);
        ModelFiles files;
        files.by_name["xl"] = known_checkpoint("sdxl").value();
        files.by_name["sd15"] = known_checkpoint("sd15").value();
        auto control = std::make_shared<modelfile::Contents>();
        control->controlnet = modelfile::Part<modelfile::ControlConfig>{
            modelfile::ControlNetConfig{
                .encoder = std::get<modelfile::UnetConfig>(files.by_name["xl"]->denoiser->config)},
            modelfile::PartWeights(), ""};
        files.by_name["control"] = control;
        models_ = build_models(files);
    }

    void flags(const std::vector<std::string>& argv) {
        server_.flags = parse_launch_flags(argv).value();
    }
    Forecast forecast(const std::string& text, SessionState* session = nullptr) {
        const auto graph = workflow::parse_api_workflow(text);
        EXPECT_TRUE(graph) << text;
        program_ = lower_graph(*graph, models_);
        return simulate_program(program_, server_, device_, session);
    }
    static const Phase& phase(const Forecast& forecast, PhaseKind kind) {
        const auto found = std::ranges::find(forecast.phases, kind, &Phase::kind);
        EXPECT_NE(found, forecast.phases.end()) << phase_kind_name(kind);
        static const Phase kNone;
        return found == forecast.phases.end() ? kNone : *found;
    }
    static const Residency& of(const Phase& phase, std::string_view role) {
        const auto found = std::ranges::find_if(
            phase.models, [&](const Residency& m) { return m.model.ends_with(role); });
        static const Residency kNone;
        return found == phase.models.end() ? kNone : *found;
    }

    Server server_;
    Device device_;
    BuiltModels models_;
    Program program_;
};

TEST_F(SimulateProgram, keeps_of_sdxl_what_the_real_loader_keeps) {
    const Forecast f = forecast(job());
    EXPECT_EQ(f.verdict, Verdict::FitsSlowly);
    EXPECT_THAT(f.unknown_nodes, IsEmpty());
    const Phase& sample = phase(f, PhaseKind::Sample);
    EXPECT_EQ(of(sample, "unet").resident, Bytes(4'591'504'008));
    EXPECT_EQ(of(sample, "unet").streamed, Bytes(543'423'360));
    EXPECT_EQ(of(sample, "unet").streamed_modules, 471);
    EXPECT_EQ(sample.batch_per_forward, 2);
    EXPECT_EQ(sample.forwards, 20);
    const Phase& decode = phase(f, PhaseKind::VaeDecode);
    EXPECT_EQ(of(decode, "unet").resident, Bytes(696'519'680));
    EXPECT_EQ(of(decode, "vae").resident, Bytes(167'307'726));
}

TEST_F(SimulateProgram, adds_the_tensors_of_the_recorded_walks) {
    const Forecast f = forecast(job());
    // One image of 1024 x 1024: 81,928 bytes a cell in the decoder, and the latent handed in.
    const Phase& decode = phase(f, PhaseKind::VaeDecode);
    EXPECT_NEAR(decode.activations.mib(), 81'928.0 * 16'384 / 1048576, 1.0);
    EXPECT_EQ(decode.peak_op, "convolution");
    EXPECT_EQ(decode.peak, decode.resident + decode.activations + decode.cast);
    // Two conditions: 10,088 bytes a cell each, and what the sampling function keeps around them.
    const Phase& sample = phase(f, PhaseKind::Sample);
    EXPECT_GT(sample.activations.mib(), 2 * 10'088.0 * 16'384 / 1048576);
    EXPECT_LT(sample.activations.mib(), 2 * 10'088.0 * 16'384 / 1048576 + 16);
    EXPECT_THAT(sample.top_live, SizeIs(8));
    EXPECT_EQ(f.peak, sample.peak);
    EXPECT_EQ(f.floor, decode.floor);
}

TEST_F(SimulateProgram, frees_the_text_encoder_before_sampling) {
    const Forecast f = forecast(job());
    const Phase& encode = phase(f, PhaseKind::TextEncode);
    EXPECT_EQ(of(encode, "text encoder").resident, Bytes(1'636'620'296));
    const Phase& sample = phase(f, PhaseKind::Sample);
    EXPECT_EQ(of(sample, "text encoder").size, Bytes(0));
    EXPECT_EQ(sample.evicted, Bytes(1'636'620'296));
}

TEST_F(SimulateProgram, drops_the_negative_at_cfg_1_but_for_samplers_that_need_it) {
    EXPECT_EQ(phase(forecast(job({.cfg = 1.0})), PhaseKind::Sample).batch_per_forward, 1);
    EXPECT_EQ(phase(forecast(job({.cfg = 1.0, .sampler = "euler_cfg_pp"})), PhaseKind::Sample)
                  .batch_per_forward,
              2);
}

TEST_F(SimulateProgram, runs_conditions_one_after_the_other_where_they_do_not_fit_together) {
    const Phase sample = phase(forecast(job({.width = 1536, .height = 1536})), PhaseKind::Sample);
    EXPECT_EQ(sample.batch_per_forward, 1);
    EXPECT_EQ(sample.forwards, 40);
    EXPECT_THAT(sample.reasons, Contains(HasSubstr("2 conditions take 2 forwards")));
}

TEST_F(SimulateProgram, counts_the_forwards_of_the_sampler) {
    EXPECT_EQ(phase(forecast(job({.sampler = "heun"})), PhaseKind::Sample).forwards, 39);
}

TEST_F(SimulateProgram, falls_back_to_tiles_where_a_whole_decode_has_no_room) {
    const Forecast f = forecast(job({.width = 2560, .height = 2560}));
    const Phase& decode = phase(f, PhaseKind::VaeDecode);
    EXPECT_TRUE(decode.tiled);
    EXPECT_EQ(decode.peak, f.card_limit);  // the attempt fills the card
    EXPECT_GT(decode.floor, f.card_limit);
    EXPECT_GT(decode.forwards, 100);
    EXPECT_EQ(f.verdict, Verdict::FitsSlowly);
    EXPECT_THAT(decode.reasons, Contains(HasSubstr("begins again in tiles")));
}

TEST_F(SimulateProgram, decodes_in_tiles_when_told_without_a_failed_attempt) {
    const JobWish tiled{.width = 2560,
                        .height = 2560,
                        .decode = R"("class_type": "VAEDecodeTiled", "inputs": {"tile_size": 512, )"
                                  R"("overlap": 64, "temporal_size": 64, "temporal_overlap": 8, )"};
    const Phase decode = phase(forecast(job(tiled)), PhaseKind::VaeDecode);
    EXPECT_TRUE(decode.tiled);
    EXPECT_LT(decode.peak.mib(), 600);
    EXPECT_NEAR(decode.activations.mib(), 320, 1);  // as a whole decode of 512 x 512
}

TEST_F(SimulateProgram, says_that_a_batch_too_large_for_the_card_dies) {
    const Forecast f = forecast(job({.width = 1536, .height = 1536, .batch = 16}));
    EXPECT_EQ(f.verdict, Verdict::WillNotFit);
    EXPECT_GT(phase(f, PhaseKind::Sample).peak, f.card_limit);
    EXPECT_THAT(phase(f, PhaseKind::Sample).reasons, Contains(HasSubstr("out of memory")));
}

TEST_F(SimulateProgram, obeys_flags_of_the_server) {
    flags({"--reserve-vram", "1.5"});
    const Forecast reserved = forecast(job());
    EXPECT_LT(reserved.peak.mib(), 3700);
    flags({"--novram"});
    const Forecast none = forecast(job());
    EXPECT_EQ(of(phase(none, PhaseKind::Sample), "unet").resident, Bytes(0));
    EXPECT_FALSE(phase(none, PhaseKind::TextEncode).runs_on_card);
    flags({"--cpu-vae"});
    const Phase decode = phase(forecast(job()), PhaseKind::VaeDecode);
    EXPECT_FALSE(decode.runs_on_card);
    EXPECT_EQ(decode.activations, Bytes(0));
    flags({"--fp32-vae"});
    EXPECT_NEAR(phase(forecast(job()), PhaseKind::VaeDecode).activations.mib(), 2560, 2);
    flags({"--highvram"});
    const Forecast high = forecast(job());
    EXPECT_EQ(of(phase(high, PhaseKind::Sample), "unet").streamed, Bytes(0));
}

TEST_F(SimulateProgram, loads_a_lora_without_another_copy_of_the_model) {
    const JobWish with{.model = "20",
                       .more =
                           R"("20": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], )"
                           R"("clip": ["4", 1], "lora_name": "l", "strength_model": 1.0, )"
                           R"("strength_clip": 1.0}},)"};
    const Forecast f = forecast(job(with));
    EXPECT_EQ(of(phase(f, PhaseKind::Sample), "unet").resident, Bytes(4'591'504'008));
    ASSERT_THAT(program_.models, SizeIs(3));
    EXPECT_THAT(phase(f, PhaseKind::Sample).reasons, Contains(HasSubstr("LoRA l was not seen")));
}

// Goal: merging is part of the phase that loads. Method: SDXL's largest patched weight has 13.1 M
// elements; ahead of it lie 59 others like it, 25 MiB each in fp16.
TEST_F(SimulateProgram, merges_a_lora_weight_by_weight_as_it_loads) {
    const JobWish with{.model = "20",
                       .more =
                           R"("20": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], )"
                           R"("clip": ["4", 1], "lora_name": "l", "strength_model": 1.0, )"
                           R"("strength_clip": 1.0}},)"};
    const Bytes merging = phase(forecast(job(with)), PhaseKind::Sample).merging;
    EXPECT_GT(merging.mib(), 1500);  // the sixty of them
    EXPECT_LT(merging.mib(), 5598);
    EXPECT_EQ(phase(forecast(job()), PhaseKind::Sample).merging, Bytes(0));
    // Streamed weights are patched on every call: three of the largest instead of one.
    flags({"--novram"});
    const Bytes plain = phase(forecast(job()), PhaseKind::Sample).cast;
    const Bytes patched = phase(forecast(job(with)), PhaseKind::Sample).cast;
    EXPECT_EQ(plain, Bytes::from_mib(56.25 + 1280.0 * 2 / 1048576));  // a convolution, its bias
    EXPECT_NEAR(patched.mib(), 3 * 25, 0.1);
}

TEST_F(SimulateProgram, merges_in_fp16_where_the_newer_version_does) {
    const JobWish with{.model = "20",
                       .more = R"("20": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": )"
                               R"(["4", 0], "lora_name": "l", "strength_model": 1.0}},)"};
    device_.total = Bytes::from_mib(24'000);
    const Bytes older = phase(forecast(job(with)), PhaseKind::Sample).merging;
    server_.version = {0, 33, 0};
    server_.policy = MemoryPolicy::Estimate;
    const Bytes newer = phase(forecast(job(with)), PhaseKind::Sample).merging;
    EXPECT_GT(newer, Bytes(0));
    EXPECT_LT(newer, older);
    // A model that is merged with another is patched in every weight.
    const JobWish merged{.model = "20",
                         .more = R"("20": {"class_type": "ModelMergeSimple", "inputs": {"model1": )"
                                 R"(["4", 0], "model2": ["4", 0], "ratio": 0.5}},)"};
    EXPECT_GT(phase(forecast(job(merged)), PhaseKind::Sample).merging, newer);
}

TEST_F(SimulateProgram, loads_a_controlnet_beside_the_model_and_runs_it) {
    const std::string nodes =
        R"("20": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "control"}},)"
        R"("21": {"class_type": "EmptyImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},)"
        R"("22": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["6", 0], )"
        R"("negative": ["7", 0], "control_net": ["20", 0], "image": ["21", 0], "strength": 1.0}},)";
    std::string text = job({.more = nodes});
    const auto replace = [&](const std::string& what, const std::string& by) {
        text.replace(text.find(what), what.size(), by);
    };
    device_.total = Bytes::from_mib(8192);
    const Bytes without = phase(forecast(text), PhaseKind::Sample).activations;
    replace(R"("positive": ["6", 0], "negative": ["7", 0], "latent_image")",
            R"("positive": ["22", 0], "negative": ["22", 1], "latent_image")");
    const Phase sample = phase(forecast(text), PhaseKind::Sample);
    EXPECT_EQ(of(sample, "unet").resident, Bytes(5'134'977'608));
    EXPECT_EQ(of(sample, "controlnet").resident, Bytes(1'861'959'616));  // recorded
    EXPECT_EQ(sample.batch_per_forward, 2);
    EXPECT_GT(sample.activations, without);
}

// Goal: the second job of a session is forecast with what the first left. Method: the recorded
// steps of a second prompt with another text.
TEST_F(SimulateProgram, carries_models_and_cached_nodes_over_to_the_next_job) {
    SessionState session;
    (void)forecast(job(), &session);
    const Forecast other_seed = forecast(job({.seed = 2}), &session);
    EXPECT_THAT(other_seed.phases, SizeIs(2));  // sample and decode: the texts are cached
    EXPECT_EQ(other_seed.phases[0].read_from_disk, Bytes(0));
    EXPECT_EQ(of(phase(other_seed, PhaseKind::Sample), "unet").resident, Bytes(4'591'504'008));

    const Forecast other_text = forecast(job({.seed = 2, .text = "a castle"}), &session);
    const Phase& encode = phase(other_text, PhaseKind::TextEncode);
    EXPECT_EQ(of(encode, "unet").resident, Bytes(696'519'680));  // as the decode left it
    EXPECT_EQ(of(encode, "vae").resident, Bytes(167'307'726));

    EXPECT_THAT(forecast(job({.seed = 2, .text = "a castle"}), &session).phases, IsEmpty());
}

TEST_F(SimulateProgram, begins_afresh_for_another_server) {
    SessionState session;
    (void)forecast(job(), &session);
    flags({"--novram"});
    EXPECT_THAT(forecast(job(), &session).phases, SizeIs(5));
}

TEST_F(SimulateProgram, widens_the_verdict_for_what_it_does_not_know_and_goes_on) {
    std::string text = job({.model = "30",
                            .more = R"("30": {"class_type": "SomebodysPatch", "inputs": )"
                                    R"({"thing": ["4", 0]}},)"});
    const Forecast f = forecast(text);
    EXPECT_EQ(f.verdict, Verdict::Unknown);
    EXPECT_THAT(f.unknown_nodes, ElementsAre(HasSubstr("30 SomebodysPatch")));
    // It can only have handed the model on.
    EXPECT_EQ(of(phase(f, PhaseKind::Sample), "unet").resident, Bytes(4'591'504'008));
}

// Nodes of pictures and of services elsewhere leave the card alone; a graph that nothing of is
// executed says nothing about the card.
TEST_F(SimulateProgram, fits_where_no_node_touches_the_card) {
    const std::string paid =
        R"({"1": {"class_type": "GeminiImageNode", "inputs": {"prompt": "a dragon"}}, )"
        R"("2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}, )"
        R"("3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}}})";
    const Forecast elsewhere = forecast(paid);
    EXPECT_EQ(elsewhere.verdict, Verdict::Fits);
    EXPECT_EQ(elsewhere.peak, Bytes(0));
    EXPECT_THAT(elsewhere.phases, IsEmpty());
    EXPECT_EQ(forecast(R"({"2": {"class_type": "EmptyImage", "inputs": {}}})").verdict,
              Verdict::Unknown);
    const std::string custom = R"({"1": {"class_type": "MyOwnNode", "inputs": {}}})";
    EXPECT_EQ(forecast(custom).verdict, Verdict::Unknown);
}

// Everything of a repeated prompt comes from ComfyUI's cache.
TEST_F(SimulateProgram, a_job_that_is_cached_whole_fits) {
    SessionState session;
    (void)forecast(job(), &session);
    const Forecast again = forecast(job(), &session);
    EXPECT_THAT(again.phases, IsEmpty());
    EXPECT_EQ(again.verdict, Verdict::Fits);
}

TEST_F(SimulateProgram, calls_a_model_unknown_whose_file_was_not_seen) {
    models_.by_name.clear();
    const Forecast f = forecast(job());
    EXPECT_EQ(f.verdict, Verdict::Unknown);
    EXPECT_THAT(f.unknown_nodes, Contains(HasSubstr("the file xl was not seen")));
    EXPECT_EQ(f.peak, Bytes(0));
}

TEST_F(SimulateProgram, forecasts_around_dangling_links_and_cycles) {
    std::string text = job();
    text.replace(text.find(R"(["5", 0])"), 8, R"(["55", 0])");
    const Forecast dangling = forecast(text);
    EXPECT_EQ(dangling.verdict, Verdict::Unknown);
    EXPECT_THAT(dangling.unknown_nodes, Contains(HasSubstr("latent_image of node 3")));
    EXPECT_GT(phase(dangling, PhaseKind::TextEncode).peak, Bytes(0));

    text = job();
    text.replace(text.find(R"(["5", 0])"), 8, R"(["8", 0])");
    const Forecast cycle = forecast(text);
    EXPECT_EQ(cycle.verdict, Verdict::Unknown);
    EXPECT_THAT(cycle.unknown_nodes, Contains(HasSubstr("cycle")));
}

TEST_F(SimulateProgram, lets_pages_give_way_to_computing_under_the_dynamic_policy) {
    server_.version = {0, 33, 0};
    const Forecast f = forecast(job());
    const Phase& sample = phase(f, PhaseKind::Sample);
    const Phase& decode = phase(f, PhaseKind::VaeDecode);
    EXPECT_EQ(of(sample, "unet").streamed, Bytes(0));
    EXPECT_LE(sample.peak, f.card_limit - Bytes::from_mib(256));
    EXPECT_LE(decode.peak, f.card_limit - Bytes::from_mib(256));
    EXPECT_GT(of(decode, "unet").resident.mib(), 3000);  // far more than the estimates left
    server_.policy = MemoryPolicy::Estimate;
    EXPECT_EQ(of(phase(forecast(job()), PhaseKind::Sample), "unet").resident, Bytes(4'581'673'608));
}

// Goal: --reserve-vram bounds what ComfyUI itself takes, whoever else is on the card; the 256 MiB
// that stay free and --vram-headroom count others too. Method: weights that do not fit, so that
// pages fill all there is.
TEST_F(SimulateProgram, keeps_the_headrooms_of_dynamic_vram_free) {
    server_.version = {0, 33, 0};
    device_.total = Bytes::from_gib(4);
    device_.used_by_others = Bytes::from_mib(300);
    const auto taken = [&](std::initializer_list<std::string> flags) {
        server_.flags = parse_launch_flags(flags).value();
        const Forecast f = forecast(job());
        const Phase& sample = phase(f, PhaseKind::Sample);
        EXPECT_GT(of(sample, "unet").streamed, Bytes(0));
        EXPECT_GT(sample.cast, Bytes(0));  // copies of what is streamed
        return (sample.resident + sample.activations + sample.cast).mib();
    };
    constexpr double kPageMib = 32;
    const auto up_to_a_page = [](double most) {
        return testing::AllOf(testing::Le(most), testing::Gt(most - kPageMib));
    };
    EXPECT_THAT(taken({}), up_to_a_page(4096 - 300 - 256));
    EXPECT_THAT(taken({"--reserve-vram", "1"}), up_to_a_page(4096 - 1024));
    EXPECT_THAT(taken({"--reserve-vram", "0"}), up_to_a_page(4096 - 300 - 256));
    EXPECT_THAT(taken({"--vram-headroom", "0.5"}), up_to_a_page(4096 - 300 - 256 - 512));
}

TEST_F(SimulateProgram, answers_the_same_question_the_same_way) {
    const Forecast a = forecast(job());
    const Forecast b = forecast(job());
    ASSERT_EQ(a.phases.size(), b.phases.size());
    for (std::size_t i = 0; i < a.phases.size(); ++i) {
        EXPECT_EQ(a.phases[i].peak, b.phases[i].peak);
        EXPECT_EQ(a.phases[i].reasons, b.phases[i].reasons);
    }
}

}  // namespace
}  // namespace plimsoll::memory
