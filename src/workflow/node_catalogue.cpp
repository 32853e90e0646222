// SPDX-License-Identifier: Apache-2.0
#include "workflow/node_catalogue.h"

#include "base/check.h"
#include "base/json.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace plimsoll::embedded {
std::string_view nodes_json();
}

namespace plimsoll::workflow {
namespace {

constexpr std::array<std::pair<std::string_view, NodeVerb>, 33> kVerbs = {
    {{"compute", NodeVerb::Compute},
     {"pass", NodeVerb::Pass},
     {"value", NodeVerb::Constant},
     {"patch", NodeVerb::Patch},
     {"load_checkpoint", NodeVerb::LoadCheckpoint},
     {"load_unet", NodeVerb::LoadUnet},
     {"load_clip", NodeVerb::LoadClip},
     {"load_vae", NodeVerb::LoadVae},
     {"load_controlnet", NodeVerb::LoadControlNet},
     {"encode_text", NodeVerb::EncodeText},
     {"combine_conditioning", NodeVerb::CombineConditioning},
     {"concat_conditioning", NodeVerb::ConcatConditioning},
     {"apply_controlnet", NodeVerb::ApplyControlNet},
     {"encode_conditioning", NodeVerb::EncodeConditioning},
     {"empty_latent", NodeVerb::EmptyLatent},
     {"resize_latent", NodeVerb::ResizeLatent},
     {"scale_latent", NodeVerb::ScaleLatent},
     {"repeat_latent", NodeVerb::RepeatLatent},
     {"take_latents", NodeVerb::TakeLatents},
     {"join_latents", NodeVerb::JoinLatents},
     {"sample", NodeVerb::Sample},
     {"choose_sampler", NodeVerb::ChooseSampler},
     {"schedule", NodeVerb::Schedule},
     {"guide", NodeVerb::Guide},
     {"vae_decode", NodeVerb::VaeDecode},
     {"vae_encode", NodeVerb::VaeEncode},
     {"load_image", NodeVerb::LoadImage},
     {"empty_image", NodeVerb::EmptyImage},
     {"resize_image", NodeVerb::ResizeImage},
     {"scale_image", NodeVerb::ScaleImage},
     {"fit_image", NodeVerb::FitImage},
     {"pad_image", NodeVerb::PadImage},
     {"repeat_image", NodeVerb::RepeatImage}}};

// The catalogue is our own file, compiled in: what is wrong with it is a fault of the program.
std::vector<std::string> texts_of(const json::value& entry, std::string_view key) {
    std::vector<std::string> texts;
    if (const json::value* list = find(entry, key))
        for (const json::value& text : list->get_array()) texts.emplace_back(text.get_string());
    return texts;
}

NodeKind read_kind(std::string_view name, const json::value& entry) {
    NodeKind kind;
    kind.class_type = name;
    const auto verb = std::ranges::find(kVerbs, find_string(entry, "does").value_or(""),
                                        &std::pair<std::string_view, NodeVerb>::first);
    CHECK(verb != kVerbs.end());
    kind.verb = verb->second;
    kind.output_node = find_bool(entry, "output").value_or(false);
    kind.tiled = find_bool(entry, "tiled").value_or(false);
    kind.channels = static_cast<int>(find_int(entry, "channels").value_or(kind.channels));
    kind.pixels_per_cell =
        static_cast<int>(find_int(entry, "pixels_per_cell").value_or(kind.pixels_per_cell));
    kind.frames_per_cell =
        static_cast<int>(find_int(entry, "frames_per_cell").value_or(kind.frames_per_cell));
    kind.outputs = texts_of(entry, "out");
    kind.files = texts_of(entry, "files");
    kind.texts = texts_of(entry, "texts");
    if (const json::value* renamed = find(entry, "in"))
        for (const auto& [role, input] : renamed->get_object())
            kind.renamed.emplace(role, input.get_string());
    return kind;
}

using Catalogue = std::unordered_map<std::string_view, NodeKind>;

Catalogue read_catalogue() {
    static const json::value document = parse_json(embedded::nodes_json()).value();
    Catalogue catalogue;
    for (const auto& [name, entry] : find(document, "nodes")->get_object())
        catalogue.emplace(name, read_kind(name, entry));
    return catalogue;
}

}  // namespace

std::string_view NodeKind::input_of(std::string_view role) const {
    const auto found = renamed.find(role);
    return found == renamed.end() ? role : std::string_view(found->second);
}

const NodeKind* find_node_kind(std::string_view class_type) {
    static const Catalogue catalogue = read_catalogue();
    const auto found = catalogue.find(class_type);
    return found == catalogue.end() ? nullptr : &found->second;
}

}  // namespace plimsoll::workflow
