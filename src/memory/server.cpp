// SPDX-License-Identifier: Apache-2.0
#include "memory/server.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace plimsoll::memory {

namespace {

constexpr double kReserveGibMax = 1024;  // chosen: above any card

// Flags of one group exclude each other: ComfyUI's argument parser refuses two of them.
enum class Group : std::uint8_t { None, Vram, Unet, Vae, TextEncoder, Attention, Malloc };

struct Switch {
    std::string_view name;
    Group group;
    void (*set)(LaunchFlags&);
};

constexpr auto kNothing = [](LaunchFlags&) {};

constexpr std::array<Switch, 39> kSwitches = {{
    {"--gpu-only", Group::Vram, [](LaunchFlags& f) { f.vram = VramState::GpuOnly; }},
    {"--highvram", Group::Vram, [](LaunchFlags& f) { f.vram = VramState::High; }},
    {"--normalvram", Group::Vram, kNothing},
    {"--lowvram", Group::Vram, [](LaunchFlags& f) { f.vram = VramState::Low; }},
    {"--novram", Group::Vram, [](LaunchFlags& f) { f.vram = VramState::None; }},
    {"--cpu", Group::Vram, [](LaunchFlags& f) { f.vram = VramState::Cpu; }},
    {"--disable-smart-memory", Group::None, [](LaunchFlags& f) { f.disable_smart_memory = true; }},
    {"--async-offload", Group::None, [](LaunchFlags& f) { f.async_offload = true; }},
    {"--disable-async-offload", Group::None, [](LaunchFlags& f) { f.async_offload = false; }},
    {"--cuda-malloc", Group::Malloc, [](LaunchFlags& f) { f.cuda_malloc = true; }},
    {"--disable-cuda-malloc", Group::Malloc, [](LaunchFlags& f) { f.cuda_malloc = false; }},
    {"--cache-none", Group::None, [](LaunchFlags& f) { f.keeps_outputs = false; }},
    {"--force-fp32", Group::None, [](LaunchFlags& f) { f.force_fp32 = true; }},
    {"--force-fp16", Group::None, [](LaunchFlags& f) { f.force_fp16 = true; }},
    {"--fp32-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Fp32; }},
    {"--fp64-unet", Group::Unet, kNothing},
    {"--fp16-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Fp16; }},
    {"--bf16-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Bf16; }},
    {"--fp8_e4m3fn-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Fp8E4M3; }},
    {"--fp8_e5m2-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Fp8E5M2; }},
    {"--fp8_e8m0fnu-unet", Group::Unet, [](LaunchFlags& f) { f.unet = DTypeChoice::Fp8E4M3; }},
    {"--fp16-vae", Group::Vae, [](LaunchFlags& f) { f.vae = DTypeChoice::Fp16; }},
    {"--fp32-vae", Group::Vae, [](LaunchFlags& f) { f.vae = DTypeChoice::Fp32; }},
    {"--bf16-vae", Group::Vae, [](LaunchFlags& f) { f.vae = DTypeChoice::Bf16; }},
    {"--cpu-vae", Group::None, [](LaunchFlags& f) { f.cpu_vae = true; }},
    {"--fp8_e4m3fn-text-enc", Group::TextEncoder,
     [](LaunchFlags& f) { f.text_encoder = DTypeChoice::Fp8E4M3; }},
    {"--fp8_e5m2-text-enc", Group::TextEncoder,
     [](LaunchFlags& f) { f.text_encoder = DTypeChoice::Fp8E5M2; }},
    {"--fp16-text-enc", Group::TextEncoder,
     [](LaunchFlags& f) { f.text_encoder = DTypeChoice::Fp16; }},
    {"--bf16-text-enc", Group::TextEncoder,
     [](LaunchFlags& f) { f.text_encoder = DTypeChoice::Bf16; }},
    {"--fp32-text-enc", Group::TextEncoder,
     [](LaunchFlags& f) { f.text_encoder = DTypeChoice::Fp32; }},
    {"--use-split-cross-attention", Group::Attention,
     [](LaunchFlags& f) { f.split_or_quad_attention = true; }},
    {"--use-quad-cross-attention", Group::Attention,
     [](LaunchFlags& f) { f.split_or_quad_attention = true; }},
    {"--use-pytorch-cross-attention", Group::Attention, kNothing},
    {"--use-sage-attention", Group::Attention, kNothing},
    {"--use-flash-attention", Group::Attention, kNothing},
    {"--force-upcast-attention", Group::None, kNothing},
    {"--dont-upcast-attention", Group::None, kNothing},
    {"--enable-dynamic-vram", Group::None, [](LaunchFlags& f) { f.dynamic_vram = true; }},
    {"--disable-dynamic-vram", Group::None, [](LaunchFlags& f) { f.dynamic_vram = false; }},
}};

bool has(std::span<const std::string_view> given, std::string_view name) {
    return std::ranges::find(given, name) != given.end();
}

void find_dead(std::span<const std::string_view> given, LaunchFlags& flags) {
    const auto dead = [&](std::string_view name, bool without_effect, std::string_view why) {
        if (without_effect && has(given, name))
            flags.dead.push_back(fmt::format("{} ({})", name, why));
    };
    const bool whole = flags.vram == VramState::High || flags.vram == VramState::GpuOnly;
    dead("--normalvram", true, "it is the default");
    dead("--force-upcast-attention", !flags.split_or_quad_attention,
         "the attention in use ignores it");
    dead("--dont-upcast-attention", !flags.split_or_quad_attention,
         "the attention in use ignores it");
    dead("--async-offload", whole, "nothing is streamed when models load whole");
    dead("--force-fp16", has(given, "--force-fp32"), "--force-fp32 forbids it");
    if (flags.reserve_vram && whole)
        flags.dead.emplace_back("--reserve-vram (models load whole, whatever is reserved)");
}

void find_contradictions(std::span<const Switch* const> used, LaunchFlags& flags) {
    for (std::size_t i = 0; i < used.size(); ++i)
        for (std::size_t j = i + 1; j < used.size(); ++j)
            if (used[i]->group != Group::None && used[i]->group == used[j]->group &&
                used[i]->name != used[j]->name)
                flags.contradictions.push_back(fmt::format("{} and {}: ComfyUI takes one of them",
                                                           used[i]->name, used[j]->name));
    if (flags.force_fp16 && flags.force_fp32)
        flags.contradictions.emplace_back("--force-fp16 and --force-fp32: keep one of them");
    if (flags.vram == VramState::Low && flags.disable_smart_memory) return;  // both lower the peak
    if (flags.vram == VramState::High && flags.disable_smart_memory)
        flags.contradictions.emplace_back(
            "--highvram and --disable-smart-memory: one keeps models on the card, the other makes "
            "them leave");
}

Result<Bytes> parse_reserve(std::string_view flag, std::string_view text) {
    const auto gib = parse_number(text);
    if (!gib || *gib < 0 || *gib > kReserveGibMax)
        return fail(Errc::InvalidInput, fmt::format("{} is '{}': must be GiB from 0 to {}", flag,
                                                    text.substr(0, 40), kReserveGibMax));
    return Bytes::from_gib(*gib);
}

}  // namespace

Result<ComfyVersion> parse_comfy_version(std::string_view text) {
    std::string_view rest = trim(text);
    if (rest.starts_with('v')) rest.remove_prefix(1);
    const std::vector<std::string_view> parts = split(rest, '.');
    std::array<int, 3> numbers{};
    bool sound = parts.size() == 2 || parts.size() == numbers.size();
    for (std::size_t i = 0; sound && i < parts.size(); ++i) {
        // "0.33.0rc1" and "0.3.64+dirty" are 0.33.0 and 0.3.64.
        const bool last = i + 1 == parts.size();
        const std::size_t digits =
            std::min(parts[i].find_first_not_of("0123456789"), parts[i].size());
        const auto number = parse_integer(parts[i].substr(0, digits));
        constexpr long long kPartMax = 9999;
        sound = number && *number <= kPartMax && (last || digits == parts[i].size());
        if (sound) numbers[i] = static_cast<int>(*number);
    }
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("'{}' is no ComfyUI version: must be like 0.3.64", text.substr(0, 40)));
    return ComfyVersion{numbers[0], numbers[1], numbers[2]};
}

Result<LaunchFlags> parse_launch_flags(const std::vector<std::string>& argv) {
    LaunchFlags flags;
    std::vector<std::string_view> given;
    std::vector<const Switch*> used;
    for (std::size_t i = 0; i < argv.size(); ++i) {
        const std::string_view word = argv[i];
        const std::size_t equals = word.find('=');
        const std::string_view name = word.substr(0, equals);
        if (name == "--reserve-vram" || name == "--vram-headroom") {
            const bool inside = equals != std::string_view::npos;
            if (!inside && i + 1 == argv.size())
                return fail(Errc::InvalidInput,
                            fmt::format("{} needs a number of GiB after it", name));
            TRY_ASSIGN(const Bytes kept, parse_reserve(name, inside ? word.substr(equals + 1)
                                                                    : std::string_view(argv[++i])));
            if (name == "--reserve-vram")
                flags.reserve_vram = kept;
            else
                flags.vram_headroom = kept;
            given.push_back(name);
            continue;
        }
        const auto known = std::ranges::find(kSwitches, name, &Switch::name);
        if (known == kSwitches.end()) {
            if (word.starts_with("--")) flags.other.emplace_back(word);
            continue;
        }
        known->set(flags);
        given.push_back(known->name);
        used.push_back(&*known);
    }
    find_dead(given, flags);
    find_contradictions(used, flags);
    return flags;
}

MemoryPolicy memory_policy(const Server& server, const Device& device) {
    if (server.policy) return *server.policy;
    if (server.flags.dynamic_vram) {
        return *server.flags.dynamic_vram ? MemoryPolicy::Dynamic : MemoryPolicy::Estimate;
    }
    const VramState vram = server.flags.vram;
    const bool may =
        (vram == VramState::Normal || vram == VramState::Low) && !server.flags.disable_smart_memory;
    const bool supported = device.vendor == Vendor::Nvidia && server.version >= kDynamicByDefault;
    return may && supported ? MemoryPolicy::Dynamic : MemoryPolicy::Estimate;
}

bool copies_ahead(const Server& server, const Device& device) {
    constexpr ComfyVersion kByDefault{.major = 0, .minor = 12, .patch = 0};  // or somewhat before
    const bool can = device.vendor == Vendor::Nvidia || device.vendor == Vendor::Amd;
    return server.flags.async_offload.value_or(can && server.version >= kByDefault);
}

}  // namespace plimsoll::memory
