// SPDX-License-Identifier: Apache-2.0
#include "workflow/node_catalogue.h"

#include "base/check.h"
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace plimsoll::embedded {
std::string_view nodes_json();
}

namespace plimsoll::workflow {
namespace {

constexpr std::array<std::pair<std::string_view, NodeVerb>, 26> kVerbs = {
    {{"compute", NodeVerb::Compute},
     {"pass", NodeVerb::Compute},
     {"patch", NodeVerb::Patch},
     {"evaluate", NodeVerb::Evaluate},
     {"load_checkpoint", NodeVerb::LoadCheckpoint},
     {"load_unet", NodeVerb::LoadUnet},
     {"load_clip", NodeVerb::LoadClip},
     {"load_vae", NodeVerb::LoadVae},
     {"load_controlnet", NodeVerb::LoadControlNet},
     {"load_clip_vision", NodeVerb::LoadClipVision},
     {"load_upscaler", NodeVerb::LoadUpscaler},
     {"load_latent_upscaler", NodeVerb::LoadLatentUpscaler},
     {"load_other", NodeVerb::LoadOther},
     {"load_media", NodeVerb::LoadMedia},
     {"run_other", NodeVerb::RunOther},
     {"encode_text", NodeVerb::EncodeText},
     {"write_text", NodeVerb::WriteText},
     {"combine_conditioning", NodeVerb::CombineConditioning},
     {"concat_conditioning", NodeVerb::ConcatConditioning},
     {"apply_controlnet", NodeVerb::ApplyControlNet},
     {"sample", NodeVerb::Sample},
     {"guide", NodeVerb::Guide},
     {"vae_decode", NodeVerb::VaeDecode},
     {"vae_encode", NodeVerb::VaeEncode},
     {"upscale", NodeVerb::Upscale},
     {"upscale_latent", NodeVerb::UpscaleLatent}}};

constexpr std::array<std::pair<std::string_view, NodeOutput::Kind>, 9> kMakers = {
    {{"conditioning", NodeOutput::Kind::Conditioning},
     {"latent", NodeOutput::Kind::Latent},
     {"image", NodeOutput::Kind::Image},
     {"video", NodeOutput::Kind::Video},
     {"sound", NodeOutput::Kind::Sound},
     {"value", NodeOutput::Kind::Value},
     {"choose", NodeOutput::Kind::Choice},
     {"sampler", NodeOutput::Kind::Sampler},
     {"schedule", NodeOutput::Kind::Schedule}}};

// The catalogue is our own file, compiled in: what is wrong with it is a fault of the program.
class CatalogueReader {
  public:
    explicit CatalogueReader(const json::value& document) : document_(document) {}

    std::unordered_map<std::string_view, NodeKind> read() const {
        std::unordered_map<std::string_view, NodeKind> catalogue;
        const json::object& nodes = find(document_, "nodes")->get_object();
        catalogue.reserve(2 * nodes.size());
        for (const auto& [name, entry] : nodes) catalogue.emplace(name, read_kind(name, entry));
        for (const auto& [input, names] : find(document_, "pass")->get_object())
            for (const json::value& name : names.get_array()) {
                NodeKind kind = plain(name.get_string());
                kind.outputs.push_back({.kind = NodeOutput::Kind::Input,
                                        .from = std::string(std::string_view(input)),
                                        .value = {},
                                        .shape = {}});
                add(catalogue, name.get_string(), std::move(kind));
            }
        // Nodes that ask a service: what they bring back has a size that nobody knows before.
        for (const auto& [made, names] : find(document_, "cloud")->get_object())
            for (const json::value& name : names.get_array()) {
                NodeKind kind = plain(name.get_string());
                if (made != "none") {
                    kind.verb = NodeVerb::LoadMedia;
                    kind.outputs.push_back(
                        {.kind = maker_of(made), .from = {}, .value = {}, .shape = {}});
                    kind.outputs.emplace_back();
                }
                add(catalogue, name.get_string(), std::move(kind));
            }
        for (const char* section : {"compute", "show"})
            for (const json::value& name : find(document_, section)->get_array()) {
                NodeKind kind = plain(name.get_string());
                kind.output_node = section == std::string_view("show");
                add(catalogue, name.get_string(), std::move(kind));
            }
        return catalogue;
    }

  private:
    static void add(std::unordered_map<std::string_view, NodeKind>& catalogue,
                    std::string_view name, NodeKind kind) {
        CHECK(catalogue.emplace(name, std::move(kind)).second);
    }

    static NodeOutput::Kind maker_of(std::string_view name) {
        const auto* found =
            std::ranges::find(kMakers, name, &std::pair<std::string_view, NodeOutput::Kind>::first);
        CHECK(found != kMakers.end());
        return found->second;
    }

    static NodeKind plain(std::string_view name) {
        NodeKind kind;
        kind.class_type = name;
        return kind;
    }

    // A number or an expression, as text.
    static std::string expression(const json::value& object, std::string_view key) {
        if (const auto text = find_string(object, key)) return std::string(*text);
        if (const auto number = find_number(object, key)) return fmt::format("{}", *number);
        return {};
    }

    // `{"of": name}` takes a shape of the file's table; what stands beside it comes before.
    MadeShape read_shape(const json::value& entry) const {
        MadeShape shape;
        if (const auto name = find_string(entry, "of"))
            shape = read_shape(*find(*find(document_, "shapes"), *name));
        const auto take = [&](std::string& into, std::string_view key) {
            if (std::string text = expression(entry, key); !text.empty()) into = std::move(text);
        };
        take(shape.like, "like");
        take(shape.batch, "batch");
        take(shape.channels, "channels");
        take(shape.frames, "frames");
        take(shape.height, "height");
        take(shape.width, "width");
        take(shape.sound, "sound");
        take(shape.guides, "guides");
        take(shape.kept, "kept");
        shape.pixels_per_cell =
            static_cast<int>(find_int(entry, "pixels_per_cell").value_or(shape.pixels_per_cell));
        shape.samples_per_cell =
            static_cast<int>(find_int(entry, "samples_per_cell").value_or(shape.samples_per_cell));
        shape.frames_per_cell =
            static_cast<int>(find_int(entry, "frames_per_cell").value_or(shape.frames_per_cell));
        return shape;
    }

    NodeOutput read_output(const json::value& entry) const {
        NodeOutput output;
        if (const auto* input = entry.if_string()) {
            output.kind = NodeOutput::Kind::Input;
            output.from = std::string(*input);
            return output;
        }
        if (entry.is_null()) return output;
        for (const auto& [name, kind] : kMakers) {
            const json::value* made = find(entry, name);
            if (made == nullptr) continue;
            output.kind = kind;
            if (made->is_object())
                output.shape = read_shape(*made);
            else
                output.value = expression(entry, name);
            if (kind == NodeOutput::Kind::Video) output.value = expression(entry, "fps");
            if (kind == NodeOutput::Kind::Schedule) output.from = expression(entry, "like");
        }
        CHECK(output.kind != NodeOutput::Kind::Nothing);
        return output;
    }

    EncodeRule read_encode(const json::value& entry) const {
        EncodeRule rule;
        rule.vae = find_string(entry, "vae").value_or(rule.vae);
        rule.pixels = expression(entry, "pixels");
        rule.when = expression(entry, "when");
        rule.times = expression(entry, "times");
        rule.shape = read_shape(entry);
        return rule;
    }

    static std::vector<std::string> texts_of(const json::value& entry, std::string_view key) {
        std::vector<std::string> texts;
        if (const json::value* list = find(entry, key))
            for (const json::value& text : list->get_array()) texts.emplace_back(text.get_string());
        return texts;
    }

    static void read_map(const json::value& entry, std::string_view key,
                         std::map<std::string, std::string, std::less<>>& into) {
        if (const json::value* map = find(entry, key))
            for (const auto& [name, value] : map->get_object())
                into.emplace(name, value.get_string());
    }

    // Numbers are expressions too.
    static void read_expressions(const json::value& entry, std::string_view key,
                                 std::map<std::string, std::string, std::less<>>& into) {
        if (const json::value* map = find(entry, key))
            for (const auto& [name, value] : map->get_object())
                into.emplace(name, expression(*map, name));
    }

    NodeKind read_kind(std::string_view name, const json::value& entry) const {
        NodeKind kind = plain(name);
        const auto verb = std::ranges::find(kVerbs, find_string(entry, "does").value_or(""),
                                            &std::pair<std::string_view, NodeVerb>::first);
        CHECK(verb != kVerbs.end());
        kind.verb = verb->second;
        kind.output_node = find_bool(entry, "output").value_or(false);
        kind.tiled = find_bool(entry, "tiled").value_or(false);
        kind.sound = find_bool(entry, "sound").value_or(false);
        kind.refers_to_encoded = find_bool(entry, "refers_to_encoded").value_or(false);
        kind.image_tokens = static_cast<int>(find_int(entry, "image_tokens").value_or(0));
        kind.own_tokens = static_cast<int>(find_int(entry, "own_tokens").value_or(0));
        if (const json::value* outputs = find(entry, "out"))
            for (const json::value& output : outputs->get_array())
                kind.outputs.push_back(read_output(output));
        if (const json::value* encodes = find(entry, "encodes"))
            for (const json::value& encode : encodes->get_array())
                kind.encodes.push_back(read_encode(encode));
        kind.makes = texts_of(entry, "makes");
        kind.sees = texts_of(entry, "sees");
        kind.references = texts_of(entry, "references");
        kind.files = texts_of(entry, "files");
        kind.texts = texts_of(entry, "texts");
        kind.images = texts_of(entry, "images");
        if (const auto lyrics = find_string(entry, "lyrics")) kind.lyrics = *lyrics;
        if (const auto written = find_string(entry, "written")) kind.written = *written;
        kind.written_is_condition = find_bool(entry, "written_is_condition").value_or(false);
        kind.positives = texts_of(entry, "positives");
        kind.combined = texts_of(entry, "combined");
        kind.network = find_string(entry, "network").value_or("");
        kind.folder = find_string(entry, "folder").value_or("");
        kind.expression = find_string(entry, "expression").value_or("");
        kind.cfg = find_string(entry, "cfg").value_or(kind.cfg);
        kind.extra_forwards = expression(entry, "extra_forwards");
        read_expressions(entry, "patch", kind.patch);
        read_expressions(entry, "condition", kind.condition);
        kind.note = find_string(entry, "note").value_or("");
        read_map(entry, "in", kind.renamed);
        read_map(entry, "lazy", kind.lazy);
        return kind;
    }

    const json::value& document_;
};

}  // namespace

std::string_view NodeKind::input_of(std::string_view role) const {
    const auto found = renamed.find(role);
    return found == renamed.end() ? role : std::string_view(found->second);
}

const NodeKind* find_node_kind(std::string_view class_type) {
    static const json::value document = parse_json(embedded::nodes_json()).value();
    static const auto catalogue = CatalogueReader(document).read();
    const auto found = catalogue.find(class_type);
    return found == catalogue.end() ? nullptr : &found->second;
}

}  // namespace plimsoll::workflow
