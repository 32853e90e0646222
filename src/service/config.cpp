// SPDX-License-Identifier: Apache-2.0
#include "service/config.h"

#include "base/byte_source.h"
#include "base/say.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::uint64_t kTomlBytesMax = 1ULL << 20U;  // chosen: a file that people write by hand
constexpr std::string_view kFileName = "plimsoll.toml";

// A value as it came in, before it is understood.
struct Raw {
    std::string text;
    Origin origin = Origin::BuiltIn;
    std::string source;
};

std::unexpected<Error> out_of_range(const Raw& raw, std::string_view range) {
    return fail(Errc::InvalidInput,
                fmt::format("{} is '{}': must be {}", raw.source, raw.text, range));
}

template <class T>
void take(Setting<T>& setting, T value, const Raw& raw) {
    setting = {std::move(value), raw.origin, raw.source};
}

Result<void> set_integer(Setting<int>& setting, const Raw& raw, int low, int high,
                         std::string_view unit) {
    const auto value = parse_integer(trim(raw.text));
    if (!value || *value < low || *value > high)
        return out_of_range(raw, fmt::format("a whole number from {} to {}{}", low, high, unit));
    take(setting, static_cast<int>(*value), raw);
    return {};
}

Result<void> set_number(Setting<double>& setting, const Raw& raw, double low, double high,
                        std::string_view unit) {
    const auto value = parse_number(trim(raw.text));
    if (!value || *value < low || *value > high)
        return out_of_range(raw, fmt::format("a number from {} to {}{}", low, high, unit));
    take(setting, *value, raw);
    return {};
}

Result<void> set_server_url(Setting<std::string>& setting, const Raw& raw) {
    std::string url(trim(raw.text));
    if (url.find("://") == std::string::npos) url = "http://" + url;
    while (url.ends_with('/')) url.pop_back();
    const std::string_view host =
        std::string_view(url).substr(std::min(url.size(), url.find("://") + 3));
    const bool good_host =
        !host.empty() && host.find_first_of("/?#@ \t\r\n") == std::string_view::npos;
    if (!url.starts_with("http://") || !good_host)
        return out_of_range(
            raw,
            "a plain address such as http://localhost or http://192.168.1.20 (https, paths and "
            "passwords are not supported: ComfyUI serves plain HTTP)");
    take(setting, std::move(url), raw);
    return {};
}

Result<void> set_paths(Setting<std::vector<std::filesystem::path>>& setting, const Raw& raw) {
    std::vector<std::filesystem::path> paths;
    for (const std::string_view part : split(raw.text, ':'))
        if (!trim(part).empty()) paths.emplace_back(trim(part));
    take(setting, std::move(paths), raw);
    return {};
}

Result<void> set_text(Setting<std::string>& setting, const Raw& raw) {
    take(setting, std::string(trim(raw.text)), raw);
    return {};
}

Result<void> set_flag(Setting<bool>& setting, const Raw& raw) {
    const std::string text = to_lower_ascii(trim(raw.text));
    const bool on = text == "on" || text == "true" || text == "1";
    if (!on && text != "off" && text != "false" && text != "0")
        return out_of_range(raw, "on or off");
    take(setting, on, raw);
    return {};
}

Result<void> set_path(Setting<std::filesystem::path>& setting, const Raw& raw) {
    if (trim(raw.text).empty()) return out_of_range(raw, "a folder");
    take(setting, std::filesystem::path(trim(raw.text)), raw);
    return {};
}

Result<void> set_policy(Setting<std::string>& setting, const Raw& raw) {
    const std::string policy = to_lower_ascii(trim(raw.text));
    if (policy != "estimate" && policy != "dynamic")
        return out_of_range(raw, "estimate or dynamic");
    take(setting, policy, raw);
    return {};
}

Result<void> set_listen(Setting<std::string>& setting, const Raw& raw) {
    if (!parse_listen(raw.text))
        return out_of_range(raw,
                            "an address in digits and a port, such as 127.0.0.1:8190, "
                            "0.0.0.0:8190 or [::1]:8190");
    return set_text(setting, raw);
}

Result<void> set_gateway_listen(Setting<std::string>& setting, const Raw& raw) {
    if (to_lower_ascii(trim(raw.text)) != "off") return set_listen(setting, raw);
    take(setting, std::string("off"), raw);
    return {};
}

Result<void> set_timeout(Setting<Millis>& setting, const Raw& raw) {
    Setting<int> milliseconds;
    TRY_DO(set_integer(milliseconds, raw, 1000, 86'400'000, " milliseconds"));
    take(setting, Millis(milliseconds.value), raw);
    return {};
}

std::string joined(const std::vector<std::filesystem::path>& paths) {
    std::vector<std::string> texts;
    texts.reserve(paths.size());
    for (const auto& path : paths) texts.push_back(path.string());
    return fmt::format("{}", fmt::join(texts, ":"));
}

// One row for each setting: its names, how it is understood, how it is shown.
Result<std::string> gateway_policy(const Raw& raw, std::string_view text) {
    std::string name = to_lower_ascii(trim(text));
    constexpr std::array<std::string_view, 4> kPolicies{"observe", "advise", "fit", "enforce"};
    if (std::ranges::find(kPolicies, name) == kPolicies.end())
        return out_of_range(raw, fmt::format("one of {}", fmt::join(kPolicies, ", ")));
    return name;
}

Result<void> set_client_policies(Setting<std::map<std::string, std::string>>& setting,
                                 const Raw& raw) {
    std::map<std::string, std::string> policies;
    // A list of plimsoll.toml comes joined by colons.
    std::string text = raw.text;
    if (raw.origin == Origin::File) std::ranges::replace(text, ':', ',');
    for (const std::string_view one : split(text, ',')) {
        if (trim(one).empty()) continue;
        const std::size_t at = one.rfind('=');
        if (at == std::string_view::npos || trim(one.substr(0, at)).empty())
            return out_of_range(raw, "client_id=policy, separated by commas");
        TRY_ASSIGN(std::string policy, gateway_policy(raw, one.substr(at + 1)));
        policies.insert_or_assign(std::string(trim(one.substr(0, at))), std::move(policy));
    }
    take(setting, std::move(policies), raw);
    return {};
}

struct Key {
    const char* name;
    const char* environment;
    Result<void> (*set)(Config&, const Raw&);
    ConfigLine (*show)(const Config&);
};

template <class T>
ConfigLine line(const Setting<T>& setting, const std::string& value) {
    return {.key = {}, .environment = {}, .value = value, .source = setting.source};
}

std::string kept_text(int value, const char* unit) {
    return value == 0 ? "for ever" : fmt::format("{} {}", value, unit);
}

constexpr std::array kKeys{
    Key{"comfyui_server_url", "COMFYUI_SERVER_URL",
        [](Config& c, const Raw& raw) { return set_server_url(c.server_url, raw); },
        [](const Config& c) { return line(c.server_url, c.server_url.value); }},
    Key{"comfyui_port", "COMFYUI_PORT",
        [](Config& c, const Raw& raw) { return set_integer(c.port, raw, 1, 65535, ""); },
        [](const Config& c) { return line(c.port, fmt::format("{}", c.port.value)); }},
    Key{"comfyui_timeout", "COMFYUI_TIMEOUT",
        [](Config& c, const Raw& raw) { return set_timeout(c.timeout, raw); },
        [](const Config& c) {
            return line(c.timeout, fmt::format("{} ms", c.timeout.value.count));
        }},
    // 1 GiB is less than any UNet at full offload needs; 1 TiB is more than any card has.
    Key{"max_vram_mb", "MAX_VRAM_MB",
        [](Config& c, const Raw& raw) {
            return set_integer(c.max_vram_mb, raw, 1024, 1'048'576, " MiB");
        },
        [](const Config& c) {
            return line(c.max_vram_mb, fmt::format("{} MiB", c.max_vram_mb.value));
        }},
    Key{"max_duration_min", "MAX_DURATION_MIN",
        [](Config& c, const Raw& raw) {
            return set_number(c.max_duration_min, raw, 0.1, 1440, " minutes");
        },
        [](const Config& c) {
            return line(c.max_duration_min, fmt::format("{} min", c.max_duration_min.value));
        }},
    Key{"safety_margin", "SAFETY_MARGIN",
        [](Config& c, const Raw& raw) {
            return set_number(c.safety_margin, raw, 0, 0.9, " (0.15 keeps 15 % free)");
        },
        [](const Config& c) {
            return line(c.safety_margin, fmt::format("{}", c.safety_margin.value));
        }},
    Key{"home", "PLIMSOLL_HOME", [](Config& c, const Raw& raw) { return set_path(c.home, raw); },
        [](const Config& c) { return line(c.home, c.home.value.string()); }},
    Key{"output_dir", "PLIMSOLL_OUTPUT_DIR",
        [](Config& c, const Raw& raw) { return set_path(c.output_dir, raw); },
        [](const Config& c) { return line(c.output_dir, c.output_dir.value.string()); }},
    Key{"models_dir", "PLIMSOLL_MODELS_DIR",
        [](Config& c, const Raw& raw) { return set_paths(c.models_dirs, raw); },
        [](const Config& c) { return line(c.models_dirs, joined(c.models_dirs.value)); }},
    Key{"card", "PLIMSOLL_CARD", [](Config& c, const Raw& raw) { return set_text(c.card, raw); },
        [](const Config& c) { return line(c.card, c.card.value); }},
    Key{"comfyui_version", "PLIMSOLL_COMFYUI_VERSION",
        [](Config& c, const Raw& raw) { return set_text(c.comfyui_version, raw); },
        [](const Config& c) { return line(c.comfyui_version, c.comfyui_version.value); }},
    Key{"comfyui_flags", "PLIMSOLL_COMFYUI_FLAGS",
        [](Config& c, const Raw& raw) { return set_text(c.comfyui_flags, raw); },
        [](const Config& c) { return line(c.comfyui_flags, c.comfyui_flags.value); }},
    Key{"memory_policy", "PLIMSOLL_MEMORY_POLICY",
        [](Config& c, const Raw& raw) { return set_policy(c.memory_policy, raw); },
        [](const Config& c) { return line(c.memory_policy, c.memory_policy.value); }},
    Key{"learned", "PLIMSOLL_LEARNED",
        [](Config& c, const Raw& raw) { return set_flag(c.learned, raw); },
        [](const Config& c) { return line(c.learned, c.learned.value ? "on" : "off"); }},
    Key{"listen", "PLIMSOLL_LISTEN",
        [](Config& c, const Raw& raw) { return set_listen(c.listen, raw); },
        [](const Config& c) { return line(c.listen, c.listen.value); }},
    Key{"policy", "PLIMSOLL_POLICY",
        [](Config& c, const Raw& raw) -> Result<void> {
            TRY_ASSIGN(std::string name, gateway_policy(raw, raw.text));
            take(c.policy, std::move(name), raw);
            return {};
        },
        [](const Config& c) { return line(c.policy, c.policy.value); }},
    Key{"client_policies", "PLIMSOLL_CLIENT_POLICIES",
        [](Config& c, const Raw& raw) { return set_client_policies(c.client_policies, raw); },
        [](const Config& c) {
            std::string text;
            for (const auto& [client, policy] : c.client_policies.value)
                text += fmt::format("{}{}={}", text.empty() ? "" : ",", client, policy);
            return line(c.client_policies, text);
        }},
    Key{"comfyui_restart", "PLIMSOLL_COMFYUI_RESTART",
        [](Config& c, const Raw& raw) { return set_text(c.comfyui_restart, raw); },
        [](const Config& c) { return line(c.comfyui_restart, c.comfyui_restart.value); }},
    // Below room temperature no card is; above 110 none lives.
    Key{"target_celsius", "PLIMSOLL_TARGET_CELSIUS",
        [](Config& c, const Raw& raw) {
            return set_integer(c.target_celsius, raw, 0, 110, " °C (0: the card's own)");
        },
        [](const Config& c) {
            return line(c.target_celsius, c.target_celsius.value == 0
                                              ? "the card's own thresholds"
                                              : fmt::format("{} °C", c.target_celsius.value));
        }},
    Key{"gateway_listen", "PLIMSOLL_GATEWAY_LISTEN",
        [](Config& c, const Raw& raw) { return set_gateway_listen(c.gateway_listen, raw); },
        [](const Config& c) { return line(c.gateway_listen, c.gateway_listen.value); }},
    Key{"quality_run_when_idle", "PLIMSOLL_QUALITY_RUN_WHEN_IDLE",
        [](Config& c, const Raw& raw) { return set_flag(c.quality_run_when_idle, raw); },
        [](const Config& c) {
            return line(c.quality_run_when_idle, c.quality_run_when_idle.value ? "on" : "off");
        }},
    Key{"voter", "PLIMSOLL_VOTER",
        [](Config& c, const Raw& raw) -> Result<void> {
            if (trim(raw.text).size() > 64) return out_of_range(raw, "a name of at most 64 bytes");
            return set_text(c.voter, raw);
        },
        [](const Config& c) {
            return line(c.voter, c.voter.value.empty() ? "everybody" : c.voter.value);
        }},
    // A century, and more runs than SQLite's pages could hold.
    Key{"history_days", "PLIMSOLL_HISTORY_DAYS",
        [](Config& c, const Raw& raw) {
            return set_integer(c.history_days, raw, 0, 36'500, " (0: for ever)");
        },
        [](const Config& c) {
            return line(c.history_days, kept_text(c.history_days.value, "days"));
        }},
    Key{"history_runs", "PLIMSOLL_HISTORY_RUNS",
        [](Config& c, const Raw& raw) {
            return set_integer(c.history_runs, raw, 0, 2'000'000'000, " (0: for ever)");
        },
        [](const Config& c) {
            return line(c.history_runs, kept_text(c.history_runs.value, "runs"));
        }},
    Key{"pictures_days", "PLIMSOLL_PICTURES_DAYS",
        [](Config& c, const Raw& raw) {
            return set_integer(c.pictures_days, raw, 0, 36'500, " (0: for ever)");
        },
        [](const Config& c) {
            return line(c.pictures_days, kept_text(c.pictures_days.value, "days"));
        }},
};

std::string flag_name(std::string_view key) {
    std::string flag = "--" + std::string(key);
    std::ranges::replace(flag, '_', '-');
    return flag;
}

Result<std::filesystem::path> default_home(const ConfigInputs& inputs) {
    if (const auto data = inputs.environment("XDG_DATA_HOME"); data && data->starts_with('/'))
        return std::filesystem::path(*data) / "plimsoll";
    if (const auto home = inputs.environment("HOME"); home && !home->empty())
        return std::filesystem::path(*home) / ".local" / "share" / "plimsoll";
    return fail(Errc::InvalidInput,
                "neither HOME nor PLIMSOLL_HOME is set: set PLIMSOLL_HOME to a folder");
}

// A TOML value as the text that a flag would have; nullopt for tables and lists of others than
// text.
std::optional<std::string> text_of(const toml::node& node) {
    if (const auto text = node.value_exact<std::string>()) return text;
    if (const auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
    if (const auto integer = node.value_exact<std::int64_t>()) return fmt::format("{}", *integer);
    if (const auto number = node.value_exact<double>()) return fmt::format("{}", *number);
    if (const auto* const list = node.as_array()) {
        std::vector<std::string> parts;
        for (const auto& one : *list) {
            const auto text = one.value_exact<std::string>();
            if (!text) return std::nullopt;
            parts.push_back(*text);
        }
        return fmt::format("{}", fmt::join(parts, ":"));
    }
    return std::nullopt;
}

Result<toml::table> read_toml(const std::filesystem::path& path) {
    TRY_ASSIGN(const std::string text, read_text_file(path, kTomlBytesMax));
    try {
        return toml::parse(text, path.string());
    } catch (const toml::parse_error& thrown) {
        return fail(Errc::Corrupt, fmt::format("{}: line {}: {}", path.string(),
                                               thrown.source().begin.line, thrown.description()));
    }
}

// The values of the file by key; keys that nobody knows become warnings with the nearest name.
Result<std::map<std::string, Raw>> read_file_values(const std::filesystem::path& path,
                                                    Config& config) {
    std::map<std::string, Raw> values;
    TRY_ASSIGN(const toml::table table, read_toml(path));
    const std::vector<std::string> known = config_keys();
    for (const auto& [name, node] : table) {
        const std::string key(name.str());
        // service/profiles.h, service/quality/scorers/scorer.h
        if (key == "profile" || key == "scorer") continue;
        const std::string source = fmt::format("{} in {}", key, path.string());
        if (std::ranges::find(known, key) == known.end()) {
            config.warnings.push_back(
                say<"config.unknown_key">(source, nearest_names(key, known, 1).front()));
            continue;
        }
        const auto text = text_of(node);
        if (!text)
            return fail(Errc::InvalidInput,
                        fmt::format("{}: must be text, a number or a list of text", source));
        values[key] = {*text, Origin::File, source};
    }
    return values;
}

// A port inside the address counts unless COMFYUI_PORT comes from the same place or a higher one.
Result<void> settle_port(Config& config) {
    std::string& url = config.server_url.value;
    const std::size_t bracket = url.find(']');  // [::1]:8188
    const std::size_t colon =
        url.find(':', bracket == std::string::npos ? std::string_view("http://").size() : bracket);
    if (colon == std::string::npos) return {};
    const std::string digits = url.substr(colon + 1);
    url.resize(colon);
    Setting<int> port;
    TRY_DO(set_integer(
        port, {digits, config.server_url.origin, "the port in " + config.server_url.source}, 1,
        65535, ""));
    const bool port_given = config.port.origin != Origin::BuiltIn;
    if (!port_given || config.port.origin < config.server_url.origin) {
        config.port = port;
    } else if (config.port.value != port.value) {
        config.warnings.push_back(say<"config.two_ports">(config.server_url.source, port.value,
                                                          config.port.source, config.port.value));
    }
    return {};
}

}  // namespace

Result<ListenAddress> parse_listen(std::string_view text) {
    const std::string_view whole = trim(text);
    const std::size_t colon = whole.rfind(':');
    const auto refuse = [&] {
        return fail(Errc::InvalidInput,
                    fmt::format("'{}' is no address to listen on, such as 127.0.0.1:8190",
                                whole.substr(0, 80)));
    };
    if (colon == std::string_view::npos) return refuse();
    const auto port = parse_integer(whole.substr(colon + 1));
    if (!port || *port < 0 || *port > 65535) return refuse();
    std::string address(whole.substr(0, colon));
    if (address == "localhost") address = "127.0.0.1";
    const bool v6 = address.starts_with('[') && address.ends_with(']');
    if (v6) address = address.substr(1, address.size() - 2);
    std::array<unsigned char, 16> bytes{};
    if (::inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), bytes.data()) != 1) return refuse();
    constexpr std::array<unsigned char, 16> kOne{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return ListenAddress{.address = std::move(address),
                         .port = static_cast<int>(*port),
                         .is_loopback = v6 ? bytes == kOne : bytes[0] == 127};
}

std::string Config::base_url() const {
    return fmt::format("{}:{}", server_url.value, port.value);
}

bool Config::comfyui_is_here() const {
    std::string_view host = server_url.value;
    if (const auto scheme = host.find("://"); scheme != std::string_view::npos)
        host.remove_prefix(scheme + 3);
    const auto address = parse_listen(fmt::format("{}:0", host.substr(0, host.find('/'))));
    return address && address->is_loopback;
}

std::vector<std::string> config_keys() {
    std::vector<std::string> keys;
    keys.reserve(kKeys.size());
    for (const Key& key : kKeys) keys.emplace_back(key.name);
    return keys;
}

std::vector<ConfigLine> config_lines(const Config& config) {
    std::vector<ConfigLine> lines;
    for (const Key& key : kKeys) {
        ConfigLine one = key.show(config);
        one.key = key.name;
        one.environment = key.environment;
        lines.push_back(std::move(one));
    }
    return lines;
}

Result<Config> read_config(const ConfigInputs& inputs) {
    Config config;
    const auto given = [&](const Key& key) -> std::optional<Raw> {
        if (const auto flag = inputs.flags.find(key.name); flag != inputs.flags.end())
            return Raw{flag->second, Origin::Flag, flag_name(key.name)};
        // An empty variable is what `export MAX_VRAM_MB=` leaves: unset.
        if (const auto value = inputs.environment(key.environment); value && !value->empty())
            return Raw{*value, Origin::Environment, key.environment};
        return std::nullopt;
    };
    // The home is settled first: it says where the file may lie.
    const Key& home_key = *std::ranges::find(
        kKeys, std::string_view("home"), [](const Key& key) { return std::string_view(key.name); });
    if (const auto home = given(home_key)) {
        TRY_DO(home_key.set(config, *home));
    } else {
        TRY_ASSIGN(config.home.value, default_home(inputs));
    }
    std::map<std::string, Raw> from_file;
    for (const auto& folder : {inputs.working_dir, config.home.value}) {
        std::error_code error;
        if (!std::filesystem::is_regular_file(folder / kFileName, error)) continue;
        config.file = folder / kFileName;
        TRY_ASSIGN(from_file, read_file_values(*config.file, config));
        break;
    }
    for (const Key& key : kKeys) {
        auto raw = given(key);
        if (const auto found = from_file.find(key.name); !raw && found != from_file.end())
            raw = found->second;
        if (raw) TRY_DO(key.set(config, *raw));
    }
    TRY_DO(settle_port(config));
    if (config.output_dir.origin == Origin::BuiltIn)
        config.output_dir.value = config.home.value / "output";
    return config;
}

Result<Config> read_config_of_process(const std::map<std::string, std::string>& flags) {
    std::error_code error;
    return read_config({.flags = flags,
                        .environment = [](const std::string& name) -> std::optional<std::string> {
                            const char* const value = std::getenv(name.c_str());
                            if (value == nullptr) return std::nullopt;
                            return std::string(value);
                        },
                        .working_dir = std::filesystem::current_path(error)});
}

}  // namespace plimsoll::service
