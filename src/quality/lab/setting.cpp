// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/setting.h"

#include <fmt/format.h>

namespace plimsoll::quality {

std::string setting_words(const Setting& s) {
    return fmt::format("{} {}, {} steps, CFG {:g}, {} x {}{}", s.sampler, s.scheduler, s.steps,
                       s.cfg, s.width, s.height, s.vae_tiling ? ", tiled decode" : "");
}

}  // namespace plimsoll::quality
