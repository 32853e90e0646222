// SPDX-License-Identifier: Apache-2.0
//
// Configuration: flags over environment over plimsoll.toml over built-in values. Every value
// remembers where it came from, so that doctor can say so; a bad value is an error that names the
// variable and its range, never a silent default.
//
// plimsoll.toml is looked up in the working folder, then in $PLIMSOLL_HOME. Its keys are the names
// of `Key` below; model folders are `models_dir` (a path or a list of paths), profiles are
// [[profile]] tables (service/profiles.h).
//
// Enters through: ConfigInputs, a TOML file.   Leaves through: Config.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "base/units.h"

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

enum class Origin : std::uint8_t { BuiltIn, File, Environment, Flag };

// A value and where it came from: "built-in", "plimsoll.toml: max_vram_mb", "MAX_VRAM_MB",
// "--max-vram-mb".
template <class T>
struct Setting {
    T value{};
    Origin origin = Origin::BuiltIn;
    std::string source = "built-in";
};

struct Config {
    Setting<std::string> server_url{"http://localhost"};  // COMFYUI_SERVER_URL; http only
    Setting<int> port{8188};                              // COMFYUI_PORT
    Setting<Millis> timeout{Millis(1'200'000)};           // COMFYUI_TIMEOUT
    Setting<int> max_vram_mb{5120};                       // MAX_VRAM_MB, in MiB
    Setting<double> max_duration_min{30};                 // MAX_DURATION_MIN
    Setting<double> safety_margin{0.15};                  // SAFETY_MARGIN
    Setting<std::filesystem::path> home;                  // PLIMSOLL_HOME
    Setting<std::filesystem::path> output_dir;  // PLIMSOLL_OUTPUT_DIR; built-in: <home>/output
    Setting<std::vector<std::filesystem::path>>
        models_dirs;                       // PLIMSOLL_MODELS_DIR, folders separated by ':'
    Setting<std::string> card;             // PLIMSOLL_CARD; empty: ask ComfyUI
    Setting<std::string> comfyui_version;  // PLIMSOLL_COMFYUI_VERSION; empty: ask ComfyUI
    Setting<std::string> comfyui_flags;  // PLIMSOLL_COMFYUI_FLAGS; used where ComfyUI is not asked
    Setting<std::string> memory_policy;  // PLIMSOLL_MEMORY_POLICY: "", "estimate", "dynamic"
    // PLIMSOLL_LEARNED: seconds by what this machine's own runs took; off: by the table alone
    Setting<bool> learned{true};

    Setting<std::string> listen{"127.0.0.1:8190"};  // PLIMSOLL_LISTEN; of the daemon
    // PLIMSOLL_GATEWAY_LISTEN; where ComfyUI's clients may come instead; "off": nowhere
    Setting<std::string> gateway_listen{"127.0.0.1:8189"};

    // Of prompts that come through the gateway.
    Setting<std::string> policy{"fit"};  // PLIMSOLL_POLICY: observe, advise, fit, enforce
    Setting<std::map<std::string, std::string>>
        client_policies;  // PLIMSOLL_CLIENT_POLICIES: client_id=policy, separated by commas
    Setting<std::string> comfyui_restart;  // PLIMSOLL_COMFYUI_RESTART: a command; empty: none may
    Setting<int> target_celsius{0};        // PLIMSOLL_TARGET_CELSIUS; 0: the card's own thresholds

    // PLIMSOLL_QUALITY_RUN_WHEN_IDLE: tests that the lab proposes for models it never saw are drawn
    // without asking, while the card is idle.
    Setting<bool> quality_run_when_idle{false};
    Setting<std::string> voter;  // PLIMSOLL_VOTER: whose blind votes weigh; empty: everybody's

    // What history keeps; 0: for ever. Runs beyond any of the limits go, their statistics stay.
    Setting<int> history_days{0};   // PLIMSOLL_HISTORY_DAYS
    Setting<int> history_runs{0};   // PLIMSOLL_HISTORY_RUNS
    Setting<int> pictures_days{0};  // PLIMSOLL_PICTURES_DAYS; files in output_dir

    std::optional<std::filesystem::path> file;  // the plimsoll.toml that was read
    Phrases warnings;                           // unknown keys, a port given twice

    // http://host:port, without a path.
    [[nodiscard]] std::string base_url() const;
    // Does `server_url` name this machine itself?
    [[nodiscard]] bool comfyui_is_here() const;
    [[nodiscard]] std::filesystem::path history_file() const { return home.value / "history.db"; }
};

// "127.0.0.1:8190", "localhost:0", "[::1]:8190" as an address in digits and a port.
struct ListenAddress {
    std::string address;
    int port = 0;
    bool is_loopback = false;  // nobody beyond this machine reaches it
};
[[nodiscard]] Result<ListenAddress> parse_listen(std::string_view text);

struct ConfigInputs {
    std::map<std::string, std::string>
        flags;  // by key: {"max_vram_mb", "4096"} for --max-vram-mb 4096
    std::function<std::optional<std::string>(const std::string&)> environment;
    std::filesystem::path working_dir;
};

// One line for each setting, for doctor and --help.
struct ConfigLine {
    std::string key;          // "max_vram_mb"
    std::string environment;  // "MAX_VRAM_MB"
    std::string value;
    std::string source;
};

// InvalidInput names the value, its source and the range; Corrupt a TOML file that cannot be
// parsed, with its line.
[[nodiscard]] Result<Config> read_config(const ConfigInputs& inputs);

// With the process's environment and working folder.
[[nodiscard]] Result<Config> read_config_of_process(
    const std::map<std::string, std::string>& flags);

[[nodiscard]] std::vector<ConfigLine> config_lines(const Config& config);

// Names that a flag or plimsoll.toml may set.
[[nodiscard]] std::vector<std::string> config_keys();

}  // namespace plimsoll::service
