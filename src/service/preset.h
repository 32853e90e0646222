// SPDX-License-Identifier: Apache-2.0
//
// Presets: the wishes of a job under a name. Fields are called as in every JSON answer: model,
// width, height, batch, steps, cfg, sampler, scheduler, quality, seed, negative, vaeTiling.
//
// Enters through: history::Preset.   Leaves through: JobRequest.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "history/run.h"
#include "service/job.h"

#include <string>
#include <vector>

namespace plimsoll::service {

// The wishes that the request makes, as a preset's settings. InvalidInput where it makes none, or
// names a file instead of a model.
[[nodiscard]] Result<std::string> encode_wishes(const JobRequest& request);

// Fills in what the request leaves open; what it says stays. Returns warnings (fields that nobody
// knows). InvalidInput names a field of a wrong type.
[[nodiscard]] Result<Phrases> apply_preset(const history::Preset& preset, JobRequest& request);

}  // namespace plimsoll::service
