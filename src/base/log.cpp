// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/json.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

namespace plimsoll::log {
namespace {

std::atomic<bool> json_lines = false;

spdlog::level::level_enum spdlog_level(Level level) {
    switch (level) {
        case Level::Debug:
            return spdlog::level::debug;
        case Level::Info:
            return spdlog::level::info;
        case Level::Warning:
            return spdlog::level::warn;
        case Level::Error:
            return spdlog::level::err;
        case Level::Off:
            return spdlog::level::off;
    }
    return spdlog::level::off;
}

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "plimsoll", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->set_level(spdlog::level::warn);
        made->set_pattern("%H:%M:%S.%e %l: %v");
        return made;
    }();
    return *instance;
}

}  // namespace

void configure(Level level, Format format) {
    json_lines = format == Format::Json;
    logger().set_level(spdlog_level(level));
    logger().set_pattern(format == Format::Json
                             ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%v})"
                             : "%H:%M:%S.%e %l: %v");
}

Result<Level> parse_level(std::string_view name) {
    if (name == "debug") return Level::Debug;
    if (name == "info") return Level::Info;
    if (name == "warning") return Level::Warning;
    if (name == "error") return Level::Error;
    if (name == "off") return Level::Off;
    return fail(
        Errc::InvalidInput,
        fmt::format("unknown log level '{}', use debug, info, warning, error or off", name));
}

void write(Level level, std::string_view message) {
    if (!logger().should_log(spdlog_level(level))) return;
    if (json_lines) {
        logger().log(spdlog_level(level), json::serialize(json::value(json::string(message))));
    } else {
        logger().log(spdlog_level(level), message);
    }
}

}  // namespace plimsoll::log
