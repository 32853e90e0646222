// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include "cli/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kNames = 28;    // columns of a flag and its type
constexpr std::size_t kColumns = 80;  // what every terminal has

// CLI11 indents what follows a line break to where descriptions begin.
std::string broken(const std::string& description) {
    return fmt::format("{}", fmt::join(wrapped(description, kColumns - kNames), "\n"));
}

}  // namespace

HelpFormatter::HelpFormatter() {
    column_width(kNames);
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode mode) const {
    const std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
    std::string out;
    int breaks = 0;
    for (const char c : text) {
        breaks = c == '\n' ? breaks + 1 : 0;
        if (breaks <= 2) out += c;
    }
    return out;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
    return broken(CLI::Formatter::make_option_desc(option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
    return fmt::format("  {:<{}}{}\n", command->get_name(), kNames - 2,
                       fmt::join(wrapped(command->get_description(), kColumns - kNames),
                                 "\n" + std::string(kNames, ' ')));
}

}  // namespace plimsoll::cli
