// SPDX-License-Identifier: Apache-2.0
//
// Who uses the cards of Linux' open drivers (amdgpu, i915, xe, nouveau): each open file of
// /dev/dri tells in /proc/<pid>/fdinfo what its client holds. Source of the keys: Linux'
// Documentation/gpu/drm-usage-stats.rst and amdgpu's own keys.
//
// Enters through: SystemTree.   Threads: no shared state.
#pragma once
#include "telemetry/system_tree.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::telemetry {

struct DrmClient {
    std::string driver;
    std::optional<PciAddress> pci;
    std::int64_t client = 0;  // the kernel's number: one client may stand behind several files
    Bytes vram;               // resident on the card
    Bytes spilled;            // wanted on the card, standing elsewhere
};

// One fdinfo file; nullopt where it is no DRM client's.
[[nodiscard]] std::optional<DrmClient> parse_drm_fdinfo(std::string_view text);

struct DrmHolder {
    Holder holder;
    Bytes spilled;
};
// Those whose files may be read (the same user's, or all with CAP_SYS_PTRACE), most first.
[[nodiscard]] std::vector<DrmHolder> list_drm_holders(const SystemTree& tree,
                                                      const PciAddress& pci);

}  // namespace plimsoll::telemetry
