// SPDX-License-Identifier: Apache-2.0
//
// The folders in which Linux tells about itself, /sys and /proc, below a root that tests replace by
// a captured one. Small text files, read whole; what is missing or unreadable is nullopt, because
// drivers differ in what they offer.
//
// Enters through: the file system.   Threads: no shared state.
#pragma once
#include "telemetry/device.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::telemetry {

class SystemTree {
  public:
    explicit SystemTree(std::filesystem::path root = "/") : root_(std::move(root)) {}

    // `path` is relative to the root: "sys/class/drm".
    [[nodiscard]] std::optional<std::string> read_text(const std::filesystem::path& path) const;
    [[nodiscard]] std::optional<std::int64_t> read_number(const std::filesystem::path& path) const;
    // "0x1002" and "1002".
    [[nodiscard]] std::optional<std::uint32_t> read_hex(const std::filesystem::path& path) const;
    // The last part of what a link points to: the driver's name, a PCI address.
    [[nodiscard]] std::optional<std::string> read_link_name(
        const std::filesystem::path& path) const;
    [[nodiscard]] std::optional<std::string> read_link(const std::filesystem::path& path) const;
    // Names in a folder, sorted; empty where there is none.
    [[nodiscard]] std::vector<std::string> list(const std::filesystem::path& path) const;

  private:
    std::filesystem::path root_;
};

// A display controller on the PCI bus.
struct PciDisplay {
    PciAddress pci;
    std::uint32_t vendor = 0;
    std::string driver = {};  // empty: none has taken it
};
inline constexpr std::uint32_t kNvidiaPciVendor = 0x10de;
inline constexpr std::uint32_t kAmdPciVendor = 0x1002;
inline constexpr std::uint32_t kIntelPciVendor = 0x8086;
[[nodiscard]] std::vector<PciDisplay> list_pci_displays(const SystemTree& tree);

// Runtime power management of a device. Reading it does not wake the device.
struct PowerStatus {
    bool asleep = false;     // suspended, or on the way there or back
    bool may_sleep = false;  // the kernel may power it down: a hybrid laptop's card
};
[[nodiscard]] PowerStatus read_power_status(const SystemTree& tree, const PciAddress& pci);

// The program of a process, as /proc/<pid>/comm has it; empty where there is no such process.
[[nodiscard]] std::string read_program_name(const SystemTree& tree, std::int64_t pid);

}  // namespace plimsoll::telemetry
