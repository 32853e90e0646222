// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include "cli/help.h"
#include "cli/session.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>

namespace plimsoll::cli {

namespace {

CLI::App& declare(CLI::App& parent, const std::string& name, const std::string& what,
                  const std::string& example, bool& json) {
    CLI::App& command = *parent.add_subcommand(name, what);
    command.footer("Example:\n  " + example);
    command.add_flag("--json", json, "answer in JSON")->group("Output");
    command.get_help_ptr()->group("Output");
    return command;
}

CLI::App& innermost(CLI::App& app) {
    CLI::App* command = &app;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    return *command;
}

// The first word that nobody expected, with the nearest that somebody does.
std::string explain_extras(CLI::App& app, const std::string& otherwise) {
    const std::vector<std::string> extras = app.remaining(true);
    if (extras.empty()) return otherwise;
    const std::string word = extras.front().substr(0, extras.front().find('='));
    CLI::App& command = innermost(app);
    std::vector<std::string> known;
    if (word.starts_with('-'))
        for (const CLI::Option* const option : command.get_options())
            for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    else
        for (const CLI::App* const sub : command.get_subcommands({}))
            known.push_back(sub->get_name());
    return explain_unknown(word, known);
}

std::string name_of(const CLI::App& command) {
    const CLI::App* const parent = command.get_parent();
    return parent == nullptr ? command.get_name() : name_of(*parent) + " " + command.get_name();
}

Exit refuse_usage(CLI::App& app, const CLI::ParseError& error, Session& session) {
    std::string message = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)
        message = explain_extras(app, message);
    message = fmt::format("{}; see {} --help", message, name_of(innermost(app)));
    return session.fail_with({Errc::InvalidInput, message}, Exit::BadUsage);
}

std::vector<std::string> reversed(std::vector<std::string> arguments) {
    std::ranges::reverse(arguments);
    return arguments;
}

void draw_version(const std::vector<std::string>& arguments, Session& session) {
    if (std::ranges::find(arguments, "--json") != arguments.end())
        session.answer({{"version", PLIMSOLL_VERSION}});
    else
        session.out.line("plimsoll " PLIMSOLL_VERSION);
}

Exit run(CLI::App& app, const Commands& commands, const std::vector<std::string>& arguments,
         Session& session) {
    // CLI11 reports by exceptions, --help and --version included.
    try {
        app.parse(reversed(arguments));
    } catch (const CLI::CallForHelp&) {
        session.out.write(app.help());
        return Exit::Done;
    } catch (const CLI::CallForVersion&) {
        draw_version(arguments, session);
        return Exit::Done;
    } catch (const CLI::ParseError& error) {
        session.json = std::ranges::find(arguments, "--json") != arguments.end();
        return refuse_usage(app, error, session);
    }
    session.json = commands.wants_json();
    const Action* const action = commands.find_action();
    if (action == nullptr) {
        session.err.write(app.help());
        return Exit::BadUsage;
    }
    const Result<Exit> exit = (*action)(session);
    return exit ? *exit : session.fail_with(exit.error());
}

}  // namespace

CLI::App& Commands::add(const std::string& name, const std::string& what,
                        const std::string& example, Action action) {
    return add_below(app_, name, what, example, std::move(action));
}

CLI::App& Commands::add_below(CLI::App& parent, const std::string& name, const std::string& what,
                              const std::string& example, Action action) {
    CLI::App& command = declare(parent, name, what, example, *json_);
    if (action) actions_.emplace_back(&command, std::move(action));
    return command;
}

const Action* Commands::find_action() const {
    const CLI::App* const named = &innermost(app_);
    const auto found = std::ranges::find(actions_, named, &std::pair<CLI::App*, Action>::first);
    return found == actions_.end() ? nullptr : &found->second;
}

int run_command_line(const std::vector<std::string>& arguments, const World& world,
                     const std::function<void(Commands&)>& add_more) {
    Session session(world);
    CLI::App app("Keeps ComfyUI under its VRAM load line.", "plimsoll");
    app.footer(
        "plimsoll COMMAND --help has the flags and an example.\n"
        "Exit codes: 0 done, 1 failed, 2 bad usage, 3 does not fit, 4 ComfyUI unreachable.");
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_version_flag("--version", "plimsoll " PLIMSOLL_VERSION, "print the version");
    app.require_subcommand(0, 1);
    Commands commands(app);
    add_forecast(commands);
    add_plan(commands);
    add_largest(commands);
    add_convert(commands);
    add_generate(commands);
    add_presets(commands);
    add_history(commands);
    add_quality(commands);
    add_doctor(commands);
    add_gateway(commands);
    add_top(commands);
    add_trace(commands);
    add_residency(commands);
    if (add_more) add_more(commands);
    Exit exit = run(app, commands, arguments, session);
    if (const auto flushed = session.out.flush(); !flushed) {
        if (session.out.has_reader())
            session.err.line(fmt::format("plimsoll: {}", flushed.error().message));
        exit = Exit::Failed;
    }
    return static_cast<int>(exit);
}

}  // namespace plimsoll::cli
