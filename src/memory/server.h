// SPDX-License-Identifier: Apache-2.0
//
// Where a program runs: the ComfyUI server (version, flags) and the card. Inputs of every memory
// decision. Plain values.
#pragma once
#include "base/error.h"
#include "base/units.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct ComfyVersion {
    int major = 0;
    int minor = 3;
    int patch = 64;
    auto operator<=>(const ComfyVersion&) const = default;
};
// The version whose recordings show the newer numbers of ComfyUI's tables (usage factors, VAE
// estimates); one in between has the older.
inline constexpr ComfyVersion kNewerTables{0, 33, 0};
// "0.3.64" or "0.33.0"; InvalidInput otherwise.
[[nodiscard]] Result<ComfyVersion> parse_comfy_version(std::string_view text);

enum class VramState : std::uint8_t { Normal, Low, None, High, GpuOnly, Cpu };
enum class DTypeChoice : std::uint8_t { Auto, Fp32, Fp16, Bf16, Fp8E4M3, Fp8E5M2 };
enum class MemoryPolicy : std::uint8_t { Estimate, Dynamic };

// ComfyUI's command line as far as it touches memory; parsed from system_stats.argv or
// --comfyui-flags.
struct LaunchFlags {
    VramState vram = VramState::Normal;
    std::optional<Bytes> reserve_vram;  // --reserve-vram G
    // --vram-headroom G: more that dynamic VRAM leaves free.
    Bytes vram_headroom = {};  // NOLINT(readability-redundant-member-init)
    bool disable_smart_memory = false;
    bool cpu_vae = false;
    bool split_or_quad_attention =
        false;  // --use-split-cross-attention, --use-quad-cross-attention
    // --async-offload, --disable-async-offload.
    std::optional<bool> async_offload = {};  // NOLINT(readability-redundant-member-init)
    std::optional<bool> dynamic_vram;        // --enable-dynamic-vram, --disable-dynamic-vram
    bool cuda_malloc = true;                 // --disable-cuda-malloc clears it
    bool keeps_outputs = true;               // --cache-none clears it
    bool force_fp32 = false;
    bool force_fp16 = false;
    DTypeChoice unet = DTypeChoice::Auto;
    DTypeChoice vae = DTypeChoice::Auto;
    DTypeChoice text_encoder = DTypeChoice::Auto;
    std::vector<std::string> dead;  // accepted by ComfyUI but without effect: "--normalvram"
    std::vector<std::string> contradictions;  // "--lowvram and --highvram: ..."
    std::vector<std::string> other;           // not about memory, kept for doctor
    friend bool operator==(const LaunchFlags&, const LaunchFlags&) = default;
};
// Never fails on unknown flags (they go to `other`); fails with InvalidInput on a malformed value
// of a known one.
[[nodiscard]] Result<LaunchFlags> parse_launch_flags(const std::vector<std::string>& argv);

enum class Vendor : std::uint8_t { Nvidia, Amd, Intel, Apple, Cpu };
enum class OperatingSystem : std::uint8_t { Linux, Windows, MacOs };

struct Server {
    ComfyVersion version;
    LaunchFlags flags;
    std::optional<MemoryPolicy> policy;  // nullopt: chosen from version, flags, vendor
    friend bool operator==(const Server&, const Server&) = default;
};

struct Device {
    std::string name;  // "NVIDIA GeForce RTX 3050 6GB"
    Vendor vendor = Vendor::Nvidia;
    OperatingSystem os = OperatingSystem::Linux;
    Bytes total;           // as cudaMemGetInfo reports it
    Bytes used_by_others;  // context, desktop, other programs: everything outside torch's allocator
    int compute_capability = 86;  // NVIDIA: 10 x major + minor
    Bytes host_ram_free = Bytes::from_gib(16);
    bool host_ram_known = false;  // rather than assumed
};

// The first release that pages weights on use by default (the change was merged at 0.15.0,
// 2026-02).
inline constexpr ComfyVersion kDynamicByDefault{.major = 0, .minor = 16, .patch = 0};
// What the server itself would choose, unless `policy` says it.
[[nodiscard]] MemoryPolicy memory_policy(const Server& server, const Device& device);
// Whether the weights that a module will need are copied while the one before it computes: two
// streams, by default since ComfyUI keeps room for such copies, on cards of NVIDIA and AMD.
[[nodiscard]] bool copies_ahead(const Server& server, const Device& device);

}  // namespace plimsoll::memory
