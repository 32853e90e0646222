// SPDX-License-Identifier: Apache-2.0
//
// Where jobs run and within which limits. What is left open comes from the environment
// (COMFYUI_SERVER_URL, MAX_VRAM_MB...), then from plimsoll.toml, then from built-in values: the
// same rules and names as for the program. Plain values.
#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll {

struct Options {
    // ComfyUI
    std::optional<std::string> server_url;  // "http://localhost"
    std::optional<int> port;                // 8188
    std::optional<std::chrono::milliseconds> timeout;
    bool ask_comfyui = true;  // false: no server is asked where a job would run

    // The load line is max_vram_mb x (1 - safety_margin), in MiB.
    std::optional<int> max_vram_mb;          // 5120
    std::optional<double> safety_margin;     // 0.15
    std::optional<double> max_duration_min;  // 30

    // What-if: instead of the card, version and flags of the running server.
    std::optional<std::string> card;  // "rtx3050-6gb", or a driver's name of a card
    std::optional<double> vram_mb;    // a card of that size, in MiB
    std::optional<std::string> comfyui_version;
    std::optional<std::string> comfyui_flags;  // "--lowvram --reserve-vram 1"
    std::optional<std::string> memory_policy;  // "estimate", "dynamic"

    // Folders
    std::optional<std::filesystem::path> home;        // history, presets
    std::optional<std::filesystem::path> output_dir;  // pictures
    std::vector<std::filesystem::path> models_dirs;   // empty: as configured
};

}  // namespace plimsoll
