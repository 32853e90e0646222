// SPDX-License-Identifier: Apache-2.0
#include "telemetry/system_tree.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <system_error>

namespace plimsoll::telemetry {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kTextBytesMax = 65536;   // chosen: fdinfo of a busy client has about 2 KiB
constexpr std::size_t kNamesMax = 65536;       // chosen: above pid_max's default of 32768
constexpr std::uint32_t kDisplayClass = 0x03;  // of PCI's class codes: display controllers

}  // namespace

std::optional<std::string> SystemTree::read_text(const fs::path& path) const {
    std::ifstream in(root_ / path, std::ios::binary);
    if (!in) return std::nullopt;
    std::string text(kTextBytesMax, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (in.bad()) return std::nullopt;
    text.resize(static_cast<std::size_t>(in.gcount()));
    // A driver's answer "not supported" comes as a failed read: nothing was read.
    if (text.empty()) return std::nullopt;
    return std::string(trim(text));
}

std::optional<std::int64_t> SystemTree::read_number(const fs::path& path) const {
    const auto text = read_text(path);
    if (!text) return std::nullopt;
    const auto value = parse_integer(*text);
    if (!value) return std::nullopt;
    return *value;
}

std::optional<std::uint32_t> SystemTree::read_hex(const fs::path& path) const {
    const auto text = read_text(path);
    if (!text) return std::nullopt;
    std::string_view digits = *text;
    if (digits.starts_with("0x")) digits.remove_prefix(2);
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return value;
}

std::optional<std::string> SystemTree::read_link(const fs::path& path) const {
    std::error_code error;
    const fs::path target = fs::read_symlink(root_ / path, error);
    if (error) return std::nullopt;
    return target.string();
}

std::optional<std::string> SystemTree::read_link_name(const fs::path& path) const {
    const auto target = read_link(path);
    if (!target) return std::nullopt;
    return fs::path(*target).filename().string();
}

std::vector<std::string> SystemTree::list(const fs::path& path) const {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(root_ / path, error), end; !error && entry != end;
         entry.increment(error)) {
        names.push_back(entry->path().filename().string());
        if (names.size() == kNamesMax) break;
    }
    std::ranges::sort(names);
    return names;
}

std::vector<PciDisplay> list_pci_displays(const SystemTree& tree) {
    std::vector<PciDisplay> displays;
    for (const std::string& name : tree.list("sys/bus/pci/devices")) {
        const auto pci = PciAddress::parse(name);
        const fs::path folder = fs::path("sys/bus/pci/devices") / name;
        const auto code = tree.read_hex(folder / "class");
        if (!pci || !code || *code >> 16 != kDisplayClass) continue;
        const auto vendor = tree.read_hex(folder / "vendor");
        if (!vendor) continue;
        displays.push_back({.pci = *pci,
                            .vendor = *vendor,
                            .driver = tree.read_link_name(folder / "driver").value_or("")});
    }
    return displays;
}

PowerStatus read_power_status(const SystemTree& tree, const PciAddress& pci) {
    const fs::path power = fs::path("sys/bus/pci/devices") / pci.text() / "power";
    const auto status = tree.read_text(power / "runtime_status");
    const auto control = tree.read_text(power / "control");
    constexpr std::array<std::string_view, 3> kNotAwake{"suspended", "suspending", "resuming"};
    return {.asleep = status && std::ranges::find(kNotAwake, *status) != kNotAwake.end(),
            .may_sleep = control == "auto" && status.has_value() && *status != "unsupported"};
}

std::string read_program_name(const SystemTree& tree, std::int64_t pid) {
    return tree.read_text(fmt::format("proc/{}/comm", pid)).value_or("");
}

}  // namespace plimsoll::telemetry
