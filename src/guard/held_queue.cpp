// SPDX-License-Identifier: Apache-2.0
#include "guard/held_queue.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::guard {

namespace {

constexpr double kLightSeconds = 30;  // chosen: over before a warm card is hot

std::size_t bytes_of(const HeldEntry& entry) {
    return entry.kept.body.size() + entry.secret_body.size();
}

Candidate candidate_of(const HeldEntry& entry) {
    const Facts& facts = entry.facts;
    return {.priority = entry.kept.mark.priority,
            .model = facts.model,
            .strict = facts.strict,
            .anyway = facts.anyway,
            .light = facts.seconds && *facts.seconds <= kLightSeconds,
            .need = facts.floor,
            .seconds =
                facts.seconds ? std::optional(*facts.seconds - facts.load_seconds) : std::nullopt,
            .load_seconds = facts.load_seconds,
            .accepted_ms = entry.kept.accepted_ms,
            .not_before_ms = entry.not_before_ms,
            .passed = entry.passed};
}

bool waits(const HeldEntry& entry) {
    return !entry.kept.mark.sent && !entry.unclear;
}

}  // namespace

HeldQueue::Key HeldQueue::key_of(const HeldEntry& entry) {
    return {-entry.kept.mark.priority, entry.kept.mark.turn, entry.kept.prompt_id};
}

std::int64_t HeldQueue::turn_of(double number) {
    constexpr double kNumberMax = 4e12;  // times kTurnStep it still fits 63 bits
    const double bounded = std::isfinite(number) ? std::clamp(number, -kNumberMax, kNumberMax) : 0;
    return static_cast<std::int64_t>(bounded * static_cast<double>(kTurnStep));
}

Result<void> HeldQueue::add(HeldEntry entry) {
    const std::string id = entry.kept.prompt_id;
    if (entries_.contains(id))
        return fail(Errc::InvalidInput, fmt::format("a job '{}' waits already", id));
    if (entries_.size() >= kHeldJobsMax || bytes_ + bytes_of(entry) > kHeldBytesMax)
        return fail(
            Errc::LimitExceeded,
            fmt::format("{} jobs with {} wait already, {} and {} may: wait until some are "
                        "done",
                        entries_.size(), to_text(Bytes(static_cast<std::int64_t>(bytes_))),
                        kHeldJobsMax, to_text(Bytes(static_cast<std::int64_t>(kHeldBytesMax)))));
    bytes_ += bytes_of(entry);
    HeldEntry& kept = entries_.emplace(id, std::move(entry)).first->second;
    order_.emplace(key_of(kept), &kept);
    return {};
}

HeldEntry* HeldQueue::find(std::string_view prompt_id) {
    const auto found = entries_.find(std::string(prompt_id));
    return found == entries_.end() ? nullptr : &found->second;
}

const HeldEntry* HeldQueue::find(std::string_view prompt_id) const {
    const auto found = entries_.find(std::string(prompt_id));
    return found == entries_.end() ? nullptr : &found->second;
}

std::optional<HeldEntry> HeldQueue::take(std::string_view prompt_id) {
    const auto found = entries_.find(std::string(prompt_id));
    if (found == entries_.end()) return std::nullopt;
    order_.erase(key_of(found->second));
    bytes_ -= bytes_of(found->second);
    HeldEntry entry = std::move(found->second);
    entries_.erase(found);
    return entry;
}

std::vector<const HeldEntry*> HeldQueue::in_order() const {
    std::vector<const HeldEntry*> all;
    all.reserve(order_.size());
    for (const auto& [key, entry] : order_) all.push_back(entry);
    return all;
}

std::vector<Candidate> HeldQueue::candidates() const {
    std::vector<Candidate> waiting;
    for (const auto& [key, entry] : order_)
        if (waits(*entry)) waiting.push_back(candidate_of(*entry));
    return waiting;
}

std::optional<std::string> HeldQueue::choose(const Moment& moment) {
    std::vector<HeldEntry*> entries;
    std::vector<Candidate> waiting;
    for (const auto& [key, entry] : order_) {
        if (!waits(*entry)) continue;
        entries.push_back(entry);
        waiting.push_back(candidate_of(*entry));
    }
    const auto next = choose_next(waiting, moment);
    if (!next) return std::nullopt;
    for (std::size_t i = 0; i < waiting.size(); ++i) entries[i]->passed = waiting[i].passed;
    return entries[*next]->kept.prompt_id;
}

void HeldQueue::mark(const std::string& prompt_id, const history::HeldMark& mark) {
    HeldEntry* const entry = find(prompt_id);
    if (entry == nullptr) return;
    order_.erase(key_of(*entry));
    entry->kept.mark = mark;
    order_.emplace(key_of(*entry), entry);
}

Result<std::vector<history::HeldChange>> HeldQueue::move_before(const std::string& prompt_id,
                                                                const std::string& before) {
    HeldEntry* const moved = find(prompt_id);
    if (moved == nullptr) return fail(Errc::NotFound, say<"error.not_waiting">(prompt_id));
    const HeldEntry* const border = before.empty() ? nullptr : find(before);
    if (!before.empty() && border == nullptr)
        return fail(Errc::NotFound, say<"error.not_waiting">(before));
    if (border != nullptr && border->kept.mark.priority != moved->kept.mark.priority)
        return fail(Errc::InvalidInput, say<"error.priorities">());
    if (border == moved) return std::vector<history::HeldChange>{};

    // The others of its priority, in order, and where it goes among them.
    std::vector<HeldEntry*> others;
    std::size_t at = 0;
    for (const auto& [key, entry] : order_) {
        if (entry == moved || entry->kept.mark.priority != moved->kept.mark.priority) continue;
        if (entry == border) at = others.size();
        others.push_back(entry);
    }
    if (border == nullptr) at = others.size();
    std::vector<history::HeldChange> changes;
    const auto put = [&](HeldEntry& entry, std::int64_t turn) {
        history::HeldMark changed = entry.kept.mark;
        changed.turn = turn;
        if (changed == entry.kept.mark) return;
        mark(entry.kept.prompt_id, changed);
        changes.push_back({entry.kept.prompt_id, changed});
    };
    if (others.empty()) return changes;
    const auto turn_at = [&](std::size_t i) { return others[i]->kept.mark.turn; };
    if (at == others.size()) {
        put(*moved, turn_at(at - 1) + kTurnStep);
    } else if (at == 0) {
        put(*moved, turn_at(0) - kTurnStep);
    } else if (turn_at(at) - turn_at(at - 1) > 1) {
        put(*moved, turn_at(at - 1) + (turn_at(at) - turn_at(at - 1)) / 2);
    } else {
        // No whole number lies between the two: all get new turns.
        others.insert(others.begin() + static_cast<std::ptrdiff_t>(at), moved);
        const std::int64_t first = turn_at(0);
        for (std::size_t i = 0; i < others.size(); ++i)
            put(*others[i], first + static_cast<std::int64_t>(i) * kTurnStep);
    }
    return changes;
}

}  // namespace plimsoll::guard
