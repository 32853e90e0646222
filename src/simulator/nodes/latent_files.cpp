// SPDX-License-Identifier: Apache-2.0
//
// SaveLatent and LoadLatent: where the files lie and what is shown is ComfyUI's own; what is in
// them is the simulator's, as a latent here has no numbers.
#include "base/byte_source.h"
#include "base/json.h"
#include "simulator/nodes/registry.h"
#include "simulator/nodes/save_place.h"

#include <fmt/format.h>

#include <array>
#include <memory>

namespace plimsoll::simulator {

namespace {

constexpr std::uint64_t kFileBytesMax = 1U << 20U;  // chosen: a recipe has a few hundred bytes
constexpr int kPassesMax = 16;                      // chosen: of one latent, one after the other

json::object encode_recipe(const Recipe& recipe) {
    return {{"positive", recipe.positive},
            {"negative", recipe.negative},
            {"model", recipe.model},
            {"seed", fmt::format("{}", recipe.seed)},
            {"index", recipe.index},
            {"steps", recipe.steps},
            {"cfg", recipe.cfg},
            {"denoise", recipe.denoise},
            {"sampler", recipe.sampler},
            {"scheduler", recipe.scheduler},
            {"nativeSide", recipe.native_side},
            {"composedWidth", recipe.composed_width},
            {"composedHeight", recipe.composed_height},
            {"leftOverNoise", recipe.left_over_noise},
            {"before", recipe.before ? json::value(encode_recipe(*recipe.before)) : json::value()}};
}

Recipe decode_recipe(const json::value& from, int passes) {
    const auto text = [&](std::string_view key) {
        return std::string(find_string(from, key).value_or(""));
    };
    const auto whole = [&](std::string_view key) {
        return static_cast<int>(find_int(from, key).value_or(0));
    };
    Recipe recipe{.positive = text("positive"),
                  .negative = text("negative"),
                  .model = text("model"),
                  .seed = std::strtoull(text("seed").c_str(), nullptr, 10),
                  .index = whole("index"),
                  .steps = whole("steps"),
                  .cfg = find_number(from, "cfg").value_or(0),
                  .denoise = find_number(from, "denoise").value_or(0),
                  .sampler = text("sampler"),
                  .scheduler = text("scheduler"),
                  .native_side = whole("nativeSide"),
                  .composed_width = whole("composedWidth"),
                  .composed_height = whole("composedHeight"),
                  .left_over_noise = find_number(from, "leftOverNoise").value_or(0),
                  .start = nullptr,
                  .before = nullptr};
    const json::value* const before = plimsoll::find(from, "before");
    if (before != nullptr && before->is_object() && passes < kPassesMax)
        recipe.before = std::make_shared<const Recipe>(decode_recipe(*before, passes + 1));
    return recipe;
}

bool has_picture(const Recipe& recipe) {
    return recipe.start || (recipe.before && has_picture(*recipe.before));
}

NodeOutcome save_latent(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "contiguous");
    json::array items;
    for (const Recipe& recipe : samples.items) {
        if (has_picture(recipe))
            return raise("NotImplementedError",
                         "the simulated ComfyUI saves latents that were made of noise alone");
        items.push_back(encode_recipe(recipe));
    }
    const auto base = context.store.folder("output");
    const auto place = find_place(*base, inputs.text("filename_prefix"));
    if (!place) return std::unexpected(place.error());
    const std::string name = fmt::format("{}_{:05}_.latent", place->stem, place->counter);
    const auto written = write_file(
        place->folder / name,
        json::serialize(json::object{
            {"width", samples.width}, {"height", samples.height}, {"items", std::move(items)}}));
    if (!written) return raise("OSError", written.error().message);
    return NodeResult{{},
                      Dict{{"latents", Value(List{Value(Dict{{"filename", Value(name)},
                                                             {"subfolder", Value(place->subfolder)},
                                                             {"type", Value("output")}})})}}};
}

NodeOutcome load_latent(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("latent");
    const auto path = context.store.annotated_path(name);
    const auto bytes = path ? read_text_file(*path, kFileBytesMax)
                            : Result<std::string>(fail(Errc::NotFound, "outside of its folder"));
    const auto file = bytes ? parse_json(*bytes) : Result<json::value>(fail(Errc::NotFound, ""));
    const json::value* const items = file ? plimsoll::find(*file, "items") : nullptr;
    if (items == nullptr || !items->is_array())
        return raise("FileNotFoundError", fmt::format("No such file or directory: {}", name));
    LatentValue latent{.width = static_cast<int>(find_int(*file, "width").value_or(0)),
                       .height = static_cast<int>(find_int(*file, "height").value_or(0)),
                       .items = {}};
    for (const json::value& item : items->get_array())
        latent.items.push_back(decode_recipe(item, 0));
    return NodeResult{{std::move(latent)}, std::nullopt};
}

constexpr std::array<NodeEntry, 2> kNodes{{
    {"SaveLatent", save_latent},
    {"LoadLatent", load_latent},
}};

}  // namespace

std::span<const NodeEntry> latent_files() {
    return kNodes;
}

}  // namespace plimsoll::simulator
