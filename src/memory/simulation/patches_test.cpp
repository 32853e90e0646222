// SPDX-License-Identifier: Apache-2.0
//
// Goal: what adjusts a sampling moves its peak as the reference of ComfyUI's memory says: patches
// of the model, conditions for parts of the picture or of the schedule, windows, what caches keep;
// and what the host holds beside. Method: one job with and without each, bytes by hand.
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

using testing::Contains;
using testing::HasSubstr;

constexpr std::int64_t kMib = 1024LL * 1024;

struct Wish {
    std::string checkpoint = "xl";
    double cfg = 7.0;
    int side = 1024;
    std::string patch = {};  // the node between loader and sampler: its type and inputs; NOLINT
    std::string more = {};   // further nodes; NOLINT(readability-redundant-member-init)
    std::string positive = R"(["6", 0])";
    std::string latent =
        {};            // instead of an empty image; NOLINT(readability-redundant-member-init)
    bool save = true;  // decode and save
};

std::string job(const Wish& w) {
    const std::string model = w.patch.empty() ? R"(["4", 0])" : R"(["20", 0])";
    std::string nodes = fmt::format(
        R"({{"3": {{"class_type": "KSampler", "inputs": {{"seed": 1, "steps": 20, "cfg": {}, )"
        R"("sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": {}, )"
        R"("positive": {}, "negative": ["7", 0], "latent_image": ["5", 0]}}}}, )"
        R"("4": {{"class_type": "CheckpointLoaderSimple", "inputs": {{"ckpt_name": "{}"}}}}, )"
        R"("6": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "a dragon", "clip": ["4", 1]}}}}, )"
        R"("7": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "blurry", "clip": ["4", 1]}}}})",
        w.cfg, model, w.positive, w.checkpoint);
    nodes += w.latent.empty()
                 ? fmt::format(R"(, "5": {{"class_type": "EmptyLatentImage", "inputs": )"
                               R"({{"width": {0}, "height": {0}, "batch_size": 1}}}})",
                               w.side)
                 : fmt::format(R"(, "5": {})", w.latent);
    if (!w.patch.empty()) nodes += fmt::format(R"(, "20": {{"class_type": {}}})", w.patch);
    if (!w.more.empty()) nodes += ", " + w.more;
    nodes +=
        R"(, "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}})";
    nodes += R"(, "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}})";
    return nodes;
}

// "FreeU", {"b1": 1}: a node on the model.
std::string on_model(const std::string& type, const std::string& inputs = "") {
    return fmt::format(R"("{}", "inputs": {{"model": ["4", 0]{}{}}})", type,
                       inputs.empty() ? "" : ", ", inputs);
}

class SamplingPatchesTest : public testing::Test {
  protected:
    SamplingPatchesTest() { device_.total = Bytes::from_gib(40); }

    Forecast forecast(const Wish& wish) {
        ModelFiles files;
        files.by_name[wish.checkpoint] =
            known_checkpoint(wish.checkpoint == "xl" ? "sdxl" : wish.checkpoint).value();
        auto lora = std::make_shared<modelfile::Contents>();
        lora->is_lora = true;
        lora->everything.params = 50 * kMib;
        lora->everything.bytes = Bytes(100 * kMib);
        files.by_name["lora"] = lora;
        files.by_name["vision"] = known_file({.kind = modelfile::NamedFile::Kind::ClipVision,
                                              .name = "clip_vision_h",
                                              .dtype = modelfile::DType::Float16},
                                             false)
                                      .value();
        const auto graph = workflow::parse_api_workflow(job(wish));
        EXPECT_TRUE(graph) << job(wish);
        return simulate_program(lower_graph(*graph, build_models(files)), server_, device_);
    }
    Phase sample(const Wish& wish) { return phase(forecast(wish), PhaseKind::Sample); }
    static Phase phase(const Forecast& f, PhaseKind kind) {
        const auto found = std::ranges::find(f.phases, kind, &Phase::kind);
        EXPECT_NE(found, f.phases.end()) << phase_kind_name(kind);
        return found == f.phases.end() ? Phase() : *found;
    }

    Server server_;
    Device device_;
};

constexpr std::int64_t kLatent = 4 * 128 * 128 * 4;  // of SDXL at 1024 x 1024, fp32

TEST_F(SamplingPatchesTest, guidance_by_perturbed_attention_runs_one_condition_more) {
    const Phase plain = sample({});
    const Phase pag = sample({.patch = on_model("PerturbedAttentionGuidance", R"("scale": 3.0)")});
    EXPECT_EQ(plain.forwards, 20);
    EXPECT_EQ(pag.forwards, 30);  // half as much again: one condition of two
    EXPECT_EQ(pag.activations - plain.activations, Bytes(3 * kLatent));
    const Phase off = sample({.patch = on_model("PerturbedAttentionGuidance", R"("scale": 0.0)")});
    EXPECT_EQ(off.forwards, 20);
    EXPECT_EQ(off.activations, plain.activations);
}

TEST_F(SamplingPatchesTest, self_attention_guidance_keeps_the_scores_of_the_middle) {
    const Phase plain = sample({.cfg = 1.0});
    const Phase sag =
        sample({.cfg = 1.0,
                .patch = on_model("SelfAttentionGuidance", R"("scale": 0.5, "blur_sigma": 2.0)")});
    EXPECT_EQ(plain.batch_per_forward, 1);
    EXPECT_EQ(sag.batch_per_forward, 2);  // it needs the negative
    const Phase both = sample({});
    // 20 heads, 32 x 32 tokens with each other, two conditions in fp16: 80 MiB.
    EXPECT_GE(sag.activations - both.activations, Bytes(80 * kMib + 3 * kLatent));
    EXPECT_LT(sag.activations - both.activations, Bytes(240 * kMib));
}

TEST_F(SamplingPatchesTest, free_u_filters_skips_beside_what_lives_there) {
    // Two stages of SD 1.5, at 1024 x 1024: the skips of 64 x 64 cells take 640 channels.
    const Phase plain = sample({.checkpoint = "sd15"});
    const Phase freeu = sample({.checkpoint = "sd15", .patch = on_model("FreeU_V2")});
    EXPECT_GE(freeu.activations, plain.activations);
    EXPECT_LT(freeu.activations.mib(), plain.activations.mib() + 640.0 * 64 * 64 * 22 * 2 / kMib);
    const Phase large = sample({.patch = on_model("FreeU")});
    EXPECT_GE(large.activations, sample({}).activations);
}

TEST_F(SamplingPatchesTest, merging_tokens_takes_scores_where_tokens_are_cells) {
    const std::string merge = on_model("TomePatchModel", R"("ratio": 0.3)");
    // 12,288 tokens against 4,096, two conditions in fp16: 192 MiB, at a moment when less lives.
    const Wish small{.checkpoint = "sd15"};
    const Wish small_merged{.checkpoint = "sd15", .patch = merge};
    EXPECT_EQ(sample(small_merged).activations, sample(small).activations);
    // Four times the tokens, sixteen times the scores: 3 GiB.
    const Bytes plain = sample({.checkpoint = "sd15", .side = 2048}).activations;
    const Phase merged = sample({.checkpoint = "sd15", .side = 2048, .patch = merge});
    EXPECT_GT(merged.activations, plain);
    EXPECT_GT(merged.activations, Bytes(3072 * kMib));
    EXPECT_LT(merged.activations, Bytes(3072 * kMib) + plain);
    EXPECT_EQ(merged.peak_op, "token_scores");
    // SDXL has no transformer at the full size.
    const Phase xl = sample({.patch = on_model("TomePatchModel", R"("ratio": 0.3)")});
    EXPECT_EQ(xl.activations, sample({}).activations);
}

TEST_F(SamplingPatchesTest, deep_shrink_and_hypertile_leave_the_peak) {
    const Bytes plain = sample({}).peak;
    const Phase shrunk = sample({.patch = on_model("PatchModelAddDownscale")});
    EXPECT_EQ(shrunk.peak, plain);
    EXPECT_THAT(shrunk.reasons, Contains(HasSubstr("the peak stays")));
    EXPECT_EQ(sample({.patch = on_model("HyperTile")}).peak, plain);
}

TEST_F(SamplingPatchesTest, cfg_is_overridden_and_kept_by_patches) {
    EXPECT_EQ(sample({.patch = on_model("CFGOverride", R"("cfg": 1.0, "start_percent": 0.0, )"
                                                       R"("end_percent": 1.0)")})
                  .batch_per_forward,
              1);
    EXPECT_EQ(sample({.patch = on_model("CFGOverride", R"("cfg": 1.0, "start_percent": 0.0, )"
                                                       R"("end_percent": 0.5)")})
                  .batch_per_forward,
              2);
    EXPECT_EQ(sample({.cfg = 1.0, .patch = on_model("NAGuidance")}).batch_per_forward, 2);
    const Phase apart = sample({.patch = on_model("SkipLayerGuidanceDiTSimple",
                                                  R"("start_percent": 0.0, "end_percent": 1.0)")});
    EXPECT_EQ(apart.batch_per_forward, 1);
    EXPECT_EQ(apart.forwards, 40);
}

TEST_F(SamplingPatchesTest, conditions_of_different_stretches_never_run_together) {
    const std::string early_and_late =
        R"("30": {"class_type": "ConditioningSetTimestepRange", "inputs": {"conditioning": )"
        R"(["6", 0], "start": 0.0, "end": 0.5}}, )"
        R"("31": {"class_type": "ConditioningSetTimestepRange", "inputs": {"conditioning": )"
        R"(["7", 0], "start": 0.5, "end": 1.0}}, )"
        R"("32": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["30", 0], )"
        R"("conditioning_2": ["31", 0]}})";
    const Phase plain = sample({});
    const Phase ranged = sample({.more = early_and_late, .positive = R"(["32", 0])"});
    EXPECT_EQ(ranged.batch_per_forward, 2);
    EXPECT_EQ(ranged.forwards, plain.forwards);
    EXPECT_EQ(ranged.activations, plain.activations);
    // Both at once: three in a forward.
    const std::string both =
        R"("32": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["6", 0], )"
        R"("conditioning_2": ["7", 0]}})";
    const Phase three = sample({.more = both, .positive = R"(["32", 0])"});
    EXPECT_EQ(three.batch_per_forward, 3);
    EXPECT_GT(three.activations, plain.activations);
}

TEST_F(SamplingPatchesTest, a_condition_for_an_area_runs_on_that_area) {
    const auto area = [](const std::string& node) {
        return node + R"(, "32": {"class_type": "ConditioningCombine", "inputs": {)"
                      R"("conditioning_1": ["6", 0], "conditioning_2": ["30", 0]}})";
    };
    const std::string cells =
        R"("30": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["6", 0], )"
        R"("width": 512, "height": 512, "x": 0, "y": 0, "strength": 1.0}})";
    const Phase part = sample({.more = area(cells), .positive = R"(["32", 0])"});
    EXPECT_EQ(part.forwards, 40);  // the area cannot share a forward with the whole
    EXPECT_EQ(part.batch_per_forward, 2);
    EXPECT_EQ(part.activations, sample({}).activations);
    // Shares of the whole: all of it is the whole.
    const std::string shares =
        R"("30": {"class_type": "ConditioningSetAreaPercentage", "inputs": {"conditioning": )"
        R"(["6", 0], "width": 1.0, "height": 1.0, "x": 0, "y": 0, "strength": 1.0}})";
    EXPECT_EQ(sample({.more = area(shares), .positive = R"(["32", 0])"}).batch_per_forward, 3);
}

TEST_F(SamplingPatchesTest, windows_limit_a_long_video_to_their_length) {
    const auto video = [](int frames) {
        return fmt::format(
            R"({{"class_type": "EmptyHunyuanLatentVideo", "inputs": {{"width": 832, )"
            R"("height": 480, "length": {}, "batch_size": 1}}}})",
            frames);
    };
    const std::string windows =
        on_model("WanContextWindowsManual",
                 R"("context_length": 81, "context_overlap": 32, "context_schedule": )"
                 R"("standard_static", "context_stride": 1, "closed_loop": false)");
    const Wish one{.checkpoint = "wan_t2v_1.3b", .latent = video(81)};
    const Wish windowed_one{.checkpoint = "wan_t2v_1.3b", .patch = windows, .latent = video(81)};
    const Wish windowed_long{.checkpoint = "wan_t2v_1.3b", .patch = windows, .latent = video(161)};
    const Wish long_one{.checkpoint = "wan_t2v_1.3b", .latent = video(161)};
    const Phase base = sample(one);
    EXPECT_EQ(sample(windowed_one).activations, base.activations);  // no longer than the window
    const Phase cut = sample(windowed_long);
    EXPECT_LT(cut.activations, sample(long_one).activations);
    // The whole latent of 41 frames, and what the windows of both conditions add up to.
    EXPECT_EQ(cut.activations - base.activations, Bytes(3LL * 16 * 41 * 60 * 104 * 4));
    // 21 frames of 41, 13 further each time: 0, 13 and the last.
    EXPECT_EQ(cut.forwards, 3 * base.forwards);
    // The newer version takes a frame before the window along.
    server_.version = {0, 33, 0};
    server_.policy = MemoryPolicy::Estimate;
    const Bytes newer_base = sample(one).activations;
    EXPECT_GT(sample(windowed_long).activations - newer_base, Bytes(3LL * 16 * 41 * 60 * 104 * 4));
}

TEST_F(SamplingPatchesTest, caches_of_steps_keep_outputs_or_hidden_states) {
    const Phase plain = sample({.checkpoint = "flux_dev", .cfg = 1.0});
    const Phase easy =
        sample({.checkpoint = "flux_dev", .cfg = 1.0, .patch = on_model("EasyCache")});
    EXPECT_EQ(easy.activations - plain.activations, Bytes(16LL * 128 * 128 * 2));
    const Phase tea = sample({.checkpoint = "flux_dev", .cfg = 1.0, .patch = on_model("TeaCache")});
    // 64 x 64 tokens of 3,072 in bf16, twice.
    EXPECT_EQ(tea.activations - plain.activations, Bytes(2LL * 64 * 64 * 3072 * 2));
    // A network whose hidden states are not known: the verdict says so.
    const Forecast unknown = forecast({.patch = on_model("TeaCache")});
    EXPECT_EQ(unknown.verdict, Verdict::Unknown);
    EXPECT_GT(phase(unknown, PhaseKind::Sample).peak, Bytes(0));
}

TEST_F(SamplingPatchesTest, what_is_not_merged_lies_beside_the_model) {
    const std::string bypass = R"("lora_name": "NAME", "strength_model": 1.0)";
    const auto with = [&](const std::string& name) {
        std::string inputs = bypass;
        inputs.replace(inputs.find("NAME"), 4, name);
        return forecast({.patch = on_model("LoraLoaderBypassModelOnly", inputs)});
    };
    const Forecast known = with("lora");
    EXPECT_EQ(phase(known, PhaseKind::Sample).activations - sample({}).activations,
              Bytes(2 * 50 * kMib));
    EXPECT_EQ(known.verdict, Verdict::Fits);
    EXPECT_EQ(with("another").verdict, Verdict::Unknown);
}

// Goal: an IP-Adapter's weights lie on the card in the type that the network computes in, and its
// image encoder runs before. Method: a file of 50 Mi numbers; a face network's are not known.
TEST_F(SamplingPatchesTest, an_ip_adapter_lies_beside_the_model_and_sees_its_image) {
    const std::string nodes =
        R"("30": {"class_type": "IPAdapterModelLoader", "inputs": {"ipadapter_file": "FILE"}}, )"
        R"("31": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "vision"}}, )"
        R"("32": {"class_type": "EmptyImage", "inputs": {"width": 640, "height": 480, )"
        R"("batch_size": 1, "color": 0}})";
    const auto with = [&](const std::string& type, const std::string& file) {
        std::string more = nodes;
        more.replace(more.find("FILE"), 4, file);
        return forecast({.patch = on_model(type, R"("ipadapter": ["30", 0], "clip_vision": )"
                                                 R"(["31", 0], "image": ["32", 0])"),
                         .more = more});
    };
    const Forecast known = with("IPAdapterAdvanced", "lora");
    EXPECT_EQ(known.verdict, Verdict::Fits) << testing::PrintToString(known.unknown_nodes);
    EXPECT_EQ(phase(known, PhaseKind::Sample).activations - sample({}).activations,
              Bytes(2 * 50 * kMib));
    EXPECT_GT(phase(known, PhaseKind::ImageEncode).resident, Bytes::from_mib(1000));
    EXPECT_EQ(with("IPAdapterAdvanced", "another").verdict, Verdict::Unknown);
    EXPECT_EQ(with("IPAdapterFaceID", "lora").verdict, Verdict::Unknown);
}

// What a unified loader picks by itself is not known, nor is an adapter that is not connected.
TEST_F(SamplingPatchesTest, an_ip_adapter_that_no_node_names_widens_the_verdict) {
    const Forecast unified =
        forecast({.patch = on_model("IPAdapter", R"("ipadapter": ["30", 1])"),
                  .more = R"("30": {"class_type": "IPAdapterUnifiedLoader", "inputs": )"
                          R"({"preset": "STANDARD", "model": ["4", 0]}})"});
    EXPECT_EQ(unified.verdict, Verdict::Unknown);
    EXPECT_THAT(unified.unknown_nodes, Contains(HasSubstr("ipadapter")));
    EXPECT_EQ(forecast({.patch = on_model("IPAdapterAdvanced")}).verdict, Verdict::Unknown);
}

// Goal: conditions whose hooks differ change weights between them, so none shares a forward; the
// same hooks do. Method: forwards of 20 steps.
TEST_F(SamplingPatchesTest, hooks_part_conditions_that_do_not_share_them) {
    const std::string hooked =
        R"("40": {"class_type": "ConditioningSetProperties", "inputs": {"cond_NEW": ["6", 0], )"
        R"("strength": 1.0, "set_cond_area": "default", "hooks": ["41", 0]}}, )"
        R"("41": {"class_type": "CreateHookLora", "inputs": {"lora_name": "lora", )"
        R"("strength_model": 1.0, "strength_clip": 1.0}})";
    EXPECT_EQ(sample({}).batch_per_forward, 2);
    const Phase parted = sample({.more = hooked, .positive = R"(["40", 0])"});
    EXPECT_EQ(parted.batch_per_forward, 1);
    EXPECT_EQ(parted.forwards, 40);
}

// A style model of Flux adds 27 x 27 tokens of its image to the text.
TEST_F(SamplingPatchesTest, a_style_models_tokens_are_the_texts) {
    const std::string style =
        R"("40": {"class_type": "StyleModelApply", "inputs": {"conditioning": ["6", 0], )"
        R"("style_model": ["41", 0], "strength": 1.0, "strength_type": "multiply"}}, )"
        R"("41": {"class_type": "StyleModelLoader", "inputs": {"style_model_name": "redux"}})";
    const Forecast styled =
        forecast({.checkpoint = "flux_dev", .cfg = 1.0, .more = style, .positive = R"(["40", 0])"});
    const Forecast plain = forecast({.checkpoint = "flux_dev", .cfg = 1.0});
    EXPECT_GT(phase(styled, PhaseKind::Sample).activations,
              phase(plain, PhaseKind::Sample).activations);
    EXPECT_EQ(styled.verdict, plain.verdict);
}

// The style adapter of Stable Diffusion 1.x adds eight tokens only (Mou et al. 2023), Redux 729:
// seen on a network whose peak every token of the text is part of.
TEST_F(SamplingPatchesTest, a_t2i_style_adapter_adds_eight_tokens) {
    const auto styled = [&](const std::string& file) {
        const std::string style = fmt::format(
            R"("40": {{"class_type": "StyleModelApply", "inputs": {{"conditioning": ["6", 0], )"
            R"("style_model": ["41", 0], "strength": 1.0, "strength_type": "multiply"}}}}, )"
            R"("41": {{"class_type": "StyleModelLoader", "inputs": {{"style_model_name": "{}"}}}})",
            file);
        return phase(forecast({.checkpoint = "flux_dev",
                               .cfg = 1.0,
                               .more = style,
                               .positive = R"(["40", 0])"}),
                     PhaseKind::Sample)
            .activations;
    };
    const Bytes plain =
        phase(forecast({.checkpoint = "flux_dev", .cfg = 1.0}), PhaseKind::Sample).activations;
    const Bytes adapted = styled("t2iadapter_style_sd14v1.pth");
    const Bytes redux = styled("redux.safetensors");
    EXPECT_GE(adapted, plain);
    EXPECT_GT(redux - plain, Bytes(50 * (adapted - plain).count));
}

// --- the host ------------------------------------------------------------------------------------

TEST_F(SamplingPatchesTest, the_host_holds_what_is_not_on_the_card_and_what_nodes_made) {
    device_.total = Bytes::from_mib(5898);
    device_.used_by_others = Bytes::from_mib(300);
    const Forecast f = forecast({});
    const Phase load = phase(f, PhaseKind::Load);
    // All three networks wait there, and the file is read beside them.
    EXPECT_EQ(load.host.weights, Bytes(5'134'977'608 + 1'636'620'296 + 167'307'726));
    EXPECT_EQ(load.host.mapped, load.read_from_disk);
    const Phase sampled = phase(f, PhaseKind::Sample);
    EXPECT_EQ(sampled.host.weights + sampled.resident, load.host.weights);
    const Phase decoded = phase(f, PhaseKind::VaeDecode);
    EXPECT_EQ(decoded.host.outputs - sampled.host.outputs, Bytes(3LL * 1024 * 1024 * 4));
    EXPECT_EQ(sampled.host.outputs, Bytes(2 * kLatent));  // the empty one and the sampled
    EXPECT_GE(f.host, load.host.held());
    EXPECT_EQ(f.host_mapped, load.host.held() + load.host.mapped);
}

TEST_F(SamplingPatchesTest, a_machine_with_too_little_memory_is_warned_about) {
    device_.total = Bytes::from_gib(6);
    device_.host_ram_free = Bytes::from_gib(4);
    EXPECT_THAT(forecast({}).warnings, testing::Not(Contains(HasSubstr("the job holds"))));
    device_.host_ram_known = true;
    EXPECT_THAT(forecast({}).warnings, Contains(HasSubstr("the job holds")));
    device_.host_ram_free = Bytes::from_gib(64);
    EXPECT_THAT(forecast({}).warnings, testing::Not(Contains(HasSubstr("the job holds"))));
    // Pages that stay in the files give way, and are read again.
    server_.version = {0, 33, 0};
    device_.host_ram_free = Bytes::from_gib(4);
    EXPECT_THAT(forecast({}).warnings, Contains(HasSubstr("read from the disk again")));
}

TEST_F(SamplingPatchesTest, loras_take_the_host_twice_their_file_and_what_they_replace) {
    const Forecast plain = forecast({});
    const Forecast patched =
        forecast({.patch = on_model("LoraLoaderModelOnly",
                                    R"("lora_name": "lora", "strength_model": 1.0)")});
    const Phase with = phase(patched, PhaseKind::Sample);
    EXPECT_EQ(with.host.loras, Bytes(100 * kMib));
    // What the patched weights were before stays there: most of the 4.9 GiB.
    EXPECT_GT(with.host.weights - phase(plain, PhaseKind::Sample).host.weights, Bytes::from_gib(3));
    EXPECT_EQ(with.resident, phase(plain, PhaseKind::Sample).resident);
}

// Goal: pages give way to the copies of patching, as they do to all that computes. Method: a card
// that the weights fill.
TEST_F(SamplingPatchesTest, patching_on_the_way_to_the_card_makes_pages_leave) {
    device_.total = Bytes::from_mib(5898);
    device_.used_by_others = Bytes::from_mib(300);
    server_.version = {0, 33, 0};
    const Forecast plain = forecast({});
    const Forecast patched =
        forecast({.patch = on_model("LoraLoaderModelOnly",
                                    R"("lora_name": "lora", "strength_model": 1.0)")});
    const Phase with = phase(patched, PhaseKind::Sample);
    EXPECT_NEAR(with.cast.mib(), 3 * 25, 1);  // three of the largest patched weight, in fp16
    EXPECT_LT(with.resident, phase(plain, PhaseKind::Sample).resident);
    EXPECT_LE(with.peak, patched.card_limit);
    EXPECT_NE(patched.verdict, Verdict::WillNotFit);
}

TEST_F(SamplingPatchesTest, the_native_allocator_reserves_whole_segments) {
    const Phase pooled = sample({});
    server_.flags.cuda_malloc = false;
    const Phase native = sample({});
    EXPECT_EQ(native.peak, pooled.peak);  // allocated bytes are the job's, whatever holds them
    EXPECT_GT(native.reserved, pooled.reserved);
    EXPECT_LT(native.reserved.mib(), pooled.reserved.mib() * 1.1);
}

}  // namespace
}  // namespace plimsoll::memory
