// SPDX-License-Identifier: Apache-2.0
#include "guard/ladder.h"

#include "base/say.h"
#include "base/text.h"
#include "guard/waits.h"

#include <algorithm>

namespace plimsoll::guard {

namespace {

constexpr std::size_t kLooksAtRest = 3;           // chosen
constexpr Bytes kRestBytes = Bytes(64LL << 20U);  // chosen: a desktop moves more seldom

LadderStep change_or_quarantine(const Tries& tries, bool may_change, Phrase reason) {
    LadderStep step{.unload_models = true, .meets_wall = true, .reason = std::move(reason)};
    step.action = may_change && tries.plan_level < kPlanLevelMax ? LadderAction::NextPlan
                                                                 : LadderAction::Quarantine;
    return step;
}

// What was stopped by us is not the job's fault for certain: it is not put aside for it.
LadderStep smaller_or_again(const Tries& tries, bool may_change, Phrase reason) {
    const bool smaller = may_change && tries.plan_level < kPlanLevelMax;
    return {.action = smaller ? LadderAction::NextPlan : LadderAction::Again,
            .unload_models = true,
            .else_again = true,
            .reason = std::move(reason)};
}

}  // namespace

std::string_view failure_name(Failure failure) {
    switch (failure) {
        case Failure::CardMemory:
            return "card_memory";
        case Failure::HostMemory:
            return "host_memory";
        case Failure::ServerLost:
            return "server_lost";
        case Failure::ServerHung:
            return "server_hung";
        case Failure::Spilled:
            return "spilled";
        case Failure::Stalled:
            return "stalled";
        case Failure::Drifted:
            return "drifted";
        case Failure::Crept:
            return "crept";
        case Failure::Other:
            return "other";
    }
    return "other";
}

Failure classify_failure(const service::NodeError& error) {
    if (!error.out_of_memory()) return Failure::Other;
    // Python's own error and the CPU allocator's: freeing the card gives the machine nothing back.
    const bool of_host = error.exception_type == "MemoryError" ||
                         to_lower_ascii(error.message).contains("defaultcpuallocator");
    return of_host ? Failure::HostMemory : Failure::CardMemory;
}

LadderStep climb(Failure failure, const Tries& tries, bool may_change) {
    switch (failure) {
        case Failure::CardMemory:
            if (tries.as_it_is <= 1)
                return {.action = LadderAction::Again,
                        .unload_models = true,
                        .reason = say<"held.freed">()};
            return change_or_quarantine(tries, may_change, say<"held.freed_in_vain">());
        case Failure::Spilled:
            return smaller_or_again(tries, may_change, say<"held.spilled">());
        case Failure::Stalled:
            return smaller_or_again(tries, may_change, say<"held.stalled">());
        case Failure::Drifted:
            return smaller_or_again(tries, may_change, say<"held.drifted">());
        case Failure::Crept:
            // What nobody refers to goes with /free, and what ComfyUI's cache refers to, too: no
            // smaller picture is of any help.
            return {.action = LadderAction::Again,
                    .unload_models = true,
                    .reset_caches = true,
                    .reason = say<"held.crept">()};
        case Failure::HostMemory:
            if (tries.as_it_is <= 1)
                return {.action = LadderAction::Again,
                        .unload_models = true,
                        .reset_caches = true,
                        .reason = say<"held.caches_freed">()};
            return {.action = LadderAction::Quarantine,
                    .unload_models = true,
                    .reset_caches = true,
                    .meets_wall = true,
                    .reason = say<"held.machine_small">()};
        case Failure::ServerLost:
        case Failure::ServerHung:
            if (tries.servers_lost < kServersLostMax)
                return {.action = LadderAction::Again,
                        .reason = failure == Failure::ServerLost ? say<"held.server_lost">()
                                                                 : say<"held.server_hung">()};
            return {.action = LadderAction::Quarantine,
                    .meets_wall = true,
                    .reason = say<"held.server_lost_often">()};
        case Failure::Other:
            break;
    }
    return {.action = LadderAction::Pass};
}

bool MemorySettles::is_due(std::int64_t now_ms) const {
    return now_ms - looked_ms_ >= kPollMs;
}

bool MemorySettles::add(std::int64_t at_ms, Bytes free) {
    looked_ms_ = at_ms;
    seen_.push_back(free);
    if (seen_.size() > kLooksAtRest) seen_.pop_front();
    const auto [least, most] = std::ranges::minmax(seen_);
    if (seen_.size() == kLooksAtRest && most - least <= kRestBytes) return true;
    gave_up_ = at_ms - began_ms_ >= kSettleMsMax;
    return gave_up_;
}

}  // namespace plimsoll::guard
