// SPDX-License-Identifier: Apache-2.0
#include "library/place.h"

#include "service/comfyui/client.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

namespace plimsoll::library {

namespace {

// As flags, so that they go over the environment and plimsoll.toml and are checked in one place.
std::map<std::string, std::string> flags_of(const Options& options) {
    std::map<std::string, std::string> flags;
    const auto put = [&](const char* key, const auto& value) {
        if (value) flags[key] = fmt::format("{}", *value);
    };
    put("comfyui_server_url", options.server_url);
    put("comfyui_port", options.port);
    if (options.timeout) flags["comfyui_timeout"] = fmt::format("{}", options.timeout->count());
    put("max_vram_mb", options.max_vram_mb);
    put("safety_margin", options.safety_margin);
    put("max_duration_min", options.max_duration_min);
    put("card", options.card);
    put("comfyui_version", options.comfyui_version);
    put("comfyui_flags", options.comfyui_flags);
    put("memory_policy", options.memory_policy);
    if (options.home) flags["home"] = options.home->string();
    if (options.output_dir) flags["output_dir"] = options.output_dir->string();
    std::string folders;
    for (const auto& folder : options.models_dirs)
        folders += (folders.empty() ? "" : ":") + folder.string();
    if (!folders.empty()) flags["models_dir"] = folders;
    return flags;
}

}  // namespace

Result<service::Config> read_config(const Options& options) {
    return service::read_config_of_process(flags_of(options));
}

Result<Place> find_place(const Options& options) {
    TRY_ASSIGN(service::Config config, read_config(options));
    TRY_ASSIGN(service::Profiles profiles, service::read_profiles(config));
    TRY_ASSIGN(const std::unique_ptr<service::ComfyClient> comfyui,
               service::ComfyClient::create(config));
    TRY_ASSIGN(
        service::Site site,
        service::find_site(config, {.vram_mb = options.vram_mb, .ask_comfyui = options.ask_comfyui},
                           comfyui.get()));
    TRY_ASSIGN(const advisor::Budget budget, service::budget_of(config));
    service::ModelLibrary models(config.models_dirs.value);
    return Place{std::move(config), std::move(profiles), std::move(models), std::move(site),
                 budget};
}

}  // namespace plimsoll::library
