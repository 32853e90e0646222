// SPDX-License-Identifier: Apache-2.0
#include "service/site.h"

#include "base/say.h"
#include "service/launch.h"
#include "timing/cards.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr double kVramMbMin = 1024;  // chosen: below, not even the driver's share and one layer fit
constexpr double kVramMbMax = 1'048'576;  // 1 TiB

memory::OperatingSystem system_of(std::string_view os) {
    if (os == "nt" || os == "win32") return memory::OperatingSystem::Windows;
    if (os == "darwin") return memory::OperatingSystem::MacOs;
    return memory::OperatingSystem::Linux;
}

// What configuration says about the server goes over what the server says: for what-if questions.
Result<void> apply_config(const Config& config, Site& site, const std::vector<std::string>& argv) {
    const bool own_flags = !config.comfyui_flags.value.empty();
    TRY_ASSIGN(site.server.flags,
               memory::parse_launch_flags(own_flags ? words_of(config.comfyui_flags.value) : argv));
    if (!config.comfyui_version.value.empty()) {
        TRY_ASSIGN(site.server.version, memory::parse_comfy_version(config.comfyui_version.value));
    }
    if (config.memory_policy.value == "estimate")
        site.server.policy = memory::MemoryPolicy::Estimate;
    if (config.memory_policy.value == "dynamic") site.server.policy = memory::MemoryPolicy::Dynamic;
    for (const std::string& flag : site.server.flags.dead)
        site.warnings.push_back(say<"note.dead_flag">(flag));
    for (const std::string& pair : site.server.flags.contradictions)
        site.warnings.push_back(say<"note.contradiction">(pair));
    return {};
}

Result<void> apply_vram(const SiteWishes& wishes, Site& site) {
    if (!wishes.vram_mb) return {};
    if (!(*wishes.vram_mb >= kVramMbMin && *wishes.vram_mb <= kVramMbMax))
        return fail(Errc::InvalidInput, fmt::format("--vram-mb is {}: must be from {} to {} MiB",
                                                    *wishes.vram_mb, kVramMbMin, kVramMbMax));
    site.device.total = Bytes::from_mib(*wishes.vram_mb);
    site.where = say<"place.with">(std::move(site.where), site.device.total);
    return {};
}

Result<Site> site_of_card(const Config& config, const SiteWishes& wishes, const std::string& name) {
    Site site;
    TRY_ASSIGN(const timing::Card* const card, timing::find_card(name));
    site.card = *card;
    site.device = timing::device_from(*card);
    site.card_name = card->key;
    site.where = say<"place.card">(card->key);
    TRY_DO(apply_config(config, site, {}));
    TRY_DO(apply_vram(wishes, site));
    return site;
}

}  // namespace

std::string Site::card_in_history() const {
    return kind.empty() ? card_name : fmt::format("{} ({})", card_name, kind);
}

Result<Site> site_of_stats(const Config& config, const SiteWishes& wishes, const ServerStats& stats,
                           const std::string& address) {
    Site site;
    site.from_comfyui = true;
    site.where = stats.comfyui_version.empty()
                     ? say<"place.comfyui_odd">(address)
                     : say<"place.comfyui">(stats.comfyui_version, address);
    if (auto version = memory::parse_comfy_version(stats.comfyui_version))
        site.server.version = *version;
    else
        site.warnings.push_back(say<"note.version">(stats.comfyui_version));
    if (stats.devices.empty())
        return fail(Errc::Unavailable, fmt::format("{} names no device", site.where.message()));
    const DeviceStats& device = stats.devices.front();
    const auto card = timing::find_card(device.name, device.vram_total);
    if (card) {
        site.card = **card;
    } else {
        TRY_ASSIGN(const timing::Card* const reference, timing::find_card(kReferenceCard));
        site.card = *reference;
        site.warnings.push_back(say<"note.card">(device.name, kReferenceCard));
    }
    site.card_name = card ? site.card.key : device.name;
    site.device = timing::device_from(site.card, system_of(stats.os));
    site.device.name = device.name;
    if (device.type == "cpu") site.device.vendor = memory::Vendor::Cpu;
    if (device.type == "mps") site.device.vendor = memory::Vendor::Apple;
    site.device.total = device.vram_total;
    // Outside torch: everything that the driver counts as taken less what torch has reserved.
    const Bytes others = device.used() - device.torch_total;
    if (device.type != "cpu" && others > Bytes(0)) site.device.used_by_others = others;
    // Before its first job torch has no context on the card yet: the job will bring it.
    if (device.torch_total == Bytes(0) && card)
        site.device.used_by_others =
            std::max(site.device.used_by_others, timing::context_bytes(site.card));
    if (stats.ram_free > Bytes(0)) {
        site.device.host_ram_free = stats.ram_free;
        site.device.host_ram_known = true;
    }
    TRY_DO(apply_config(config, site, stats.argv));
    TRY_DO(apply_vram(wishes, site));
    return site;
}

Result<Site> find_site(const Config& config, const SiteWishes& wishes, Upstream* upstream) {
    if (!config.card.value.empty()) return site_of_card(config, wishes, config.card.value);
    Error unreachable{Errc::Unavailable, "no server was asked"};
    // A size without a card is a question about another machine: its server is not asked.
    if (upstream != nullptr && wishes.ask_comfyui && !wishes.vram_mb) {
        const auto stats = upstream->read_stats();
        if (stats) return site_of_stats(config, wishes, *stats, upstream->address());
        unreachable = stats.error();
    }
    TRY_ASSIGN(Site site, site_of_card(config, wishes, kReferenceCard));
    if (wishes.vram_mb) {
        site.warnings.push_back(say<"note.no_card">(kReferenceCard));
        return site;
    }
    site.warnings.push_back(say<"note.no_comfyui">(unreachable.message, kReferenceCard));
    return site;
}

Result<advisor::Budget> budget_of(const Config& config) {
    return advisor::make_budget(config.max_vram_mb.value, config.safety_margin.value,
                                config.max_duration_min.value);
}

advisor::Forecaster forecaster_of(const Site& site, const Job& job) {
    return advisor::make_forecaster({.files = job.files,
                                     .server = site.server,
                                     .device = site.device,
                                     .card = site.card,
                                     .media = job.media,
                                     .paces = site.paces,
                                     .family = job.family});
}

}  // namespace plimsoll::service
