// SPDX-License-Identifier: Apache-2.0
//
// Files of families that are not known: the answer is unknown, never a wrong "fits".
#include "memory/detected_fixture.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/upscale/upscaler.h"
#include "memory/networks/vision/clip_vision.h"
#include "memory/simulate.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace plimsoll::memory {
namespace {

using modelfile::TensorEntry;
using modelfile::TensorTable;

std::vector<std::string> listed_names() {
    std::vector<std::string> names;
    for (const auto& entry :
         std::filesystem::directory_iterator(PLIMSOLL_TEST_DATA "/modelfile/headers")) {
        std::string name = entry.path().filename().string();
        names.push_back(name.substr(0, name.find(".json")));
    }
    std::ranges::sort(names);
    return names;
}

// Components of a name: "blocks.3.attn.qkv.weight" has five.
std::vector<std::string> components(const std::string& name) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', start)) {
        parts.push_back(name.substr(start, dot - start));
        start = dot + 1;
    }
    parts.push_back(name.substr(start));
    return parts;
}

bool is_number(const std::string& text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// As somebody's own framework would write them: every word is another, numbers stay.
TensorTable renamed(TensorTable table) {
    for (TensorEntry& tensor : table.tensors) {
        std::string name;
        for (const std::string& part : components(tensor.name))
            name += (name.empty() ? "" : ".") +
                    (is_number(part) || part == "weight" || part == "bias" ? part : part + "z");
        tensor.name = name;
    }
    table.index();
    return table;
}

// Where the first list of blocks begins: "transformer_blocks.". Empty where there is none.
std::string list_of(const TensorTable& table) {
    for (const TensorEntry& tensor : table.tensors) {
        std::string path;
        const std::vector<std::string> parts = components(tensor.name);
        for (std::size_t i = 0; i + 2 < parts.size(); ++i) {
            path += parts[i] + ".";
            if (parts[i + 1] == "0" && table.with_prefix(path + "1.").size() > 2) return path;
        }
    }
    return {};
}

// A relative with one more layer in each block: what a new version of a family looks like.
TensorTable widened(TensorTable table) {
    const std::string list = list_of(table);
    if (list.empty()) return {};
    std::int64_t share = 0;  // of the block's own elements, so that it is no crumb
    for (const std::uint32_t at : table.with_prefix(list + "0."))
        share += modelfile::element_count(table.tensors[at].shape);
    int blocks = 0;
    while (!table.with_prefix(fmt::format("{}{}.", list, blocks)).empty()) ++blocks;
    for (int block = 0; block < blocks; ++block)
        table.tensors.push_back({.name = fmt::format("{}{}.novel_gate.weight", list, block),
                                 .dtype = table.tensors.front().dtype,
                                 .shape = {4, std::max<std::int64_t>(1, share / 16)},
                                 .bytes = Bytes(share / 2)});
    table.index();
    return table;
}

// A relative without a kind of layer that every block had: the largest tensor of the first block
// goes, and its likes with it.
TensorTable narrowed(TensorTable table) {
    const std::string list = list_of(table);
    if (list.empty()) return {};
    std::string largest;
    std::int64_t most = 0;
    for (const std::uint32_t at : table.with_prefix(list + "0.")) {
        const TensorEntry& tensor = table.tensors[at];
        if (modelfile::element_count(tensor.shape) <= most) continue;
        most = modelfile::element_count(tensor.shape);
        largest = tensor.name.substr(list.size() + 2);
    }
    std::erase_if(table.tensors, [&](const TensorEntry& tensor) {
        const std::string rest =
            tensor.name.starts_with(list) ? tensor.name.substr(list.size()) : std::string();
        const std::size_t dot = rest.find('.');
        return dot != std::string::npos && rest.substr(dot + 1) == largest;
    });
    table.index();
    return table;
}

// Networks of a file that a forecast would walk, with the elements that a file of them holds.
std::int64_t walked_params(const BuiltFile& file) {
    std::int64_t params = 0;
    if (file.denoiser) params += params_of(*file.denoiser);
    if (file.vae) params += params_of(*file.vae);
    for (const BuiltTextEncoder& encoder : file.text_encoders)
        params += params_of(encoder.network());
    if (file.clip_vision) params += params_of(*file.clip_vision);
    if (file.upscaler) params += params_of(*file.upscaler);
    return params;
}

void hold_honest(const std::string& name, const TensorTable& table, std::string_view how,
                 int& unknown) {
    const BuiltFile file = build(table);
    const std::int64_t walked = walked_params(file);
    // The VAE that is none, of a network whose latents are pixels, has one number.
    if (walked <= 1) {
        ++unknown;
        return;
    }
    // What is walked all the same must be what the file holds.
    EXPECT_NEAR(static_cast<double>(walked), static_cast<double>(params_of(table)),
                0.011 * static_cast<double>(params_of(table)))
        << name << " " << how;
}

// Goal: no relative of a known family is walked as if it were it. Method: the listing of every
// known network with all words of its names changed, with a layer more in each block, and with one
// less; each must be unknown, or be of the size that the file has.
TEST(UnknownFamilies, are_never_walked_as_their_relatives) {
    int seen = 0;
    int strangers = 0;
    int wider = 0;
    int narrower = 0;
    for (const std::string& name : listed_names()) {
        if (name.starts_with("controlnet") || name.starts_with("t2i")) continue;
        const TensorTable table = listing(name);
        if (table.tensors.empty()) continue;
        ++seen;
        hold_honest(name, renamed(table), "renamed", strangers);
        if (const TensorTable more = widened(table); !more.tensors.empty())
            hold_honest(name, more, "widened", wider);
        if (const TensorTable less = narrowed(table); !less.tensors.empty())
            hold_honest(name, less, "narrowed", narrower);
    }
    fmt::print(
        "of {} networks: {} renamed, {} with a layer more and {} with one less are unknown\n", seen,
        strangers, wider, narrower);
    EXPECT_GT(seen, 100);
    EXPECT_EQ(strangers, seen);
    EXPECT_GT(wider, seen / 2);
    EXPECT_GT(narrower, seen / 2);
}

constexpr const char* kTextToImage = R"({
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "m.safetensors", "weight_dtype": "default"}},
    "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "t.safetensors", "type": "sd3"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 0], "text": "a"}},
    "4": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "5": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["3", 0], "negative": ["3", 0],
          "latent_image": ["4", 0], "seed": 1, "steps": 20, "cfg": 4, "sampler_name": "euler",
          "scheduler": "simple", "denoise": 1}},
    "6": {"class_type": "VAELoader", "inputs": {"vae_name": "v.safetensors"}},
    "7": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["6", 0]}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}}})";

Forecast forecast_of(const TensorTable& model, std::int64_t card_mib) {
    const auto contents = [](const TensorTable& table) {
        return std::make_shared<const modelfile::Contents>(modelfile::detect_contents(table));
    };
    ModelFiles files;
    files.by_name["m.safetensors"] = contents(model);
    files.by_name["t.safetensors"] = contents(listing("t5_xxl"));
    files.by_name["v.safetensors"] = contents(listing("vae_kl16"));
    Device device;
    device.total = Bytes::from_mib(static_cast<double>(card_mib));
    const auto graph = workflow::parse_api_workflow(kTextToImage);
    EXPECT_TRUE(graph);
    return simulate_program(lower_graph(*graph, build_models(files)), Server{}, device);
}

// Goal: a forecast with a stranger in it says exact weights, both bounds and why, and stays
// unknown however large the card is. Method: Flux' listing under other names.
TEST(UnknownFamilies, are_bounded_and_stay_unknown_on_any_card) {
    const TensorTable stranger = renamed(listing("flux_dev"));
    constexpr std::int64_t kHuge = 1024LL * 1024;
    const Forecast forecast = forecast_of(stranger, kHuge);
    EXPECT_EQ(forecast.verdict, Verdict::Unknown);
    ASSERT_TRUE(forecast.bound);
    const auto phase = std::ranges::find(forecast.phases, PhaseKind::Unknown, &Phase::kind);
    ASSERT_NE(phase, forecast.phases.end());
    ASSERT_TRUE(phase->bound);
    Bytes stored;
    for (const TensorEntry& tensor : stranger.tensors) stored += tensor.bytes;
    EXPECT_EQ(phase->bound->weights, stored);
    ASSERT_TRUE(phase->bound->upper);
    EXPECT_GT(*phase->bound->upper, phase->bound->weights);
    EXPECT_LT(phase->bound->lower, phase->bound->weights);
    EXPECT_FALSE(phase->bound->reason.empty());
    // The known network's own forecast of the same step lies between.
    const Forecast known = forecast_of(listing("flux_dev"), kHuge);
    const auto sample = std::ranges::find(known.phases, PhaseKind::Sample, &Phase::kind);
    ASSERT_NE(sample, known.phases.end());
    EXPECT_GE(sample->comfort, phase->bound->lower);
    EXPECT_LE(sample->comfort, *phase->bound->upper);
    ASSERT_TRUE(forecast.bound->upper);
    EXPECT_GE(*forecast.bound->upper, forecast.peak);
}

TEST(UnknownFamilies, do_not_fit_where_one_weight_is_larger_than_the_card) {
    // The largest matrix of this one takes 84 MiB and more.
    const TensorTable stranger = renamed(listing("ideogram4_base"));
    constexpr std::int64_t kTiny = 256;
    EXPECT_EQ(forecast_of(stranger, kTiny).verdict, Verdict::WillNotFit);
}

}  // namespace
}  // namespace plimsoll::memory
