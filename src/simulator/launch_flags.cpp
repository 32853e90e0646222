// SPDX-License-Identifier: Apache-2.0
#include "simulator/launch_flags.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::simulator {

namespace {

// Flags of comfy/cli_args.py that are accepted and change nothing that the simulator has.
constexpr std::array<std::string_view, 38> kSilent{"--auto-launch",
                                                   "--disable-auto-launch",
                                                   "--cuda-malloc",
                                                   "--disable-cuda-malloc",
                                                   "--force-fp16",
                                                   "--fp32-unet",
                                                   "--bf16-unet",
                                                   "--fp16-unet",
                                                   "--fp64-unet",
                                                   "--fp8_e4m3fn-unet",
                                                   "--fp8_e5m2-unet",
                                                   "--fp8_e8m0fnu-unet",
                                                   "--fp8_e4m3fn-text-enc",
                                                   "--fp8_e5m2-text-enc",
                                                   "--fp16-text-enc",
                                                   "--fp32-text-enc",
                                                   "--bf16-text-enc",
                                                   "--force-channels-last",
                                                   "--use-pytorch-cross-attention",
                                                   "--use-sage-attention",
                                                   "--use-flash-attention",
                                                   "--disable-xformers",
                                                   "--force-upcast-attention",
                                                   "--dont-upcast-attention",
                                                   "--async-offload",
                                                   "--deterministic",
                                                   "--disable-metadata",
                                                   "--disable-all-custom-nodes",
                                                   "--disable-api-nodes",
                                                   "--multi-user",
                                                   "--dont-print-server",
                                                   "--quick-test-for-ci",
                                                   "--windows-standalone-build",
                                                   "--mmap-torch-files",
                                                   "--disable-mmap",
                                                   "--log-stdout",
                                                   "--cache-classic",
                                                   "--enable-compress-response-body"};
// The same, followed by one value.
constexpr std::array<std::string_view, 22> kSilentWithValue{"--listen",
                                                            "--port",
                                                            "--tls-keyfile",
                                                            "--tls-certfile",
                                                            "--base-directory",
                                                            "--extra-model-paths-config",
                                                            "--output-directory",
                                                            "--temp-directory",
                                                            "--input-directory",
                                                            "--cuda-device",
                                                            "--default-device",
                                                            "--directml",
                                                            "--oneapi-device-selector",
                                                            "--preview-size",
                                                            "--cache-lru",
                                                            "--default-hashing-function",
                                                            "--fast",
                                                            "--front-end-version",
                                                            "--front-end-root",
                                                            "--user-directory",
                                                            "--database-url",
                                                            "--verbose"};

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& all, std::string_view flag) {
    return std::ranges::find(all, flag) != all.end();
}

// The flags without a value that act. False when the flag is not one of them.
bool set_switch(LaunchFlags& flags, std::string_view flag) {
    if (flag == "--lowvram")
        flags.vram_state = VramState::LowVram;
    else if (flag == "--novram")
        flags.vram_state = VramState::NoVram;
    else if (flag == "--highvram")
        flags.vram_state = VramState::HighVram;
    else if (flag == "--normalvram")
        flags.vram_state = VramState::Normal;
    else if (flag == "--cpu")
        flags.vram_state = VramState::Cpu;
    else if (flag == "--gpu-only") {
        flags.vram_state = VramState::HighVram;
        flags.gpu_only = true;
    } else if (flag == "--disable-smart-memory")
        flags.smart_memory = false;
    else if (flag == "--cpu-vae")
        flags.cpu_vae = true;
    else if (flag == "--fp32-vae")
        flags.vae_element_bytes = 4;
    else if (flag == "--fp16-vae" || flag == "--bf16-vae")
        flags.vae_element_bytes = 2;
    else if (flag == "--force-fp32")
        flags.fp32 = true;
    else if (flag == "--use-split-cross-attention" || flag == "--use-quad-cross-attention")
        flags.split_attention = true;
    else if (flag == "--cache-none")
        flags.cache_none = true;
    else
        return false;
    return true;
}

}  // namespace

Result<LaunchFlags> parse_launch_flags(std::string_view text) {
    LaunchFlags flags;
    for (const std::string_view word : split(text, ' '))
        if (!trim(word).empty()) flags.argv.emplace_back(trim(word));
    for (std::size_t i = 0; i < flags.argv.size(); ++i) {
        const std::string flag = flags.argv[i];
        if (set_switch(flags, flag) || one_of(kSilent, flag)) continue;
        const bool has_value = i + 1 < flags.argv.size() && !flags.argv[i + 1].starts_with("--");
        const auto number = has_value ? parse_number(flags.argv[i + 1]) : std::nullopt;
        if (one_of(kSilentWithValue, flag) || flag == "--enable-cors-header") {
            if (has_value) ++i;
        } else if (flag == "--reserve-vram" || flag == "--max-upload-size") {
            if (!number || *number < 0 || *number > 1e6)
                return fail(Errc::InvalidInput,
                            fmt::format("{} needs a number from 0 to 1000000", flag));
            (flag == "--reserve-vram" ? flags.reserve_vram_gib : flags.max_upload_mib) = number;
            ++i;
        } else if (flag == "--preview-method") {
            constexpr std::array<std::string_view, 4> kMethods{"none", "auto", "latent2rgb",
                                                               "taesd"};
            if (!has_value || !one_of(kMethods, flags.argv[i + 1]))
                return fail(Errc::InvalidInput,
                            "--preview-method is one of none, auto, latent2rgb, taesd");
            // auto and taesd need TAESD files that the simulated server does not have: both fall
            // back to latent2rgb, as ComfyUI does.
            flags.preview =
                flags.argv[i + 1] == "none" ? PreviewMethod::None : PreviewMethod::Latent2Rgb;
            ++i;
        } else {
            return fail(Errc::InvalidInput, fmt::format("ComfyUI 0.3.64 has no flag '{}'", flag));
        }
    }
    return flags;
}

}  // namespace plimsoll::simulator
