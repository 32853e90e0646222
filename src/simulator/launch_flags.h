// SPDX-License-Identifier: Apache-2.0
//
// The flags of ComfyUI's command line that the simulator obeys. They are given as one text, as a
// person would type them behind `main.py`.
//
// Enters through: text.   Leaves through: LaunchFlags.   Threads: no shared state.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

enum class VramState { Cpu, NoVram, LowVram, Normal, HighVram };
enum class PreviewMethod { None, Latent2Rgb };

struct LaunchFlags {
    std::vector<std::string> argv;  // all words, without main.py
    VramState vram_state = VramState::Normal;
    bool gpu_only = false;
    std::optional<double> reserve_vram_gib;
    bool smart_memory = true;
    bool cpu_vae = false;
    int vae_element_bytes = 0;  // 0: ComfyUI decides by the card
    bool fp32 = false;          // --force-fp32
    bool split_attention = false;
    PreviewMethod preview = PreviewMethod::None;
    // As /features shows it: a float when the flag was given, an integer otherwise.
    std::optional<double> max_upload_mib;
    bool cache_none = false;

    [[nodiscard]] std::uint64_t upload_bytes_max() const {
        return static_cast<std::uint64_t>(max_upload_mib.value_or(100) * 1048576.0);
    }
};

// InvalidInput for a flag that ComfyUI 0.3.64 does not have, or a value it would refuse. Flags that
// exist and change nothing here are accepted and shown in argv.
[[nodiscard]] Result<LaunchFlags> parse_launch_flags(std::string_view text);

}  // namespace plimsoll::simulator
