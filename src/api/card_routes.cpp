// SPDX-License-Identifier: Apache-2.0
//
// The card at hand, the catalogue of cards, models and what their samplers are called.
#include "api/app.h"
#include "api/routes.h"
#include "service/comfyui/checkpoints.h"
#include "service/models.h"
#include "wire/encode_daemon.h"
#include "wire/encode_parts.h"

#include <algorithm>
#include <utility>

namespace plimsoll::api {

Answer list_devices(Call& call) {
    const AppParts& parts = call.app.parts();
    const std::shared_ptr<const service::Place> place = parts.lookout.place();
    json::array devices;
    if (const auto sample = parts.lookout.latest())
        devices.emplace_back(wire::encode_device({.sample = *sample,
                                                  .load_line = place->budget.load_line,
                                                  .holdings = parts.jobs.holdings(),
                                                  .job_id = parts.jobs.running()}));
    return answer_json({{"devices", std::move(devices)},
                        {"where", place->site.where.message()},
                        {"warnings", wire::texts(place->site.warnings)}});
}

Answer list_cards(Call& /*call*/) {
    return answer_json(wire::encode_cards(timing::card_catalogue()));
}

namespace {

// What ComfyUI answers about itself; empty lists and why, where it does not.
struct Offer {
    std::optional<std::vector<std::string>> checkpoints;
    std::vector<std::string> samplers;
    std::vector<std::string> schedulers;
    std::vector<std::string> warnings;
};

Offer ask_comfyui(service::ComfyAtHand& comfyui) {
    Offer offer;
    auto upstream = comfyui.reach();
    if (!upstream) {
        offer.warnings.push_back(upstream.error().message);
        return offer;
    }
    auto checkpoints = (*upstream)->list_models("checkpoints");
    if (!checkpoints) {  // it does not answer: nothing more is asked
        offer.warnings.push_back(checkpoints.error().message);
        return offer;
    }
    offer.checkpoints = std::move(*checkpoints);
    for (auto& [list, input] :
         {std::pair(&offer.samplers, "sampler_name"), std::pair(&offer.schedulers, "scheduler")}) {
        auto names = (*upstream)->list_choices("KSampler", input);
        if (names)
            *list = std::move(*names);
        else
            offer.warnings.push_back(names.error().message);
    }
    return offer;
}

// "model.safetensors" is "xl/model.safetensors" on a server that keeps it in a folder.
bool lists(const std::vector<std::string>& checkpoints, const std::string& name) {
    return std::ranges::any_of(checkpoints, [&](const std::string& one) {
        return one == name || one.ends_with("/" + name) || one.ends_with("\\" + name);
    });
}

json::object encode_profile(const advisor::ModelProfile& profile, json::value family,
                            json::value on_server) {
    return {{"name", profile.name},
            {"checkpoint", profile.checkpoint},
            {"profile", true},
            {"family", std::move(family)},
            {"onServer", std::move(on_server)},
            {"nativeSide", profile.native_side},
            {"bestCfg", profile.best_cfg},
            {"sampler", profile.sampler},
            {"scheduler", profile.scheduler}};
}

json::object encode_checkpoint(const std::string& name, json::value family) {
    return {{"name", name},        {"checkpoint", name},
            {"profile", false},    {"family", std::move(family)},
            {"onServer", true},    {"nativeSide", nullptr},
            {"bestCfg", nullptr},  {"sampler", nullptr},
            {"scheduler", nullptr}};
}

}  // namespace

Answer list_models(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    const Offer offer = ask_comfyui(call.app.parts().comfyui);
    json::array models;
    call.app.with_models(place->config, [&](service::ModelLibrary& library) {
        // What its file says; nullptr where there is none here, or it is not understood.
        const auto family_of = [&](const std::string& checkpoint) -> json::value {
            const auto path = library.find(checkpoint);
            if (!path) return nullptr;
            const auto contents = library.read(*path);
            if (!contents) return nullptr;
            return json::value(modelfile::family_name((*contents)->family));
        };
        for (const advisor::ModelProfile& profile : place->profiles.all) {
            json::value family = family_of(profile.checkpoint);
            if (family.is_null()) family = service::guess_family(place->profiles, profile);
            models.emplace_back(encode_profile(
                profile, std::move(family),
                offer.checkpoints ? json::value(lists(*offer.checkpoints, profile.checkpoint))
                                  : json::value(nullptr)));
        }
        for (const std::string& name : offer.checkpoints.value_or(std::vector<std::string>()))
            models.emplace_back(encode_checkpoint(name, family_of(name)));
    });
    return answer_json({{"models", std::move(models)},
                        {"families", wire::texts(service::catalogue_families())},
                        {"samplers", wire::texts(offer.samplers)},
                        {"schedulers", wire::texts(offer.schedulers)},
                        {"warnings", wire::texts(offer.warnings)}});
}

}  // namespace plimsoll::api
