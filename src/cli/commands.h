// SPDX-License-Identifier: Apache-2.0
//
// Every command declares its flags on the parser and names what it does; one file each.
#pragma once
#include "base/error.h"
#include "cli/exit.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace plimsoll::cli {

class Session;

using Action = std::function<Result<Exit>(Session&)>;

// The parser and the actions behind it. `app()` is there to declare flags on.
class Commands {
  public:
    explicit Commands(CLI::App& app) : app_(app) {}

    // A command of the program, with --json and an example under its --help.
    CLI::App& add(const std::string& name, const std::string& what, const std::string& example,
                  Action action);
    // A command of a command: `presets save`.
    CLI::App& add_below(CLI::App& parent, const std::string& name, const std::string& what,
                        const std::string& example, Action action);

    // The action of the innermost command that was named.
    [[nodiscard]] const Action* find_action() const;
    [[nodiscard]] bool wants_json() const { return *json_; }

  private:
    CLI::App& app_;
    std::vector<std::pair<CLI::App*, Action>> actions_;
    std::shared_ptr<bool> json_ = std::make_shared<bool>(false);
};

void add_forecast(Commands& commands);
void add_plan(Commands& commands);
void add_largest(Commands& commands);
void add_convert(Commands& commands);
void add_generate(Commands& commands);
void add_presets(Commands& commands);
void add_history(Commands& commands);
void add_quality(Commands& commands);
void add_quality_compare(Commands& commands, CLI::App& quality);  // below it
void add_quality_look(Commands& commands, CLI::App& quality);     // below it
void add_doctor(Commands& commands);
void add_gateway(Commands& commands);
void add_top(Commands& commands);
void add_trace(Commands& commands);
void add_residency(Commands& commands);

}  // namespace plimsoll::cli
