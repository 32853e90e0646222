// SPDX-License-Identifier: Apache-2.0
//
// --help that fits 80 columns.
#pragma once
#include <CLI/CLI.hpp>

#include <string>

namespace plimsoll::cli {

// CLI11's own formatter with long descriptions broken and no more than one blank line in a row.
class HelpFormatter final : public CLI::Formatter {
  public:
    HelpFormatter();
    [[nodiscard]] std::string make_help(const CLI::App* app, std::string name,
                                        CLI::AppFormatMode mode) const override;
    [[nodiscard]] std::string make_option_desc(const CLI::Option* option) const override;
    [[nodiscard]] std::string make_subcommand(const CLI::App* command) const override;
};

}  // namespace plimsoll::cli
