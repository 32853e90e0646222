// SPDX-License-Identifier: Apache-2.0
//
// Where a job runs: the ComfyUI server (version, flags) and the card, from flags, configuration or
// the running server, in this order.
//
// Enters through: Config, Upstream.   Leaves through: Site.   Threads: no shared state.
#pragma once
#include "advisor/forecaster.h"
#include "base/error.h"
#include "base/phrase.h"
#include "service/comfyui/upstream.h"
#include "service/config.h"
#include "service/job.h"

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

inline constexpr const char* kReferenceCard = "rtx3050-6gb";

struct SiteWishes {
    std::optional<double> vram_mb;  // --vram-mb: a card of that size, in MiB; see find_site
    bool ask_comfyui = true;        // false: what-if for a card, no server is asked
};

struct Site {
    memory::Server server;
    memory::Device device;
    timing::Card card;
    std::string card_name;  // its key in the catalogue, else what the server calls it
    // "card rtx3050-6gb of the catalogue", "ComfyUI 0.3.64 at http://localhost:8188"
    Phrase where;
    bool from_comfyui = false;
    std::string kind;                     // "simulated"; empty: a real one
    timing::SharedPaces paces = nullptr;  // learned on this machine; nullptr: none
    Phrases warnings;                     // dead flags, a card that the catalogue lacks...

    // "rtx3060-12gb", "rtx3060-12gb (simulated)": nothing is learned of one from the other.
    [[nodiscard]] std::string card_in_history() const;
};

// Without a named card the server's own is taken; without a server, or with nothing but a size of
// memory, the reference card, with a warning. `upstream` may be null. Fails only on a card, version
// or flag that is wrong.
[[nodiscard]] Result<Site> find_site(const Config& config, const SiteWishes& wishes,
                                     Upstream* upstream);
[[nodiscard]] Result<Site> site_of_stats(const Config& config, const SiteWishes& wishes,
                                         const ServerStats& stats, const std::string& address);

[[nodiscard]] Result<advisor::Budget> budget_of(const Config& config);
[[nodiscard]] advisor::Forecaster forecaster_of(const Site& site, const Job& job);

}  // namespace plimsoll::service
