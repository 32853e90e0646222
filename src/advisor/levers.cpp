// SPDX-License-Identifier: Apache-2.0
#include "advisor/levers.h"

#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace plimsoll::advisor {
namespace {

using workflow::Edit;
using workflow::Graph;
using workflow::Link;
using workflow::Node;

constexpr std::array<std::string_view, 3> kEmptyLatents = {
    "EmptyLatentImage", "EmptySD3LatentImage", "EmptyFlux2LatentImage"};
constexpr std::array<std::string_view, 4> kVaeNodes = {"VAEDecode", "VAEDecodeTiled", "VAEEncode",
                                                       "VAEEncodeTiled"};
constexpr std::array<std::string_view, 12> kPinNames = {
    "steps", "seed",    "width",     "height", "size",      "batch",
    "cfg",   "sampler", "scheduler", "model",  "precision", "vae"};

struct Consumer {
    std::string node_id;
    std::string input;
};

std::vector<Consumer> consumers_of(const Graph& graph, const std::string& node_id, int slot) {
    std::vector<Consumer> out;
    for (const Node& node : graph.nodes)
        for (const auto& input : node.inputs)
            if (const auto* link = std::get_if<Link>(&input.value);
                link && link->node_id == node_id && link->slot == slot)
                out.push_back({node.id, input.name});
    return out;
}

bool pinned(const Pins& pins, std::initializer_list<std::string_view> names) {
    return std::ranges::any_of(
        names, [&](std::string_view name) { return pins.contains(std::string(name)); });
}

// A lever collects its offers; it is added only when it has some.
class Builder {
  public:
    Builder(const Graph& graph, const Pins& pins, const Variants& variants)
        : graph_(graph), pins_(pins), variants_(variants) {}

    LeverList build() {
        tile_vae();
        split_batch();
        lower_precision();
        shrink();
        fewer_steps();
        return std::move(out_);
    }

  private:
    void add(Lever lever) {
        if (!lever.offers.empty()) out_.levers.push_back(std::move(lever));
    }
    void refuse(Phrase why) { out_.refused.push_back(std::move(why)); }

    void tile_vae() {
        for (const Node& node : graph_.nodes) {
            if (std::ranges::find(kVaeNodes, node.class_type) == kVaeNodes.end()) continue;
            if (pinned(pins_, {"vae"})) return refuse(say<"refused.vae">());
            Lever lever;
            lever.kind = ChangeKind::TileVae;
            lever.saves_memory = true;
            lever.node_id = node.id;
            lever.offers.push_back(tile_offer(node, NodeTiling{}, false));
            add(std::move(lever));
        }
    }

    void split_batch() {
        const Node* latent = find_empty_latent(graph_);
        if (latent == nullptr) return;
        const auto batch = latent->int_of("batch_size");
        if (!batch || *batch < 2 || *batch > 4096) return;
        if (pinned(pins_, {"batch"})) return refuse(say<"refused.batch">());
        Lever lever;
        lever.kind = ChangeKind::SplitBatch;
        lever.saves_memory = true;
        lever.node_id = latent->id;
        const int total = static_cast<int>(*batch);
        for (int size = (total + 1) / 2;; size = (size + 1) / 2) {
            BatchSplit split;
            split.latent_node = latent->id;
            split.total = total;
            split.size = size;
            for (const auto& consumer : consumers_of(graph_, latent->id, 0))
                split.consumers.emplace_back(consumer.node_id, consumer.input);
            Offer offer;
            const int runs = (total + size - 1) / size;
            offer.values = {{latent->id, "batch_size", std::to_string(total),
                             fmt::format("{} runs of {}", runs, size)}};
            offer.what = say<"change.batch">(total, runs, size);
            offer.splits = {std::move(split)};
            offer.quality_words = say<"price.same_images">();
            lever.offers.push_back(std::move(offer));
            if (size == 1) break;
        }
        add(std::move(lever));
    }

    void lower_precision() {
        for (const Node& node : graph_.nodes) {
            Lever lever;
            lever.kind = ChangeKind::LowerPrecision;
            lever.saves_memory = true;
            lever.node_id = node.id;
            if (node.class_type == "UNETLoader" && node.text_of("weight_dtype") == "default") {
                Offer offer;
                offer.values = {{node.id, "weight_dtype", "default", "fp8_e4m3fn"}};
                offer.edits = {
                    workflow::SetInput{node.id, "weight_dtype", std::string("fp8_e4m3fn")}};
                offer.quality_cost = 0.15;
                offer.what = say<"change.file">("fp8_e4m3fn", "default");
                offer.quality_words = say<"price.fine_detail">();
                lever.offers.push_back(std::move(offer));
            }
            for (const std::string_view input : {"unet_name", "ckpt_name"}) {
                const auto file = node.text_of(input);
                if (!file) continue;
                const auto found = variants_.find(std::string(*file));
                if (found == variants_.end()) continue;
                for (const PrecisionVariant& variant : found->second) {
                    Offer offer;
                    offer.values = {
                        {node.id, std::string(input), std::string(*file), variant.file}};
                    offer.edits = {workflow::SetInput{node.id, std::string(input), variant.file}};
                    offer.quality_cost = variant.quality_cost;
                    offer.what = say<"change.file">(variant.file, *file);
                    offer.quality_words = say<"price.weights">(variant.words);
                    lever.offers.push_back(std::move(offer));
                }
            }
            if (lever.offers.empty()) continue;
            if (pinned(pins_, {"precision", "model"})) return refuse(say<"refused.precision">());
            add(std::move(lever));
        }
    }

    // Two-pass (drawn smaller, scaled up on the CPU to the wanted size), then plain smaller
    // pictures.
    void shrink() {
        const Node* latent = find_empty_latent(graph_);
        if (latent == nullptr) return;
        const auto width = latent->int_of("width");
        const auto height = latent->int_of("height");
        if (!width || !height) return refuse(say<"refused.computed">(latent->id));
        if (pinned(pins_, {"width", "height", "size"})) return refuse(say<"refused.size">());
        if (*width < 64 || *height < 64 || *width > 65536 || *height > 65536) return;
        add(two_pass(*latent, *width, *height));
        Lever smaller;
        smaller.kind = ChangeKind::Resolution;
        smaller.saves_memory = true;
        smaller.saves_time = true;
        smaller.node_id = latent->id;
        for (const double factor : kFactors) {
            Offer offer = sized(*latent, *width, *height, factor);
            if (offer.edits.empty()) continue;
            offer.quality_cost = 0.3 + (1 - factor);
            const ValueChange& side = offer.values.front();
            offer.what = say<"change.size">(side.input, side.to, side.from);
            offer.quality_words = say<"price.smaller">(factor);
            smaller.offers.push_back(std::move(offer));
        }
        add(std::move(smaller));
    }

    static constexpr std::array<double, 6> kFactors = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4};

    // Sides scaled and rounded to 64 (what the trained sizes are multiples of); nothing where a
    // side would fall under 256.
    static Offer sized(const Node& latent, std::int64_t width, std::int64_t height, double factor) {
        const auto scaled = [&](std::int64_t side) {
            return static_cast<std::int64_t>(
                       std::lround(static_cast<double>(side) * factor / 64.0)) *
                   64;
        };
        const std::int64_t w = scaled(width);
        const std::int64_t h = scaled(height);
        Offer offer;
        if (w < 256 || h < 256 || (w >= width && h >= height)) return offer;
        offer.changes_composition = true;
        if (w != width) {
            offer.values.push_back({latent.id, "width", std::to_string(width), std::to_string(w)});
            offer.edits.emplace_back(workflow::SetInput{latent.id, "width", w});
        }
        if (h != height) {
            offer.values.push_back(
                {latent.id, "height", std::to_string(height), std::to_string(h)});
            offer.edits.emplace_back(workflow::SetInput{latent.id, "height", h});
        }
        return offer;
    }

    Lever two_pass(const Node& latent, std::int64_t width, std::int64_t height) {
        Lever lever;
        lever.kind = ChangeKind::TwoPass;
        lever.saves_memory = true;
        lever.saves_time = true;
        lever.node_id = latent.id;
        const Node* decode = nullptr;
        int decodes = 0;
        for (const Node& node : graph_.nodes)
            if (node.class_type == "VAEDecode" || node.class_type == "VAEDecodeTiled") {
                decode = &node;
                ++decodes;
            }
        if (decodes != 1)
            return lever;  // where pictures meet others, scaling one of them is not ours to decide
        const auto readers = consumers_of(graph_, decode->id, 0);
        if (readers.empty()) return lever;
        for (const double factor : kFactors) {
            if (factor < 0.5) break;  // beyond 2 x Lanczos is plainly soft
            Offer offer = sized(latent, width, height, factor);
            if (offer.edits.empty()) continue;
            const std::string id = workflow::free_node_id(graph_);
            offer.edits.emplace_back(workflow::AddNode{id,
                                                       "ImageScale",
                                                       {{"image", Link{decode->id, 0}},
                                                        {"upscale_method", std::string("lanczos")},
                                                        {"width", width},
                                                        {"height", height},
                                                        {"crop", std::string("disabled")}},
                                                       "plimsoll: scale to the wanted size"});
            for (const auto& reader : readers)
                offer.edits.emplace_back(
                    workflow::SetInput{reader.node_id, reader.input, Link{id, 0}});
            offer.values.push_back({id, "class_type", "", "ImageScale"});
            offer.quality_cost = 0.2 + (1 - factor);
            const ValueChange& side = offer.values.front();
            offer.what = say<"change.two_pass">(side.input, side.to, side.from);
            offer.quality_words = say<"price.two_pass">(factor);
            lever.offers.push_back(std::move(offer));
        }
        return lever;
    }

    void fewer_steps() {
        for (const Node& node : graph_.nodes) {
            if (node.class_type != "KSampler" && node.class_type != "KSamplerAdvanced" &&
                node.class_type != "BasicScheduler")
                continue;
            const auto steps = node.int_of("steps");
            if (!steps || *steps <= kStepsFloor || *steps > 10'000) continue;
            if (pinned(pins_, {"steps"})) return refuse(say<"refused.steps">());
            Lever lever;
            lever.kind = ChangeKind::Steps;
            lever.saves_time = true;
            lever.node_id = node.id;
            std::int64_t before = *steps;
            for (const double factor : {0.8, 0.65, 0.5, 0.35, 0.2}) {
                const auto fewer = std::max<std::int64_t>(
                    kStepsFloor, std::llround(static_cast<double>(*steps) * factor));
                if (fewer >= before) continue;
                before = fewer;
                Offer offer;
                offer.values = {{node.id, "steps", std::to_string(*steps), std::to_string(fewer)}};
                offer.edits = {workflow::SetInput{node.id, "steps", fewer}};
                offer.quality_cost =
                    fewer >= 20 ? 0.05 : 0.6 * (1 - static_cast<double>(fewer) / 20.0) + 0.1;
                offer.what = say<"change.steps">(fewer, *steps);
                offer.quality_words =
                    fewer >= 20 ? say<"price.hardly">() : say<"price.less_detail">();
                lever.offers.push_back(std::move(offer));
            }
            add(std::move(lever));
        }
    }

    static constexpr std::int64_t kStepsFloor = 8;

    const Graph& graph_;
    const Pins& pins_;
    const Variants& variants_;
    LeverList out_;
};

}  // namespace

Offer tile_offer(const workflow::Node& node, const NodeTiling& tiling, bool video) {
    const bool encodes = node.class_type.starts_with("VAEEncode");
    const std::string_view verb = encodes ? "encode" : "decode";
    const std::optional<std::int64_t> before =
        node.class_type.ends_with("Tiled") ? node.int_of("tile_size") : std::nullopt;
    Offer offer;
    offer.what =
        encodes
            ? say<"change.encode_tiles">(tiling.tile, tiling.overlap, frames_said(tiling, video))
            : say<"change.decode_tiles">(tiling.tile, tiling.overlap, frames_said(tiling, video));
    offer.values = {{node.id, before ? "tile_size" : "class_type",
                     before ? fmt::format("{} in tiles of {}", verb, *before) : node.class_type,
                     offer.what.message()}};
    offer.edits = tiling_edits(node, tiling);
    // The node's default, 512, hardly ever shows; the number of seams grows with the square.
    const double sides = 512.0 / tiling.tile;
    offer.quality_cost = 0.02 * sides * sides;
    offer.quality_words = sides <= 1 ? say<"price.no_seams">() : say<"price.seams">();
    return offer;
}

std::optional<Settings> settings_of_graph(const Graph& graph) {
    const Node* sampler = nullptr;
    const Node* loader = nullptr;
    const Node* decoder = nullptr;
    for (const Node& node : graph.nodes) {
        const bool samples = node.class_type == "KSampler";
        const bool loads = node.class_type == "CheckpointLoaderSimple";
        const bool decodes = node.class_type == "VAEDecode" || node.class_type == "VAEDecodeTiled";
        if ((samples && sampler != nullptr) || (loads && loader != nullptr) ||
            (decodes && decoder != nullptr))
            return std::nullopt;
        if (samples) sampler = &node;
        if (loads) loader = &node;
        if (decodes) decoder = &node;
    }
    const Node* const latent = find_empty_latent(graph);
    if (sampler == nullptr || loader == nullptr || decoder == nullptr || latent == nullptr)
        return std::nullopt;
    const auto width = latent->int_of("width");
    const auto height = latent->int_of("height");
    const auto steps = sampler->int_of("steps");
    const auto cfg = sampler->number_of("cfg");
    const auto name = sampler->text_of("sampler_name");
    const auto scheduler = sampler->text_of("scheduler");
    const auto file = loader->text_of("ckpt_name");
    const auto in_range = [](std::int64_t value) { return value > 0 && value <= 65'536; };
    if (!width || !height || !steps || !cfg || !name || !scheduler || !file || !in_range(*width) ||
        !in_range(*height) || !in_range(*steps))
        return std::nullopt;
    Settings out;
    out.model = *file;
    out.width = static_cast<int>(*width);
    out.height = static_cast<int>(*height);
    out.steps = static_cast<int>(*steps);
    out.cfg = *cfg;
    out.sampler = *name;
    out.scheduler = *scheduler;
    out.vae_tiling = decoder->class_type == "VAEDecodeTiled";
    return out;
}

void put_price(ChangeKind kind, const std::optional<Settings>& now, const QualityEvidence& evidence,
               Offer& offer) {
    if (!now || evidence.settings.empty()) return;
    Settings after = *now;
    for (const ValueChange& value : offer.values) {
        const auto number = [&] { return static_cast<int>(parse_integer(value.to).value_or(0)); };
        if (kind == ChangeKind::Steps && value.input == "steps")
            after.steps = number();
        else if (kind == ChangeKind::Resolution && value.input == "width")
            after.width = number();
        else if (kind == ChangeKind::Resolution && value.input == "height")
            after.height = number();
        else if (kind == ChangeKind::LowerPrecision && value.input == "ckpt_name")
            after.model = value.to;
        else
            return;
    }
    const auto price = price_of(evidence, *now, after);
    if (!price) return;
    offer.quality_cost = price->cost;
    offer.quality_cost_high = price->high;
    offer.price_basis = price->basis;
    offer.quality_words = price->words;
}

std::string_view change_kind_name(ChangeKind kind) {
    switch (kind) {
        case ChangeKind::TileVae:
            return "tile_vae";
        case ChangeKind::SplitBatch:
            return "split_batch";
        case ChangeKind::FreeModels:
            return "free_models";
        case ChangeKind::ReserveVram:
            return "reserve_vram";
        case ChangeKind::LowerPrecision:
            return "lower_precision";
        case ChangeKind::TwoPass:
            return "two_pass";
        case ChangeKind::Resolution:
            return "resolution";
        case ChangeKind::Steps:
            return "steps";
    }
    return "unknown";
}

Result<Pins> parse_pins(std::string_view text) {
    Pins pins;
    for (const std::string_view part : split(text, ',')) {
        const std::string name = to_lower_ascii(trim(part));
        if (name.empty()) continue;
        if (std::ranges::find(kPinNames, name) == kPinNames.end())
            return fail(Errc::InvalidInput,
                        fmt::format("cannot pin '{}'; names are {}", name.substr(0, 40),
                                    fmt::join(kPinNames, ", ")));
        pins.insert(name);
    }
    return pins;
}

const Node* find_empty_latent(const Graph& graph) {
    for (const Node& node : graph.nodes)
        if (std::ranges::find(kEmptyLatents, node.class_type) != kEmptyLatents.end() &&
            !consumers_of(graph, node.id, 0).empty())
            return &node;
    return nullptr;
}

LeverList find_levers(const Graph& graph, const Pins& pins, const Variants& variants) {
    return Builder(graph, pins, variants).build();
}

}  // namespace plimsoll::advisor
