// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/presets.h>

#include "base/clock.h"
#include "history/sqlite_store.h"
#include "library/convert.h"
#include "library/place.h"
#include "service/preset.h"

#include <utility>

namespace plimsoll {

struct Presets::Parts {
    std::unique_ptr<history::SqliteStore> store;
};

Presets::Presets(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Presets::Presets(Presets&&) noexcept = default;
Presets& Presets::operator=(Presets&&) noexcept = default;
Presets::~Presets() = default;

Result<Presets> Presets::open(const Options& options) {
    TRY_ASSIGN(const service::Config config, library::read_config(options));
    TRY_ASSIGN(auto store, history::SqliteStore::create(config.history_file()));
    return Presets(std::make_unique<Parts>(Parts{std::move(store)}));
}

Result<void> Presets::save(std::string_view name, const Wishes& wishes) {
    service::JobRequest request;
    library::put_wishes(wishes, request);
    history::Preset preset{
        .name = std::string(name), .settings_json = {}, .saved_ms = system_clock().unix_ms()};
    TRY_ASSIGN(preset.settings_json, service::encode_wishes(request));
    return parts_->store->save_preset(preset);
}

Result<Wishes> Presets::load(std::string_view name) {
    TRY_ASSIGN(const history::Preset preset, parts_->store->load_preset(name));
    service::JobRequest request;
    // Warnings are about fields that a newer Plimsoll wrote; they stay in the preset.
    TRY_DO(service::apply_preset(preset, request));
    return library::wishes_of(request);
}

Result<std::vector<std::string>> Presets::list() {
    TRY_ASSIGN(const std::vector<history::Preset> presets, parts_->store->list_presets());
    std::vector<std::string> names;
    names.reserve(presets.size());
    for (const history::Preset& preset : presets) names.push_back(preset.name);
    return names;
}

Result<void> Presets::remove(std::string_view name) {
    return parts_->store->remove_preset(name);
}

}  // namespace plimsoll
