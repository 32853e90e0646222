// SPDX-License-Identifier: Apache-2.0
//
// Presets: wishes under a name, shared with the program and with other processes.
//
// Threads: one Presets may be used from one thread at a time.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/export.h>
#include <plimsoll/options.h>
#include <plimsoll/settings.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

class PLIMSOLL_EXPORT Presets {
  public:
    // Opens the history file in the home folder, and makes both where they are missing.
    [[nodiscard]] static Result<Presets> open(const Options& options = {});

    Presets(Presets&&) noexcept;
    Presets& operator=(Presets&&) noexcept;
    Presets(const Presets&) = delete;
    Presets& operator=(const Presets&) = delete;
    ~Presets();

    // A preset of the same name is replaced. Names have 1 to 64 letters, digits, "-", "_", "." and
    // inner spaces. InvalidInput for another name, or for no wish at all.
    [[nodiscard]] Result<void> save(std::string_view name, const Wishes& wishes);
    // NotFound lists the nearest names.
    [[nodiscard]] Result<Wishes> load(std::string_view name);
    [[nodiscard]] Result<std::vector<std::string>> list();  // by name
    [[nodiscard]] Result<void> remove(std::string_view name);

  private:
    struct Parts;
    explicit Presets(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace plimsoll
