// SPDX-License-Identifier: Apache-2.0
//
// For the fit, tests and benchmarks: public measurements of data/timing/measured.csv, and what our
// walks say that they cost. Not part of a forecast.
//
// Enters through: text of the table.   Leaves through: MeasuredJob.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "timing/roofline.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::timing {

// A part of what was timed: forwards of one network.
struct MeasuredPart {
    std::string phase;  // of a trace question: "unet_step", "controlnet", "vae_decode"
    int forwards = 1;
    memory::OpCosts costs;  // of one forward
};

struct MeasuredJob {
    std::string id;      // of the public table
    std::string source;  // who measured it: with the card, one machine
    std::string network;
    std::string timed;  // "step", "job", "decode"
    const Card* card = nullptr;
    memory::ComputeType compute = memory::ComputeType::Float16;
    Software software;
    std::vector<MeasuredPart> parts;
    double seconds = 0;  // measured
};

// Corrupt with the line when a line is malformed or names what is not known; costs are walked here,
// a few seconds for the whole table. Text encoders and decoders that are not simulated cost
// nothing: at most a few hundredths of the jobs in the table.
[[nodiscard]] Result<std::vector<MeasuredJob>> read_measured_jobs(std::string_view csv);

[[nodiscard]] double forecast_seconds(const MeasuredJob& job,
                                      const Efficiency& efficiency = default_efficiency());

// How far forecasts are off: |forecast - measured| / measured, the middle one and the one that nine
// of ten do not pass.
struct ForecastErrors {
    std::size_t jobs = 0;
    double median = 0;
    double ninetieth = 0;
};
[[nodiscard]] ForecastErrors forecast_errors(const std::vector<const MeasuredJob*>& jobs,
                                             const Efficiency& efficiency = default_efficiency());

}  // namespace plimsoll::timing
