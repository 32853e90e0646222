// SPDX-License-Identifier: Apache-2.0
#include "telemetry/drm/drm_clients.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

namespace plimsoll::telemetry {

namespace {

// "123", "123 KiB", "123 MiB"; amdgpu once wrote kB for KiB. Without a unit: bytes.
std::optional<Bytes> parse_quantity(std::string_view text) {
    const auto space = text.find(' ');
    const auto number = parse_integer(text.substr(0, space));
    if (!number || *number < 0) return std::nullopt;
    const std::string_view unit =
        space == std::string_view::npos ? std::string_view{} : trim(text.substr(space));
    std::int64_t factor = 1;
    if (unit == "KiB" || unit == "kB")
        factor = 1024;
    else if (unit == "MiB")
        factor = 1024 * 1024;
    else if (!unit.empty())
        return std::nullopt;
    constexpr std::int64_t kBytesMax = std::int64_t{1} << 50;  // chosen: no card has a PiB
    if (*number > kBytesMax / factor) return std::nullopt;
    return Bytes(*number * factor);
}

// The names of a card's own memory: amdgpu and xe ("vram", "vram0"), i915 ("local0").
bool is_vram(std::string_view region) {
    return region.starts_with("vram") || region.starts_with("local");
}

struct Regions {
    Bytes resident, memory, requested, evicted;  // `memory` is resident's old spelling
};

void add_region(std::string_view key, Bytes bytes, Regions& regions) {
    constexpr std::string_view kResident = "drm-resident-";
    constexpr std::string_view kMemory = "drm-memory-";
    if (key.starts_with(kResident) && is_vram(key.substr(kResident.size())))
        regions.resident += bytes;
    else if (key.starts_with(kMemory) && is_vram(key.substr(kMemory.size())))
        regions.memory += bytes;
    else if (key == "amd-requested-vram")
        regions.requested += bytes;
    else if (key == "amd-evicted-vram")
        regions.evicted += bytes;
}

}  // namespace

std::optional<DrmClient> parse_drm_fdinfo(std::string_view text) {
    DrmClient client;
    Regions regions;
    bool has_client = false;
    for (const std::string_view line : split(text, '\n')) {
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const std::string_view key = trim(line.substr(0, colon));
        const std::string_view value = trim(line.substr(colon + 1));
        if (key == "drm-driver") {
            client.driver = value;
        } else if (key == "drm-pdev") {
            client.pci = PciAddress::parse(value);
        } else if (key == "drm-client-id") {
            if (const auto id = parse_integer(value)) {
                client.client = *id;
                has_client = true;
            }
        } else if (const auto bytes = parse_quantity(value)) {
            add_region(key, *bytes, regions);
        }
    }
    if (client.driver.empty() || !has_client) return std::nullopt;
    client.vram = std::max(regions.resident, regions.memory);
    client.spilled = std::max({Bytes(0), regions.requested - client.vram, regions.evicted});
    return client;
}

std::vector<DrmHolder> list_drm_holders(const SystemTree& tree, const PciAddress& pci) {
    namespace fs = std::filesystem;
    std::vector<DrmHolder> holders;
    std::set<std::int64_t> seen;
    for (const std::string& name : tree.list("proc")) {
        const auto pid = parse_integer(name);
        if (!pid) continue;
        const fs::path folder = fs::path("proc") / name;
        DrmHolder found{.holder = {.pid = *pid, .name = {}, .bytes = Bytes(0)}, .spilled = {}};
        bool uses = false;
        for (const std::string& fd : tree.list(folder / "fd")) {
            const auto target = tree.read_link(folder / "fd" / fd);
            if (!target || !target->starts_with("/dev/dri/")) continue;
            const auto text = tree.read_text(folder / "fdinfo" / fd);
            const auto client = text ? parse_drm_fdinfo(*text) : std::nullopt;
            if (!client || client->pci != pci || !seen.insert(client->client).second) continue;
            uses = true;
            *found.holder.bytes += client->vram;
            found.spilled += client->spilled;
        }
        if (!uses) continue;
        found.holder.name = read_program_name(tree, *pid);
        holders.push_back(std::move(found));
    }
    std::ranges::sort(holders, std::ranges::greater{},
                      [](const DrmHolder& h) { return h.holder.bytes; });
    return holders;
}

}  // namespace plimsoll::telemetry
