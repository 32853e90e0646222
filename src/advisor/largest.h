// SPDX-License-Identifier: Apache-2.0
//
// How far a knob can be turned before the job no longer fits: bisection over forecasts. Fitting is
// what the budget says: needs below the load line (parked weights give way) and in time.
//
// Enters through: workflow text, Forecaster.   Leaves through: Largest.   Threads: as the
// Forecaster allows.
#pragma once
#include "advisor/forecaster.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::advisor {

// Memory knobs: Width, Height, Batch and Frames of the first latent that is made, Tile of the first
// node that decodes, in which its VAE is planned (advisor/tile_plan.h). Time knobs: Steps of the
// first node that schedules or samples by them, Cfg of the first that guides by it. Above 1 every
// Cfg costs the same: a second half of each forward.
enum class Knob : std::uint8_t { Width, Height, Batch, Frames, Tile, Steps, Cfg };
// "width", "height", "batch", "frames", "tile", "steps", "cfg"
[[nodiscard]] std::string_view knob_name(Knob knob);
[[nodiscard]] Result<Knob> parse_knob(std::string_view name);

struct KnobLimits {
    double min = 0;
    double max = 0;
    double step = 1;  // whole for all but Cfg
};
// Sides 256 to 4096 in steps of 8 pixels, batch 1 to 64, frames 1 to 481 in steps of 4, as the
// latents of most video models count them, tiles 192 to 2048 in steps of 32 pixels, steps 1 to 200,
// cfg 1 to 15 in steps of a half.
[[nodiscard]] KnobLimits default_limits(Knob knob);

struct Largest {
    std::optional<double> value;           // nullopt: not even the smallest fits
    PricedForecast forecast;               // at `value`; at the smallest where nothing fits
    std::string next_value_fails_because;  // empty where the limit itself fits
    int forecasts = 0;                     // how many were asked
};

// NotFound where the workflow makes no latent with the knob (decodes nothing, for Tile; has no
// steps, no cfg), InvalidInput where its knob is computed in the graph.
[[nodiscard]] Result<Largest> largest(std::string_view workflow, Knob knob,
                                      const KnobLimits& limits, const Budget& budget,
                                      const Forecaster& forecaster);

}  // namespace plimsoll::advisor
