// SPDX-License-Identifier: Apache-2.0
//
// What every door of the library begins with: the configuration, the profiles and the model files
// of this machine, and the card and limits that a job is held against.
#pragma once
#include "advisor/forecaster.h"
#include "base/error.h"
#include "service/config.h"
#include "service/models.h"
#include "service/profiles.h"
#include "service/site.h"

#include <plimsoll/options.h>

namespace plimsoll::library {

// InvalidInput names the value and its range.
[[nodiscard]] Result<service::Config> read_config(const Options& options);

struct Place {
    service::Config config;
    service::Profiles profiles;
    service::ModelLibrary models;
    service::Site site;
    advisor::Budget budget;
};
// Asks ComfyUI, unless the options name a card or forbid it.
[[nodiscard]] Result<Place> find_place(const Options& options);

}  // namespace plimsoll::library
