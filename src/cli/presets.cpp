// SPDX-License-Identifier: Apache-2.0
//
// plimsoll presets: settings under a name.
#include "cli/commands.h"
#include "cli/draw_run.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "service/preset.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace plimsoll::cli {

namespace {

struct Flags {
    ConfigFlags config;
    service::JobRequest wishes;
    std::string name;
};

// `width 832, height 1216, steps 28`: the fields as they are called everywhere.
std::string words_of(const history::Preset& preset) {
    const auto settings = parse_json(preset.settings_json);
    if (!settings || !settings->is_object()) return plain(preset.settings_json);
    std::string words;
    for (const auto& [key, value] : settings->as_object()) {
        const std::string text = value.is_string()   ? std::string(value.get_string())
                                 : value.is_double() ? fmt::format("{}", value.get_double())
                                                     : json::serialize(value);
        words += fmt::format("{}{} {}", words.empty() ? "" : ", ", std::string_view(key), text);
    }
    return plain(words);
}

Result<std::unique_ptr<history::Store>> open_history(Session& session, const Flags& flags,
                                                     World::Access access) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    return session.world.open_history(config.history_file(), access);
}

Result<Exit> save(Session& session, const Flags& flags) {
    history::Preset preset{
        .name = flags.name, .settings_json = {}, .saved_ms = session.world.clock.unix_ms()};
    TRY_DO(history::check_preset_name(preset.name));
    TRY_ASSIGN(preset.settings_json, service::encode_wishes(flags.wishes));
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Write));
    TRY_DO(store->save_preset(preset));
    if (session.json)
        session.answer(wire::encode_preset(preset));
    else
        session.out.paragraph(fmt::format("saved {}: ", preset.name), words_of(preset), 2);
    return Exit::Done;
}

Result<Exit> load(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    TRY_ASSIGN(const history::Preset preset, store->load_preset(flags.name));
    if (session.json)
        session.answer(wire::encode_preset(preset));
    else
        session.out.paragraph(fmt::format("{}: ", preset.name), words_of(preset), 2);
    return Exit::Done;
}

Result<Exit> list(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Read));
    TRY_ASSIGN(const auto presets, store->list_presets());
    if (session.json) {
        session.answer(wire::encode_presets(presets));
        return Exit::Done;
    }
    if (presets.empty()) {
        session.out.line("no presets yet: plimsoll presets save NAME --width 832 --height 1216");
        return Exit::Done;
    }
    Table table({{"name", Table::Align::Left},
                 {"saved", Table::Align::Left},
                 {"settings", Table::Align::Left}});
    for (const history::Preset& preset : presets)
        table.row({plain(preset.name), local_time_text(preset.saved_ms), words_of(preset)});
    table.draw(session.out, 0);
    return Exit::Done;
}

Result<Exit> remove(Session& session, const Flags& flags) {
    TRY_ASSIGN(const auto store, open_history(session, flags, World::Access::Write));
    TRY_DO(store->remove_preset(flags.name));
    if (session.json)
        session.answer({{"removed", flags.name}});
    else
        session.out.line(fmt::format("removed {}", flags.name));
    return Exit::Done;
}

void add_name(CLI::App& command, Flags& into) {
    command.add_option("name", into.name, "1 to 64 letters, digits, - _ . and spaces")
        ->type_name("NAME")
        ->required();
}

}  // namespace

void add_presets(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    const auto bound = [flags](auto act) {
        return [flags, act](Session& session) { return act(session, *flags); };
    };
    CLI::App& presets = commands.add("presets", "save, load, list and remove settings under a name",
                                     "plimsoll presets list", bound(list));
    presets.require_subcommand(0, 1);
    add_home_flags(presets, flags->config);
    CLI::App& saving = commands.add_below(
        presets, "save", "save settings; a preset of the same name is replaced",
        "plimsoll presets save portrait --model sdxl-base --width 832 --height 1216", bound(save));
    add_name(saving, *flags);
    add_text(saving, "--model", flags->wishes.model, "NAME", "a profile or a checkpoint file");
    add_wish_flags(saving, flags->wishes);
    CLI::App& loading =
        commands.add_below(presets, "load", "print a preset; generate --preset NAME uses it",
                           "plimsoll presets load portrait --json", bound(load));
    add_name(loading, *flags);
    CLI::App& removing = commands.add_below(presets, "remove", "remove a preset",
                                            "plimsoll presets remove portrait", bound(remove));
    add_name(removing, *flags);
    CLI::App& listing = commands.add_below(presets, "list", "list the presets",
                                           "plimsoll presets list", bound(list));
    for (CLI::App* const command : {&saving, &loading, &removing, &listing})
        add_home_flags(*command, flags->config);
}

}  // namespace plimsoll::cli
