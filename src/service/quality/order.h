// SPDX-License-Identifier: Apache-2.0
//
// From what a user asks to be tested to the plan of a session: which settings, each forecast first
// and left out when it would go over the load line, which prompts, and how long it may take.
//
// Enters through: Upstream, model files.   Leaves through: quality::SessionPlan.   Threads: as
// Upstream and ModelLibrary.
#pragma once
#include "advisor/forecaster.h"
#include "base/error.h"
#include "quality/lab/session.h"
#include "service/comfyui/upstream.h"
#include "service/models.h"
#include "service/place.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

struct QualityOrder {
    std::string model;  // a profile's name or a checkpoint as ComfyUI lists it
    quality::TestKind kind = quality::TestKind::Quick;
    std::vector<std::string> prompts;   // the user's own; empty: those of the model's kind
    std::optional<double> minutes_max;  // of drawing; nullopt: kQuickMinutes, kFullMinutes
    std::optional<double> margin;       // points; nullopt: quality::kMarginPoints
    std::optional<std::uint64_t> seed;  // nullopt: a new one
    bool in_background = false;         // see SessionPlan
};
inline constexpr std::string_view kDrawnByDaemon = "daemon";
inline constexpr std::string_view kDrawnByCommand = "command";
inline constexpr std::string_view kDrawnByLibrary = "library";
inline constexpr double kQuickMinutes = 60;        // chosen: 29 pictures of SDXL on a small card
inline constexpr double kFullMinutes = 12 * 60.0;  // chosen: a night
inline constexpr double kMinutesMax = 7 * 24 * 60.0;
inline constexpr std::size_t kPromptBytesMax = 8192;  // chosen

struct OrderParts {
    const Place& place;
    Upstream& upstream;
    ModelLibrary& models;
    std::string session_id;
    std::string drawn_by;  // as in the plan
    std::int64_t created_ms = 0;
    std::uint64_t seed = 0;
    // Tests' law; nullptr: the real forecaster.
    std::function<advisor::Forecaster(const Site&, const Job&)> forecaster = nullptr;
};

// NotFound for a model that neither a profile nor ComfyUI knows, LimitExceeded when the test would
// take longer than it may, InvalidInput when too little can be drawn, with the reasons.
[[nodiscard]] Result<quality::SessionPlan> plan_session(const QualityOrder& order,
                                                        const OrderParts& parts);

// The workflow that draws a setting of a session. `filename_prefix` as ComfyUI's SaveImage has it.
[[nodiscard]] std::string workflow_of_setting(const quality::Setting& setting,
                                              const std::string& prompt,
                                              const std::string& negative, std::uint64_t seed,
                                              const std::string& filename_prefix);

// Checkpoints of `listed` that hold the same model as `checkpoint` in another precision, as far as
// names tell: equal but for words such as fp16, fp8, bf16.
[[nodiscard]] std::vector<std::string> other_precisions(const std::string& checkpoint,
                                                        const std::vector<std::string>& listed);

}  // namespace plimsoll::service
