// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <fmt/format.h>

#include <cmath>

namespace plimsoll {

std::string to_text(Bytes bytes) {
    const double mib = bytes.mib();
    if (std::abs(mib) < 100.0) return fmt::format("{:.1f} MiB", mib);
    return fmt::format("{:.0f} MiB", mib);
}

std::string to_gib_text(Bytes bytes) {
    return fmt::format("{:.2f} GiB", bytes.gib());
}

std::string seconds_text(double seconds) {
    if (std::abs(seconds) < 10.0) return fmt::format("{:.2f} s", seconds);
    if (std::abs(seconds) < 100.0) return fmt::format("{:.1f} s", seconds);
    const long whole = std::lround(seconds);
    return fmt::format("{} min {:02d} s", whole / 60, whole % 60);
}

}  // namespace plimsoll
