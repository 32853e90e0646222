// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager: the questions about generated pictures, for a program that asks many of them. It
// looks around once, when it is made; every answer is computed from a forecast.
//
// Threads: one ResourceManager may be used from one thread at a time.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/export.h>
#include <plimsoll/forecast.h>
#include <plimsoll/options.h>
#include <plimsoll/settings.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

struct Safety {
    bool safe = false;                 // no need above the load line, and in time
    std::vector<std::string> reasons;  // why not; or what to know although it is safe
};

struct Summary {
    std::int64_t vram_bytes = 0;  // the highest peak
    std::int64_t load_line_bytes = 0;
    double seconds = 0;
    Quality quality = Quality::Draft;  // what the settings promise: an order, not a measurement
    Verdict verdict = Verdict::Unknown;
    std::vector<Phase> phases;
    std::vector<std::string> warnings;
};

class PLIMSOLL_EXPORT ResourceManager {
  public:
    // Reads the configuration and finds out where jobs would run. Fails on a value out of range, or
    // a card, version or flag that cannot be.
    [[nodiscard]] static Result<ResourceManager> create(const Options& options = {});

    ResourceManager(ResourceManager&&) noexcept;
    ResourceManager& operator=(ResourceManager&&) noexcept;
    ResourceManager(const ResourceManager&) = delete;
    ResourceManager& operator=(const ResourceManager&) = delete;
    ~ResourceManager();

    // Settings for a wish: the quality's steps, the model's CFG and sampler, tiled decoding where
    // it is needed. Where the wish does not fit, steps give way to the time limit and the size to
    // the load line. InvalidInput for a size out of range, NotFound for an unknown model,
    // LimitExceeded where nothing fits.
    [[nodiscard]] Result<Settings> calculate_optimal_settings(int width, int height,
                                                              Quality quality,
                                                              std::string_view model) const;
    [[nodiscard]] Result<Safety> is_settings_safe(const Settings& settings) const;
    [[nodiscard]] Result<Summary> get_resource_summary(const Settings& settings) const;

    // The fastest settings of the model's recorded runs that reach `min_quality` (0 to 1) and are
    // safe today; nullopt where nothing of the kind is known. As long as pictures are not measured,
    // a run has the quality that its settings promise: draft 0.25, optimized 0.5, high 0.75, ultra
    // 1.
    [[nodiscard]] Result<std::optional<Settings>> get_best_settings(std::string_view model,
                                                                    double min_quality) const;

    // "ComfyUI 0.3.64 at http://localhost:8188", "card rtx3050-6gb of the catalogue".
    [[nodiscard]] const std::string& where() const;
    // Of the configuration and of looking around.
    [[nodiscard]] const std::vector<std::string>& warnings() const;

  private:
    struct Parts;
    explicit ResourceManager(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace plimsoll
