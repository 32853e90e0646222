// SPDX-License-Identifier: Apache-2.0
//
// plimsoll convert: what ComfyUI's front end would submit for a workflow that a user saved.
#include "base/byte_source.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "service/conversion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace plimsoll::cli {

namespace {

struct Flags {
    std::filesystem::path workflow;
    std::optional<std::filesystem::path> object_info;
    std::optional<workflow::FrontEnd> front_end;
    ConfigFlags config;
    std::string output;
};

// The user's own clock fills %date:...% in file names.
std::optional<workflow::LocalTime> local_time(std::int64_t unix_ms) {
    const std::time_t seconds = unix_ms / 1000;
    std::tm local{};
    if (::localtime_r(&seconds, &local) == nullptr) return std::nullopt;
    return workflow::LocalTime{.year = local.tm_year + 1900,
                               .month = local.tm_mon + 1,
                               .day = local.tm_mday,
                               .hour = local.tm_hour,
                               .minute = local.tm_min,
                               .second = local.tm_sec};
}

Result<Exit> convert(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto comfyui, session.world.reach_comfyui(config));
    TRY_ASSIGN(
        const workflow::ApiWorkflow api,
        service::convert_file(
            flags.workflow, {.file = flags.object_info, .comfyui = comfyui.get()},
            {.front_end = flags.front_end, .now = local_time(session.world.clock.unix_ms())}));
    for (const std::string& warning : api.warnings) session.warn(warning);
    if (flags.output.empty()) {
        session.out.write(api.text);
        return Exit::Done;
    }
    TRY_DO(write_file_atomically(flags.output, std::as_bytes(std::span(api.text))));
    if (session.json)
        session.answer({{"output", flags.output}, {"nodes", api.nodes}});
    else
        session.out.line(fmt::format("written    {} ({} nodes)", flags.output, api.nodes));
    return Exit::Done;
}

std::string take_front_end(const std::string& text, std::optional<workflow::FrontEnd>& into) {
    if (text == "1.27")
        into = workflow::FrontEnd::V1_27;
    else if (text == "1.58")
        into = workflow::FrontEnd::V1_58;
    else
        return fmt::format("'{}' is no front end that Plimsoll follows: 1.27 or 1.58", text);
    return {};
}

}  // namespace

void add_convert(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "convert", "print the API format of a workflow in UI format, as ComfyUI would submit it",
        "plimsoll convert my_workflow.json --object-info object_info.json --output api.json\n"
        "  curl -s http://localhost:8188/object_info > object_info.json",
        [flags](Session& session) { return convert(session, *flags); });
    constexpr const char* kConversion = "Conversion";
    command
        .add_option("workflow", flags->workflow,
                    "WORKFLOW.json as ComfyUI saves it, or IMAGE.png that ComfyUI saved")
        ->type_name("FILE")
        ->required()
        ->group(kConversion);
    add_object_info_flag(command, flags->object_info);
    command.get_option("--object-info")->group(kConversion);
    add_checked(command, "--front-end", "VERSION",
                "convert as this one, 1.27 or 1.58; that of the server in --object-info otherwise",
                [flags](const std::string& text) { return take_front_end(text, flags->front_end); })
        .group(kConversion);
    add_server_flags(command, flags->config);
    command.add_option("--output", flags->output, "write into this file instead of printing")
        ->type_name("FILE")
        ->group("Output");
}

}  // namespace plimsoll::cli
