// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/answer.h"

#include "base/json.h"
#include "memory/built_models.h"
#include "memory/families.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/vae.h"
#include "memory/residency/dtypes.h"
#include "memory/residency/estimates.h"
#include "memory/residency/loader.h"
#include "memory/residency/placement.h"
#include "memory/residency/recorded_step.h"
#include "memory/residency/tiles.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace plimsoll::memory {

namespace {

constexpr std::size_t kSessionsMax = 20'000;  // chosen: far more than any recording holds

}  // namespace

// One card and server, with the models of the last load step.
class ResidencySession {
  public:
    ResidencySession(Server server, Device device)
        : server_(std::move(server)),
          device_(std::move(device)),
          loader_(loader_rules(server_, device_), device_.total, device_.used_by_others) {}

    Result<json::object> take(std::string_view step, const json::value& inputs,
                              std::string_view scenario) {
        scenario_ = scenario;
        json::object out;
        if (step == "load") {
            TRY_DO(load(inputs));
        } else if (step == "outputs_dropped_from_cache") {
            drop_all();
        } else if (step == "end_of_prompt_unload_all") {
            (void)loader_.unload_all();
        } else {
            TRY_ASSIGN(Set* const set, set_of(inputs));
            if (step == "text_encode") {
                (void)loader_.load({.models = {{set->text_encoder, {}}}, .minimum = {}});
            } else if (step == "sample") {
                TRY_DO(sample(*set, inputs, out));
            } else if (step == "vae_decode" || step == "vae_decode_tiled_node") {
                TRY_DO(decode(*set, inputs, step != "vae_decode", out));
            } else if (step == "vae_encode") {
                TRY_DO(encode(*set, inputs, out));
            } else {
                return fail(Errc::NotFound, fmt::format("step {:?} is not simulated", step));
            }
        }
        out["resident"] = resident();
        out["free_after"] = loader_.free_bytes();
        return out;
    }

  private:
    // The models of one load step.
    struct Set {
        std::string name;
        BuiltFile file;
        Types unet_types;
        ComputeType vae_type = ComputeType::BFloat16;
        ModelHandle unet = 0;
        ModelHandle text_encoder = 0;
        ModelHandle vae = 0;
        std::optional<ModelHandle> controlnet;
        std::shared_ptr<const ControlNetNetwork> controlnet_network;
    };

    [[nodiscard]] FamilyTraits traits_of(const Set& set) const {
        const modelfile::Contents& contents = *set.file.contents;
        return family_traits(contents.family, contents.denoiser->config, server_.version);
    }

    Result<Set*> set_of(const json::value& inputs) {
        const auto name = find_string(inputs, "model");
        const auto found = std::ranges::find(sets_, name.value_or(""), &Set::name);
        if (found == sets_.end())
            return fail(Errc::NotFound,
                        fmt::format("model {:?} was not loaded", name.value_or("")));
        return &*found;
    }

    ModelHandle add(std::shared_ptr<LoadableModel> model, ModelRole role, Placement& placement,
                    LoadedFrom from = LoadedFrom::Checkpoint) {
        placement =
            place_model(role, model->placement_bytes, server_, device_, loader_.free_bytes(), from);
        return loader_.add(std::move(model), placement);
    }

    Result<void> load(const json::value& inputs) {
        Set set;
        set.name = find_string(inputs, "model").value_or("");
        const RecordedModel recorded = recorded_model(set.name);
        TRY_ASSIGN(auto contents, known_checkpoint(recorded.architecture));
        set.file = build_file(std::move(contents));
        const auto& flags = server_.flags;
        set.unet_types.storage =
            torch_type(find_string(inputs, "params_dtype"))
                .value_or(unet_types({.params = set.file.contents->denoiser->weights.params,
                                      .file = modelfile::DType::Float16,
                                      .supported = traits_of(set).types,
                                      .forced = {}},
                                     flags, device_)
                              .storage);
        set.unet_types.compute =
            torch_type(find_string(inputs, "manual_cast")).value_or(set.unet_types.storage);
        set.vae_type = torch_type(find_string(inputs, "vae_dtype"))
                           .value_or(vae_type(vae_types(set.file.vae->kind()), flags, device_));
        read_text_types(find(inputs, "te_dtypes"), set.file.text_encoders);
        TRY_DO(scale_if_smaller(set, find(inputs, "sizes")));

        // In the order in which the loaders build and, where they begin on their load device, load
        // them.
        Placement at_unet;
        Placement at_text;
        Placement at_vae;
        const auto load_whole = [&](ModelHandle handle, bool begins) {
            if (begins)
                (void)loader_.load({.models = {{handle, {}}}, .minimum = {}, .whole = true});
        };
        const auto add_unet = [&](LoadedFrom from) {
            set.unet = add(loadable_unet("unet:" + set.name, set.file, set.unet_types),
                           ModelRole::Unet, at_unet, from);
        };
        const auto load_unet = [&] { load_whole(set.unet, at_unet.built_on == Place::Card); };
        const auto add_text = [&] {
            set.text_encoder =
                add(loadable_text_encoders("te:" + set.name, set.file.text_encoders, flags),
                    ModelRole::TextEncoder, at_text);
        };
        const auto load_text = [&] {
            load_whole(set.text_encoder, at_text.built_on == at_text.runs_on);
        };
        switch (recorded.loaded_by) {
            case LoadedBy::Checkpoint:
                add_unet(LoadedFrom::Checkpoint);
                add_text();
                load_text();
                load_unet();
                break;
            case LoadedBy::CheckpointAndClip:
                add_unet(LoadedFrom::Checkpoint);
                load_unet();
                add_text();
                load_text();
                break;
            case LoadedBy::Parts:
                add_text();
                load_text();
                add_unet(LoadedFrom::OwnFile);
                break;
        }
        set.vae = add(loadable_vae("vae:" + set.name, *set.file.vae, set.vae_type), ModelRole::Vae,
                      at_vae);
        sets_.push_back(std::move(set));
        return {};
    }

    // The line does not say it, but its sizes do: text encoders of Qwen-Image and Wan are published
    // in scaled fp8, which is smaller.
    Result<void> scale_if_smaller(Set& set, const json::value* sizes) {
        const auto size = sizes == nullptr ? std::nullopt : find_int(*sizes, "te");
        if (!size) return {};
        const auto plain = loadable_text_encoders("te", set.file.text_encoders, server_.flags);
        if (*size >= plain->size_bytes) return {};
        auto contents = std::make_shared<modelfile::Contents>(*set.file.contents);
        for (auto& encoder : contents->text_encoders) {
            encoder.weights.dtype = modelfile::DType::Float8E4M3;
            encoder.weights.scaled_fp8 = true;
        }
        BuiltFile scaled = build_file(contents);
        if (loadable_text_encoders("te", scaled.text_encoders, server_.flags)->size_bytes == *size)
            set.file.text_encoders = std::move(scaled.text_encoders);
        return {};
    }

    void drop_all() {
        for (const Set& set : sets_) {
            loader_.drop(set.unet);
            loader_.drop(set.text_encoder);
            loader_.drop(set.vae);
            if (set.controlnet) loader_.drop(*set.controlnet);
        }
        sets_.clear();
    }

    Result<void> add_controlnet(Set& set) {
        if (set.controlnet) return {};
        TRY_ASSIGN(const auto config,
                   modelfile::known_controlnet(recorded_model(set.name).architecture));
        TRY_ASSIGN(set.controlnet_network, build_controlnet(config));
        Placement placement;
        set.controlnet =
            add(loadable_network("cnet:" + set.name, *set.controlnet_network, set.unet_types),
                ModelRole::ControlNet, placement);
        // The node's output, the copy in the conditions, and the one who asks.
        constexpr int kReferences = 3;
        loader_.set_references(*set.controlnet, kReferences);
        return {};
    }

    Result<void> sample(Set& set, const json::value& inputs, json::object& out) {
        TRY_ASSIGN(const std::vector<std::int64_t> shape, shape_at(inputs, "latent"));
        const std::string_view variant = find_string(inputs, "variant").value_or("");
        const auto says = [&](std::string_view word) {
            return variant.find(word) != std::string_view::npos;
        };
        const LatentShape latent{.batch = static_cast<int>(shape[0]),
                                 .channels = static_cast<int>(shape[1]),
                                 .frames = shape.size() > 4 ? static_cast<int>(shape[2]) : 1,
                                 .height = static_cast<int>(shape[shape.size() - 2]),
                                 .width = static_cast<int>(shape.back())};
        const SamplingEstimate estimate{.factor = traits_of(set).usage_factor,
                                        .element_bytes = bytes_per_element(set.unet_types.compute),
                                        .attention = attention_memory(server_.flags)};
        LoadRequest request;
        request.required = estimate.bytes(2 * latent_area(latent));
        request.minimum = estimate.bytes(latent_area(latent));
        Patches patches;
        if (says("lora")) {
            patches = {1, transformer_linears(loader_.model(set.unet).model())};
            loader_.set_references(set.unet, 3);
        }
        request.models.push_back({set.unet, std::move(patches)});
        if (says("controlnet") && !says("without")) {
            TRY_DO(add_controlnet(set));
            const LoadRequest::Model controlnet{*set.controlnet, {}};
            const bool first = scenario_.find("cnet_first") != std::string_view::npos &&
                               loader_.rules().order == LoadOrder::MainFirst;
            request.models.insert(first ? request.models.begin() : request.models.end(),
                                  controlnet);
        }
        (void)loader_.load(request);

        const auto tokens = [&](std::string_view key) {
            constexpr std::int64_t kTokensMax = 1 << 16;
            return static_cast<int>(
                std::clamp<std::int64_t>(find_int(inputs, key).value_or(77), 1, kTokensMax));
        };
        std::vector<Condition> conditions(says("two_positive") ? 2 : 1,
                                          Condition{tokens("pos_tokens")});
        if (find_number(inputs, "cfg").value_or(7.0) != 1.0)
            conditions.push_back({tokens("neg_tokens")});
        const auto groups = group_conditions(conditions, latent_area(latent), estimate,
                                             static_cast<double>(loader_.free_bytes()));
        json::array batches;
        for (const ForwardGroup& group : groups)
            batches.push_back(static_cast<std::int64_t>(group.conditions.size()) * latent.batch);
        out["forwards_per_step"] = groups.size();
        out["forward_batches"] = std::move(batches);
        return {};
    }

    Result<void> decode(Set& set, const json::value& inputs, bool node, json::object& out) {
        TRY_ASSIGN(const std::vector<std::int64_t> shape, shape_at(inputs, "latent"));
        const VaeKind kind = set.file.vae->kind();
        const VaeInput latent{.images = shape[0],
                              .channels = shape[1],
                              .size = {.height = static_cast<int>(shape[shape.size() - 2]),
                                       .width = static_cast<int>(shape.back()),
                                       .frames = shape.size() > 4 ? static_cast<int>(shape[2]) : 1},
                              .video = shape.size() > 4};
        const double estimate =
            vae_decode_estimate(kind, {latent.size.frames, latent.size.height, latent.size.width},
                                set.vae_type, server_.version);
        Tiling tiling = kDecodeFallback;
        VideoTiling video = video_fallback(set.file.vae->grid().pixels_per_cell);
        if (const json::value* args = find(inputs, "tiled_args"); node && args != nullptr) {
            constexpr std::int64_t kTileMax = 4096;
            const auto value = [&](std::string_view key, int otherwise) {
                return static_cast<int>(std::clamp<std::int64_t>(
                    find_int(*args, key).value_or(otherwise), 0, kTileMax));
            };
            tiling = {.tile = std::max(2, value("tile_x", tiling.tile)),
                      .overlap = value("overlap", tiling.overlap)};
            tiling.overlap = std::min(tiling.overlap, tiling.tile / 4);
            video = {.tile = tiling.tile,
                     .overlap = tiling.overlap,
                     .frames = std::max(2, value("tile_t", kAllFrames)),
                     .frame_overlap = value("overlap_t", video.frame_overlap)};
        }
        (void)loader_.load(
            {.models = {{set.vae, {}}}, .required = estimate, .minimum = {}, .whole = false});
        const int slice = vae_batch(static_cast<double>(loader_.free_bytes()), estimate);
        const std::string_view dtype = find_string(inputs, "dtype").value_or("");
        json::array calls;
        if (!node)
            append_slices(calls, "decode", latent,
                          static_cast<int>(std::min<std::int64_t>(slice, latent.images)), dtype);
        if (node || find_bool(inputs, "oom_injected").value_or(false)) {
            const auto images = static_cast<int>(latent.images);
            const auto runs =
                latent.video ? video_tiles(images, latent.size, video)
                             : decode_tiles(images, latent.size.height, latent.size.width, tiling);
            for (json::value& call : calls_of("decode", runs, latent, dtype, 1))
                calls.push_back(std::move(call));
        }
        out["memory_used"] = estimate;
        out["batch_number"] = slice;
        out["decode_calls"] = std::move(calls);
        return {};
    }

    // A list of images; of a VAE of videos, the frames of one.
    Result<void> encode(Set& set, const json::value& inputs, json::object& out) {
        TRY_ASSIGN(const std::vector<std::int64_t> shape, shape_at(inputs, "pixels"));
        if (shape.size() != 4) return fail(Errc::NotFound, "pixels are no list of images");
        const std::string_view dtype = find_string(inputs, "dtype").value_or("");
        const Vae& vae = *set.file.vae;
        const bool video = vae.grid().frames_per_cell > 1;
        const auto listed = static_cast<int>(shape[0]);
        const VaeInput pixels{.images = video ? 1 : listed,
                              .channels = shape[3],
                              .size = {.height = static_cast<int>(shape[1]),
                                       .width = static_cast<int>(shape[2]),
                                       .frames = video ? listed : 1},
                              .video = video};
        const double estimate = vae_encode_estimate(
            vae.kind(), {pixels.size.frames, pixels.size.height, pixels.size.width}, set.vae_type,
            server_.version);
        (void)loader_.load(
            {.models = {{set.vae, {}}}, .required = estimate, .minimum = {}, .whole = false});
        const int slice = vae_batch(static_cast<double>(loader_.free_bytes()), estimate);
        json::array calls;
        append_slices(calls, "encode", pixels,
                      static_cast<int>(std::min<std::int64_t>(slice, pixels.images)), dtype);
        if (find_bool(inputs, "oom_injected").value_or(false)) {
            const auto images = static_cast<int>(pixels.images);
            const auto runs = video ? video_tiles(images, pixels.size, video_fallback(1))
                                    : encode_tiles(images, pixels.size.height, pixels.size.width,
                                                   kEncodeFallback);
            for (json::value& call : calls_of("encode", runs, pixels, dtype, 1))
                calls.push_back(std::move(call));
        }
        out["memory_used"] = estimate;
        out["batch_number"] = slice;
        out["encode_calls"] = std::move(calls);
        return {};
    }

    [[nodiscard]] json::array resident() const {
        json::array list;
        for (const ModelHandle handle : loader_.current()) {
            const LoadedModel& loaded = loader_.model(handle);
            const StreamedModules streamed = loaded.streamed();
            const auto& units = loaded.model().units;
            list.push_back(json::object{
                {"model", loaded.model().name},
                {"size", loaded.model().size_bytes},
                {"loaded_bytes", loaded.loaded_bytes()},
                {"physical_bytes", loaded.card_bytes()},
                {"resident_modules", units.size() - streamed.count},
                {"streamed_modules", streamed.count},
                {"streamed_bytes", streamed.bytes},
                {"largest_streamed", streamed.largest},
                {"largest_streamed_name",
                 streamed.largest_unit ? json::value(units[*streamed.largest_unit].full_path())
                                       : json::value(nullptr)}});
        }
        return list;
    }

    Server server_;
    Device device_;
    Loader loader_;
    std::vector<Set> sets_;
    std::string_view scenario_;
};

struct ResidencyAnswerer::State {
    struct Entry {
        std::unique_ptr<ResidencySession> session;  // empty once something in it was not understood
        std::string reason;
        std::int64_t seq = -1;
    };
    std::map<std::string, Entry> sessions;
};

ResidencyAnswerer::ResidencyAnswerer() : state_(std::make_unique<State>()) {}
ResidencyAnswerer::~ResidencyAnswerer() = default;
ResidencyAnswerer::ResidencyAnswerer(ResidencyAnswerer&&) noexcept = default;
ResidencyAnswerer& ResidencyAnswerer::operator=(ResidencyAnswerer&&) noexcept = default;

namespace {

Result<std::unique_ptr<ResidencySession>> open_session(const json::value& line) {
    const json::value* card = find(line, "card");
    if (card == nullptr) return fail(Errc::InvalidInput, "the line has no card");
    TRY_ASSIGN(Device device, read_device(*card));
    Server server;
    server.policy = MemoryPolicy::Estimate;
    TRY_ASSIGN(server.version,
               parse_comfy_version(find_string(line, "comfyui").value_or("0.3.64")));
    TRY_ASSIGN(server.flags,
               parse_launch_flags(words_of(find_string(*card, "flags").value_or(""))));
    return std::make_unique<ResidencySession>(std::move(server), std::move(device));
}

}  // namespace

Result<std::string> ResidencyAnswerer::answer_line(std::string_view json_line) {
    TRY_ASSIGN(json::value line, parse_json(json_line));
    if (!line.is_object()) return fail(Errc::Corrupt, "the line is no JSON object");
    json::object& object = line.get_object();
    const std::string scenario(find_string(line, "scenario").value_or(""));
    const json::value* card = find(line, "card");
    const std::string key =
        fmt::format("{}\n{}\n{}", scenario, find_string(line, "comfyui").value_or(""),
                    card == nullptr ? std::string() : json::serialize(*card));
    auto& sessions = state_->sessions;
    if (sessions.size() >= kSessionsMax && !sessions.contains(key)) sessions.clear();
    State::Entry& entry = sessions[key];
    const std::int64_t seq = find_int(line, "seq").value_or(entry.seq + 1);
    if (seq <= entry.seq || (!entry.session && entry.reason.empty())) {
        entry = {};
        if (auto session = open_session(line))
            entry.session = std::move(*session);
        else
            entry.reason = session.error().message;
    }
    entry.seq = seq;
    if (entry.session) {
        static const json::value kNoInputs = json::object{};
        const json::value* inputs = find(line, "inputs");
        auto answer = entry.session->take(find_string(line, "step").value_or(""),
                                          inputs == nullptr ? kNoInputs : *inputs, scenario);
        if (answer) {
            for (auto& field : *answer) object[field.key()] = std::move(field.value());
            return json::serialize(line);
        }
        entry.session.reset();
        entry.reason = answer.error().message;
    }
    for (const char* field : {"resident", "forwards_per_step", "forward_batches", "batch_number",
                              "decode_calls", "encode_calls", "free_after"})
        object.erase(field);
    object["verdict"] = "unknown";
    object["reason"] = entry.reason;
    return json::serialize(line);
}

}  // namespace plimsoll::memory
