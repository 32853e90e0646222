// SPDX-License-Identifier: Apache-2.0
#include "modelfile/architectures.h"

#include "base/check.h"
#include "base/json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace plimsoll::embedded {
std::string_view architectures_json();
}

namespace plimsoll::modelfile {
namespace {

template <class Config>
using Named = std::map<std::string, Config, std::less<>>;

struct Catalogue {
    Named<UnetConfig> unets;
    Named<ControlNetConfig> controlnets;
    Named<T2iAdapterConfig> t2i_adapters;
    Named<KlVaeConfig> vaes;
    Named<ClipTextConfig> clips;
};

void read_int(const json::value& from, std::string_view key, int& into) {
    if (const auto value = find_int(from, key)) into = static_cast<int>(*value);
}

void read_bool(const json::value& from, std::string_view key, bool& into) {
    if (const auto value = find_bool(from, key)) into = *value;
}

void read_ints(const json::value& from, std::string_view key, std::vector<int>& into) {
    const json::value* list = find(from, key);
    if (list == nullptr || !list->is_array()) return;
    into.clear();
    for (const json::value& item : list->get_array())
        into.push_back(static_cast<int>(item.to_number<std::int64_t>()));
}

UnetConfig parse_unet(const json::value& from) {
    UnetConfig c;
    if (const auto name = find_string(from, "family"))
        c.family = parse_family(*name).value_or(Family::Unknown);
    read_int(from, "in_channels", c.in_channels);
    read_int(from, "model_channels", c.model_channels);
    read_ints(from, "channel_mult", c.channel_mult);
    read_ints(from, "num_res_blocks", c.num_res_blocks);
    read_ints(from, "transformer_depth", c.transformer_depth);
    read_ints(from, "transformer_depth_output", c.transformer_depth_output);
    read_int(from, "transformer_depth_middle", c.transformer_depth_middle);
    read_int(from, "context_dim", c.context_dim);
    read_int(from, "adm_in_channels", c.adm_in_channels);
    read_bool(from, "use_linear_in_transformer", c.use_linear_in_transformer);
    read_int(from, "num_heads", c.num_heads);
    read_int(from, "num_head_channels", c.num_head_channels);
    if (const auto prediction = find_string(from, "prediction")) c.prediction = *prediction;
    return c;
}

ControlNetConfig parse_controlnet(const json::value& from, const Named<UnetConfig>& unets) {
    ControlNetConfig c;
    const auto encoder = unets.find(find_string(from, "encoder").value_or(""));
    CHECK(encoder != unets.end());
    c.encoder = encoder->second;
    c.encoder.transformer_depth_output.clear();  // a ControlNet has no decoder
    read_int(from, "control_add_types", c.control_add_types);
    return c;
}

T2iAdapterConfig parse_t2i_adapter(const json::value& from) {
    T2iAdapterConfig c;
    read_int(from, "in_channels", c.in_channels);
    read_ints(from, "channels", c.channels);
    read_bool(from, "xl", c.xl);
    return c;
}

KlVaeConfig parse_vae(const json::value& from) {
    KlVaeConfig c;
    read_int(from, "z_channels", c.z_channels);
    read_int(from, "embed_dim", c.embed_dim);
    read_bool(from, "quant_conv", c.quant_conv);
    return c;
}

ClipTextConfig parse_clip(const json::value& from, std::string_view name) {
    ClipTextConfig c;
    c.name = name;
    read_int(from, "layers", c.layers);
    read_int(from, "hidden", c.hidden);
    read_int(from, "intermediate", c.intermediate);
    read_int(from, "heads", c.heads);
    read_int(from, "projection", c.projection);
    c.activation = find_string(from, "activation") == "gelu" ? ClipActivation::Gelu
                                                             : ClipActivation::QuickGelu;
    return c;
}

// Calls `add` with each name and value of one section of the catalogue.
template <class Add>
void for_each_in(const json::value& catalogue, std::string_view section, Add add) {
    const json::value* entries = find(catalogue, section);
    CHECK(entries != nullptr && entries->is_object());
    for (const auto& [name, value] : entries->get_object())
        add(std::string_view(name.data(), name.size()), value);
}

Catalogue parse_catalogue() {
    const Result<json::value> parsed = parse_json(embedded::architectures_json());
    CHECK(parsed.has_value());  // compiled in: a promise of the build, not input
    Catalogue c;
    for_each_in(*parsed, "unets", [&](std::string_view n, const json::value& v) {
        c.unets.emplace(n, parse_unet(v));
    });
    for_each_in(*parsed, "controlnets", [&](std::string_view n, const json::value& v) {
        c.controlnets.emplace(n, parse_controlnet(v, c.unets));
    });
    for_each_in(*parsed, "t2i_adapters", [&](std::string_view n, const json::value& v) {
        c.t2i_adapters.emplace(n, parse_t2i_adapter(v));
    });
    for_each_in(*parsed, "vaes",
                [&](std::string_view n, const json::value& v) { c.vaes.emplace(n, parse_vae(v)); });
    for_each_in(*parsed, "clips", [&](std::string_view n, const json::value& v) {
        c.clips.emplace(n, parse_clip(v, n));
    });
    return c;
}

const Catalogue& catalogue() {
    static const Catalogue known = parse_catalogue();
    return known;
}

template <class Config>
Result<Config> look_up(const Named<Config>& known, std::string_view what, std::string_view name) {
    if (const auto found = known.find(name); found != known.end()) return found->second;
    std::vector<std::string_view> names;
    for (const auto& [key, value] : known) names.emplace_back(key);
    return fail(Errc::NotFound,
                fmt::format("no {} named {:?}, there are {}", what, name, fmt::join(names, ", ")));
}

}  // namespace

Result<UnetConfig> known_unet(std::string_view name) {
    return look_up(catalogue().unets, "UNet", name);
}

Result<ControlNetConfig> known_controlnet(std::string_view name) {
    return look_up(catalogue().controlnets, "ControlNet", name);
}

Result<T2iAdapterConfig> known_t2i_adapter(std::string_view name) {
    return look_up(catalogue().t2i_adapters, "T2I adapter", name);
}

Result<KlVaeConfig> known_kl_vae(std::string_view name) {
    return look_up(catalogue().vaes, "VAE", name);
}

Result<ClipTextConfig> known_clip(std::string_view name) {
    return look_up(catalogue().clips, "text encoder", name);
}

std::vector<std::string> known_unet_names() {
    std::vector<std::string> names;
    for (const auto& [name, config] : catalogue().unets) names.push_back(name);
    return names;
}

}  // namespace plimsoll::modelfile
