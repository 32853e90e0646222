// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"

#include "base/utf8.h"
#include "cli/text.h"
#include "service/pace.h"
#include "service/preset.h"
#include "service/profiles.h"
#include "wire/encode.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::cli {

Session::Session(const World& the_world)
    : world(the_world),
      out(the_world.out, the_world.environment),
      err(the_world.err, the_world.environment) {}

Result<std::string> Session::daemon_url(const std::optional<std::string>& named,
                                        const ConfigFlags& flags) {
    if (named) return *named;
    TRY_ASSIGN(const service::Config config, read_config(flags));
    TRY_ASSIGN(const service::ListenAddress listen, service::parse_listen(config.listen.value));
    return service::visit_url(listen, listen.port);
}

Result<service::Config> Session::read_config(const ConfigFlags& flags) {
    TRY_ASSIGN(service::Config config, service::read_config({.flags = flags.values,
                                                             .environment = world.environment,
                                                             .working_dir = world.working_dir}));
    for (const Phrase& warning : config.warnings) warn(warning.message());
    return config;
}

Result<service::Job> Session::resolve_job(const service::Config& config, JobFlags flags) {
    if (flags.preset) {
        TRY_ASSIGN(const auto store,
                   world.open_history(config.history_file(), World::Access::Read));
        TRY_ASSIGN(const history::Preset preset, store->load_preset(*flags.preset));
        TRY_ASSIGN(const auto warnings, service::apply_preset(preset, flags.request));
        for (const Phrase& warning : warnings) warn(warning.message());
    }
    TRY_ASSIGN(const service::Profiles profiles, service::read_profiles(config));
    service::ModelLibrary library(config.models_dirs.value);
    if (!flags.request.file) return service::resolve_job(flags.request, profiles, library);
    TRY_ASSIGN(const auto comfyui, world.reach_comfyui(config));
    return service::resolve_job(flags.request, profiles, library, comfyui.get());
}

timing::SharedPaces Session::learned_paces(const service::Config& config,
                                           const service::Site& site) {
    if (!config.learned.value) return nullptr;
    const auto store = world.open_history(config.history_file(), World::Access::Read);
    auto paces = store ? service::read_paces(**store, site.card_in_history())
                       : Result<timing::Paces>(std::unexpected(store.error()));
    if (!paces) {
        warn("seconds are those of the table alone: " + paces.error().message);
        return nullptr;
    }
    if (!paces->learned()) return nullptr;
    return std::make_shared<const timing::Paces>(std::move(*paces));
}

Result<Session::Question> Session::read_question(const ConfigFlags& flags, const JobFlags& job) {
    Question question;
    TRY_ASSIGN(question.config, read_config(flags));
    TRY_ASSIGN(question.job, resolve_job(question.config, job));
    TRY_ASSIGN(const auto comfyui, world.reach_comfyui(question.config));
    TRY_ASSIGN(question.site,
               service::find_site(question.config, {.vram_mb = flags.vram_mb, .ask_comfyui = true},
                                  comfyui.get()));
    question.site.paces = learned_paces(question.config, question.site);
    TRY_ASSIGN(question.budget, service::budget_of(question.config));
    return question;
}

void Session::answer(const json::object& object) {
    out.write(valid_utf8(to_pretty_json(object)));
}

void Session::warn(std::string_view text) {
    err.line(fmt::format("plimsoll: {} {}", err.styled(Style::Notice, "warning:"), plain(text)));
}

Exit Session::fail_with(const Error& error, Exit exit) {
    if (json)
        answer(wire::encode_error(error));
    else
        err.line(fmt::format("plimsoll: {}", plain(error.message)));
    return exit;
}

}  // namespace plimsoll::cli
