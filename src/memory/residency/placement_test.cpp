// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/placement.h"

#include "memory/built_models.h"
#include "memory/networks/gz_fixture.h"
#include "memory/residency/dtypes.h"
#include "memory/residency/estimates.h"
#include "memory/residency/loadable_model.h"

#include <gtest/gtest.h>

#include <sstream>

namespace plimsoll::memory {
namespace {

// In the recording "meta" stands for the card.
Place place_named(std::string_view name) {
    return name == "cpu" ? Place::Host : Place::Card;
}

std::string_view torch_name(ComputeType type) {
    switch (type) {
        case ComputeType::Float32:
            return "torch.float32";
        case ComputeType::BFloat16:
            return "torch.bfloat16";
        default:
            return "torch.float16";
    }
}

std::vector<std::string> words(std::string_view text) {
    std::istringstream in{std::string(text)};
    return {std::istream_iterator<std::string>(in), {}};
}

struct Where {
    Server server;
    Device device;
};

Where where_of(const json::value& card) {
    Where where;
    where.server.flags = parse_launch_flags(words(*find_string(card, "flags"))).value();
    where.device.total = Bytes::from_mib(*find_number(card, "tot_mib"));
    where.device.used_by_others = Bytes::from_mib(*find_number(card, "x_mib"));
    where.device.host_ram_free = Bytes::from_mib(*find_number(card, "cpu_free_mib"));
    if (find_string(card, "os") == "windows") where.device.os = OperatingSystem::Windows;
    const auto cc = parse_comfy_version(*find_string(card, "cc")).value();
    where.device.compute_capability = cc.major * 10 + cc.minor;
    return where;
}

// Goal: models begin, run and are stored as ComfyUI decides by card, memory and flags. Method:
// every recorded load step of SD 1.5 and SDXL.
constexpr std::array kHalfFirst = {ComputeType::Float16, ComputeType::BFloat16,
                                   ComputeType::Float32};
TEST(Placement, is_the_recorded_one_on_every_card_and_with_every_flag) {
    std::istringstream lines(recorded_text("residency/steps.jsonl.gz"));
    int checked = 0;
    for (std::string line; std::getline(lines, line);) {
        const json::value step = parse_json(line).value();
        if (find_string(step, "step") != "load" || find_int(step, "seq") != 0) continue;
        const json::value& inputs = *find(step, "inputs");
        const auto [server, device] = where_of(*find(step, "card"));
        const std::string_view name = *find_string(inputs, "model");
        const bool xl = name.starts_with("sdxl");
        if (!xl && name != "sd15") continue;  // the loader's own test has the others
        const BuiltFile file = build_file(known_checkpoint(xl ? "sdxl" : "sd15").value());
        const Types types = unet_types({.params = file.contents->denoiser->weights.params,
                                        .file = modelfile::DType::Float16,
                                        .supported = kHalfFirst,
                                        .forced = {}},
                                       server.flags, device);
        const auto unet = loadable_unet("unet", file, types);
        const auto text = loadable_text_encoders("te", file.text_encoders, server.flags);
        std::int64_t free = (device.total - device.used_by_others).count;

        EXPECT_EQ(types, (Types{ComputeType::Float16, ComputeType::Float16})) << line;
        EXPECT_EQ(torch_name(vae_type(vae_types(VaeKind::AutoencoderKl), server.flags, device)),
                  find_string(inputs, "vae_dtype"))
            << line;
        const json::value& sizes = *find(inputs, "sizes");
        EXPECT_EQ(unet->size_bytes, find_int(sizes, "unet")) << line;
        EXPECT_EQ(text->size_bytes, find_int(sizes, "te")) << line;
        const Placement at_unet =
            place_model(ModelRole::Unet, unet->size_bytes, server, device, free);
        EXPECT_EQ(at_unet.built_on, place_named(*find_string(inputs, "unet_device"))) << line;
        if (at_unet.built_on == Place::Card) free -= unet->unit_bytes();
        const Placement at_text =
            place_model(ModelRole::TextEncoder, text->placement_bytes, server, device, free);
        EXPECT_EQ(at_text.runs_on, place_named(*find_string(inputs, "te_load_device"))) << line;
        EXPECT_EQ(at_text.built_on, place_named(*find_string(inputs, "te_device"))) << line;
        ++checked;
    }
    EXPECT_GT(checked, 150);
}

constexpr std::array kBrainOnly = {ComputeType::BFloat16, ComputeType::Float32};

Device card(std::string name, int compute_capability) {
    Device device;
    device.name = std::move(name);
    device.compute_capability = compute_capability;
    device.total = Bytes::from_gib(6);
    return device;
}

// Goal: the types follow the generation and its exceptions. Method: ComfyUI's rules card by card.
TEST(Dtypes, follow_the_cards_generation_and_its_exceptions) {
    const LaunchFlags none;
    constexpr std::int64_t kSdxl = 2'567'463'684;
    const auto types = [&](const Device& device, modelfile::DType file, std::int64_t params) {
        return unet_types({params, file, kHalfFirst, {}}, none, device);
    };
    using enum ComputeType;
    const Device ampere = card("NVIDIA GeForce RTX 3050 6GB", 86);
    const Device turing = card("NVIDIA GeForce RTX 2060", 75);
    const Device broken = card("NVIDIA GeForce GTX 1660 SUPER", 75);
    const Device pascal = card("NVIDIA GeForce GTX 1060 6GB", 61);
    EXPECT_EQ(types(ampere, modelfile::DType::BFloat16, kSdxl), (Types{Float16, Float16}));
    EXPECT_EQ(types(turing, modelfile::DType::Float32, kSdxl), (Types{Float16, Float16}));
    // fp16 is broken there: kept in fp16 where fp32 would not fit, computed in fp32.
    EXPECT_EQ(types(broken, modelfile::DType::Float16, kSdxl), (Types{Float16, Float32}));
    EXPECT_EQ(types(broken, modelfile::DType::Float16, 859'520'964), (Types{Float32, Float32}));
    EXPECT_EQ(types(pascal, modelfile::DType::Float16, kSdxl), (Types{Float16, Float32}));
    EXPECT_EQ(vae_type(vae_types(VaeKind::AutoencoderKl), none, ampere), BFloat16);
    EXPECT_EQ(vae_type(vae_types(VaeKind::AutoencoderKl), none, turing), Float32);
    // An fp8 file that fits in 16 bit is widened when it is loaded; one that does not stays.
    EXPECT_EQ(types(ampere, modelfile::DType::Float8E4M3, 859'520'964), (Types{Float16, Float16}));
    EXPECT_EQ(types(ampere, modelfile::DType::Float8E4M3, kSdxl), (Types{Float8E4M3, Float16}));
    LaunchFlags fp32;
    fp32.force_fp32 = true;
    EXPECT_EQ(unet_types({kSdxl, modelfile::DType::Float16, kHalfFirst, {}}, fp32, ampere),
              (Types{Float32, Float32}));
    EXPECT_EQ(unet_types({kSdxl, modelfile::DType::Float16, kHalfFirst, Float8E5M2}, none, ampere),
              (Types{Float8E5M2, Float16}));
    // A family without fp16: an fp16 file of it is kept in bf16, and in fp32 where the card has no
    // bf16.
    constexpr std::int64_t kSmall = 859'520'964;
    EXPECT_EQ(unet_types({kSmall, modelfile::DType::Float16, kBrainOnly, {}}, none, ampere),
              (Types{BFloat16, BFloat16}));
    EXPECT_EQ(unet_types({kSmall, modelfile::DType::Float16, kBrainOnly, {}}, none, turing),
              (Types{Float32, Float32}));
}

}  // namespace
}  // namespace plimsoll::memory
