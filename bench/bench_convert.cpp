// SPDX-License-Identifier: Apache-2.0
//
// The conversion of a workflow of 5,000 nodes from the UI format to the API format (target < 200
// ms, parsing included): a chain of samplers through reroutes and bypassed nodes, half of it inside
// subgraphs that stand in many places.
#include "targets.h"
#include "workflow/convert/convert.h"
#include "yardstick.h"

#include <fmt/format.h>

#include <string>

namespace plimsoll::bench {
namespace {

constexpr const char* kObjectInfo = R"({
"KSampler": {"input": {"required": {"model": ["MODEL"],
    "seed": ["INT", {"default": 0, "control_after_generate": true}], "steps": ["INT", {"default": 20}],
    "cfg": ["FLOAT", {"default": 8.0}], "sampler_name": [["euler", "heun"]],
    "scheduler": [["normal", "karras"]], "positive": ["CONDITIONING"],
    "negative": ["CONDITIONING"], "latent_image": ["LATENT"], "denoise": ["FLOAT", {"default": 1.0}]}},
    "output": ["LATENT"], "is_input_list": false},
"CLIPTextEncode": {"input": {"required": {"text": ["STRING", {"multiline": true, "dynamicPrompts": true}],
    "clip": ["CLIP"]}}, "output": ["CONDITIONING"]}})";

// `link` leads to the latent, `out` from it.
std::string sampler(int id, int link, int out, int mode) {
    return fmt::format(
        R"({{"id":{0},"type":"KSampler","mode":{3},"pos":[100,200],"size":[210,262],"inputs":[
{{"name":"model","type":"MODEL","link":null}},{{"name":"positive","type":"CONDITIONING","link":null}},
{{"name":"negative","type":"CONDITIONING","link":null}},
{{"name":"latent_image","type":"LATENT","link":{1}}},
{{"name":"seed","type":"INT","widget":{{"name":"seed"}},"link":null}}],
"outputs":[{{"name":"LATENT","type":"LATENT","links":[{2}]}}],
"properties":{{"Node name for S&R":"KSampler","cnr_id":"comfy-core","ver":"0.3.64"}},
"widgets_values":[156680208700286,"randomize",20,8,"euler","normal",1]}})",
        id, link, out, mode);
}

std::string reroute(int id, int link, int out) {
    return fmt::format(
        R"({{"id":{0},"type":"Reroute","inputs":[{{"name":"","type":"*","link":{1}}}],
"outputs":[{{"name":"","type":"LATENT","links":[{2}]}}]}})",
        id, link, out);
}

// A chain of `count` nodes: every fifth a reroute, every seventh bypassed.
std::string chain(int count, bool is_inner) {
    std::string nodes;
    std::string links;
    for (int i = 1; i <= count; ++i) {
        if (i > 1) nodes += ',';
        nodes += i % 5 == 0 ? reroute(i, i - 1, i) : sampler(i, i - 1, i, i % 7 == 0 ? 4 : 0);
        if (i == count) break;
        if (i > 1) links += ',';
        const int slot = (i + 1) % 5 == 0 ? 0 : 3;
        links += is_inner
                     ? fmt::format(R"({{"id":{0},"origin_id":{0},"origin_slot":0,"target_id":{1},)"
                                   R"("target_slot":{2},"type":"LATENT"}})",
                                   i, i + 1, slot)
                     : fmt::format(R"([{0},{0},0,{1},{2},"LATENT"])", i, i + 1, slot);
    }
    return fmt::format(R"("nodes":[{}],"links":[{}])", nodes, links);
}

// Half of the nodes in the root graph, half in ten-node subgraphs.
std::string workflow_of(int nodes) {
    std::string text = "{" + chain(nodes / 2, false);
    std::string hosts;
    for (int i = 0; i < nodes / 20; ++i)
        hosts +=
            fmt::format(R"(,{{"id":{},"type":"inner","inputs":[],"outputs":[]}})", 100'000 + i);
    text.insert(text.find(R"(],"links")"), hosts);
    text += fmt::format(R"(,"definitions":{{"subgraphs":[{{"id":"inner","name":"Inner",{}}}]}}}})",
                        chain(10, true));
    return text;
}

void convert(benchmark::State& state) {
    const auto info = workflow::ObjectInfo::parse(kObjectInfo);
    if (!info) return state.SkipWithError(info.error().message.c_str());
    const std::string text = workflow_of(static_cast<int>(state.range(0)));
    against_parsing(state, text,
                    [&] { benchmark::DoNotOptimize(workflow::convert_workflow(text, *info)); });
    const auto converted = workflow::convert_workflow(text, *info);
    state.SetLabel(converted
                       ? fmt::format("{} KB, {} nodes run", text.size() / 1000, converted->nodes)
                       : converted.error().message);
}
BENCHMARK(convert)->Arg(100)->Arg(5000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    return plimsoll::bench::run_against({{"convert/5000", 200e-3}}, argc, argv);
}
