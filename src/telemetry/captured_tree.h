// SPDX-License-Identifier: Apache-2.0
//
// A folder of a test's own that stands for / : files and links as Linux has them below /sys and
// /proc. Removed with it.
#pragma once
#include "telemetry/system_tree.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

namespace plimsoll::telemetry {

class CapturedTree {
  public:
    CapturedTree() {
        std::random_device chance;
        root_ = std::filesystem::temp_directory_path() /
                ("plimsoll_tree_" + std::to_string(chance()) + std::to_string(chance()));
        std::filesystem::create_directories(root_);
    }
    ~CapturedTree() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    CapturedTree(const CapturedTree&) = delete;
    CapturedTree& operator=(const CapturedTree&) = delete;

    void write(const std::filesystem::path& path, std::string_view text) const {
        std::filesystem::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    void link(const std::filesystem::path& path, std::string_view target) const {
        std::filesystem::create_directories((root_ / path).parent_path());
        std::filesystem::create_symlink(target, root_ / path);
    }
    // A display controller with its driver, awake.
    std::filesystem::path add_display(std::string_view pci, std::string_view vendor,
                                      std::string_view driver) const {
        const auto folder = std::filesystem::path("sys/bus/pci/devices") / pci;
        write(folder / "class", "0x030000\n");
        write(folder / "vendor", std::string(vendor) + "\n");
        link(folder / "driver", "../../../bus/pci/drivers/" + std::string(driver));
        write(folder / "power/runtime_status", "active\n");
        write(folder / "power/control", "on\n");
        return folder;
    }

    [[nodiscard]] SystemTree tree() const { return SystemTree(root_); }
    [[nodiscard]] const std::filesystem::path& root() const { return root_; }

  private:
    std::filesystem::path root_;
};

}  // namespace plimsoll::telemetry
