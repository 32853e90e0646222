// SPDX-License-Identifier: Apache-2.0
//
// plimsoll doctor: what is there, what is wrong, and what to do about it?
#include "service/doctor.h"

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace plimsoll::cli {

namespace {

struct Mark {
    const char* word;
    Style style;
};
Mark mark_of(service::Health health) {
    switch (health) {
        case service::Health::Good:
            return {"ok", Style::Good};
        case service::Health::Notice:
            return {"note", Style::Notice};
        case service::Health::Problem:
            break;
    }
    return {"problem", Style::Bad};
}

void draw_checkup(Screen& out, const service::Checkup& checkup) {
    constexpr std::size_t kMark = 9;
    for (const service::Finding& finding : checkup.findings) {
        const Mark mark = mark_of(finding.health);
        const std::string label = out.styled(mark.style, mark.word) +
                                  std::string(kMark - columns_of(mark.word), ' ') +
                                  plain(finding.area) + ": ";
        out.paragraph(label, plain(finding.text.message()), kMark);
        if (!finding.advice.empty())
            out.paragraph(std::string(kMark, ' ') + "-> ", plain(finding.advice.message()),
                          kMark + 3);
    }
    out.line();
    Table table({{"setting", Table::Align::Left},
                 {"value", Table::Align::Left},
                 {"from", Table::Align::Left}});
    for (const service::ConfigLine& line : checkup.settings)
        table.row({line.key, line.value.empty() ? "-" : plain(line.value), plain(line.source)});
    table.draw(out, 0);
}

Result<Exit> doctor(Session& session, const ConfigFlags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags));
    TRY_ASSIGN(const auto comfyui, session.world.reach_comfyui(config));
    const service::Checkup checkup = service::check_up(config, *comfyui);
    if (session.json)
        session.answer(wire::encode_checkup(checkup));
    else
        draw_checkup(session.out, checkup);
    if (!checkup.comfyui_answers) return Exit::Unreachable;
    return checkup.worst() == service::Health::Problem ? Exit::Failed : Exit::Done;
}

}  // namespace

void add_doctor(Commands& commands) {
    auto flags = std::make_shared<ConfigFlags>();
    CLI::App& command = commands.add(
        "doctor", "look at ComfyUI, card, models, disk and configuration; say what to do",
        "plimsoll doctor --comfyui-port 8188",
        [flags](Session& session) { return doctor(session, *flags); });
    add_server_flags(command, *flags);
    add_limit_flags(command, *flags);
    add_site_flags(command, *flags);
    add_output_flag(command, *flags);
    add_home_flags(command, *flags);
}

}  // namespace plimsoll::cli
