// SPDX-License-Identifier: Apache-2.0
//
// Logs go to standard error, so that standard output stays clean for results and JSON. Never log
// prompt bodies, tokens or headers that carry secrets. Threads: any.
#pragma once
#include "base/error.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace plimsoll::log {

enum class Level { Debug, Info, Warning, Error, Off };
enum class Format { Text, Json };

// Call once from main, before threads start. Default: Warning, Text.
void configure(Level level, Format format);
[[nodiscard]] Result<Level> parse_level(std::string_view name);

void write(Level level, std::string_view message);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::Error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace plimsoll::log
