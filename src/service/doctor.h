// SPDX-License-Identifier: Apache-2.0
//
// doctor: what Plimsoll found around itself, and for each problem what to do about it.
//
// Enters through: Config, Upstream, DeviceSource, files.   Leaves through: Checkup.   Threads: no
// shared state.
#pragma once
#include "base/phrase.h"
#include "service/comfyui/upstream.h"
#include "service/config.h"
#include "service/profiles.h"
#include "telemetry/device_source.h"

#include <filesystem>
#include <string>
#include <vector>

namespace plimsoll::service {

enum class Health : std::uint8_t { Good, Notice, Problem };
[[nodiscard]] std::string_view health_name(Health health);  // "good", "notice", "problem"

struct Finding {
    std::string
        area;  // "ComfyUI", "flags", "card", "driver", "models", "disk", "configuration", "history"
    Health health = Health::Good;
    Phrase text;    // what was found
    Phrase advice;  // what to do; empty when good
};

struct Checkup {
    std::vector<Finding> findings;
    std::vector<ConfigLine> settings;
    bool comfyui_answers = false;
    [[nodiscard]] Health worst() const;
};

// Changes nothing but may create the history file. Never fails: what cannot be found out is a
// finding.
[[nodiscard]] Checkup check_up(const Config& config, Upstream& upstream,
                               telemetry::DeviceSource& devices);
// With the drivers of this machine.
[[nodiscard]] Checkup check_up(const Config& config, Upstream& upstream);

}  // namespace plimsoll::service
