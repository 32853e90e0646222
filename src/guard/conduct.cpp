// SPDX-License-Identifier: Apache-2.0
//
// The guard's own threads: one hears ComfyUI, one sends what was accepted and sees it to its end.
// Also what the gateway sees.
#include "guard/guard.h"

#include "base/say.h"
#include "guard/waits.h"

#include <chrono>
#include <utility>

namespace plimsoll::guard {

void Guard::start() {
    thread_ = std::thread([this] { run(); });
    listener_ = std::thread([this] { listen(); });
}

void Guard::stop() {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ && !thread_.joinable()) return;
        stopping_ = true;
        door_ = nullptr;
    }
    wake_.notify_all();
    over_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (listener_.joinable()) listener_.join();
}

void Guard::listen() {
    using std::chrono::milliseconds;
    constexpr milliseconds kWait{250};     // chosen: a stop waits so long
    constexpr milliseconds kAgain{1'000};  // chosen: as for requests
    std::string client_id;
    {
        const std::lock_guard lock(mutex_);
        client_id = "plimsoll-" + ids_.next_uuid();
    }
    const auto is_over = [&](milliseconds wait) {
        std::unique_lock lock(mutex_);
        return over_.wait_for(lock, wait, [&] { return stopping_; });
    };
    while (!is_over(milliseconds(0))) {
        auto reached = parts_.comfyui.reach();
        auto events =
            reached
                ? (*reached)->open_events(client_id, "")
                : Result<std::unique_ptr<service::EventStream>>(std::unexpected(reached.error()));
        const std::string address = parts_.comfyui.address();
        while (events && address == parts_.comfyui.address() && !is_over(milliseconds(0))) {
            const auto said = (*events)->next(kWait);
            if (!said) break;
            if (!*said || !std::holds_alternative<service::QueueRemaining>(**said)) continue;
            {
                const std::lock_guard lock(mutex_);
                upstream_remaining_ = std::get<service::QueueRemaining>(**said).count;
                flights_.ask_soon();
                woken_ = true;
            }
            wake_.notify_all();
        }
        if (events) (*events)->close();
        if (is_over(kAgain)) return;
    }
}

void Guard::run() {
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (stopping_) return;
            const bool idle = flights_.empty() && queue_.size() == 0 && !clearing_;
            const auto wait = std::chrono::milliseconds(idle ? kWakeMs : kPollMs);
            wake_.wait_for(lock, wait, [&] { return stopping_ || woken_; });
            if (stopping_) return;
            woken_ = false;
        }
        turn();
    }
}

void Guard::hear() {
    const std::lock_guard in_order(hearing_);
    for (;;) {
        Heard heard;
        {
            const std::lock_guard lock(mutex_);
            if (messages_.empty()) return;
            heard = std::move(messages_.front());
            messages_.pop_front();
        }
        take_message(heard);
    }
}

void Guard::settle() {
    constexpr std::chrono::milliseconds kWait{100};  // chosen: ten times what it takes
    hear();
    std::unique_lock lock(mutex_);
    // What has succeeded or failed is over in a moment: ComfyUI says so last.
    const auto is_settled = [&] { return stopping_ || (!ending_ && flights_.is_settled()); };
    if (is_settled() || !thread_.joinable()) return;
    woken_ = true;
    wake_.notify_all();
    (void)settled_.wait_for(lock, kWait, is_settled);
}

bool Guard::is_idle() const {
    std::size_t seen_off = 0;
    for (const auto& [id, flight] : flights_.all()) {
        if (!flight.seen_off) return false;
        if (queue_.find(id) != nullptr) ++seen_off;
    }
    return queue_.size() == seen_off;
}

void Guard::turn() {
    hear();
    complete_flights();
    act_on_watch();
    act_on_heat();
    look_at_flights();
    restart_where_gone();
    if (!is_clearing()) send_next();
    pay_ledger();
    delete_spent_latents();
    keep_clients_awake();
    flush();
}

void Guard::pay_ledger() {
    const auto held = [&](const std::string& id) -> std::optional<history::HeldJob> {
        const std::lock_guard lock(mutex_);
        const HeldEntry* const entry = queue_.find(id);
        return entry == nullptr ? std::nullopt : std::optional(entry->kept);
    };
    if (ledger_.pay(parts_.clock.unix_ms(), held))
        warn("gateway_kept", "", say<"warning.gateway_kept">());
}

service::Upstream* Guard::upstream() {
    // After a reload it may be elsewhere.
    if (upstream_ && upstream_->address() == parts_.comfyui.address()) return upstream_.get();
    upstream_.reset();
    auto reached = parts_.comfyui.reach();
    if (!reached) {
        note_contact(false, reached.error().message);
        return nullptr;
    }
    upstream_ = std::move(*reached);
    return upstream_.get();
}

void Guard::note_contact(bool reachable, const std::string& why) {
    const std::lock_guard lock(mutex_);
    has_met_comfyui_ = has_met_comfyui_ || reachable;
    const bool is_news = contact_.note(reachable, parts_.clock.unix_ms());
    if (!reachable) flights_.lose_contact();
    recount();
    if (is_news && !reachable)
        notes_.push_back({"comfyui_gone", "", say<"warning.comfyui_gone">(why)});
}

bool Guard::may_ask() const {
    const std::lock_guard lock(mutex_);
    return contact_.may_ask(parts_.clock.unix_ms());
}

// A ComfyUI that is gone, or hangs, is started anew where the user has said how.
void Guard::restart_where_gone() {
    if (!parts_.restart_comfyui) return;
    bool is_gone = false;
    {
        const std::lock_guard lock(mutex_);
        const Times now = this->now();
        is_gone = contact_.is_gone(now.ms);
        const bool hangs = flights_.mark_hung(now.card_ms);
        if (!contact_.take_restart(now.ms, hangs)) return;
    }
    const auto restarted = parts_.restart_comfyui();
    warn(restarted ? "comfyui_restarted" : "comfyui_restart_failed", "",
         !restarted ? Phrase(restarted.error().message)
         : is_gone  ? say<"warning.restarted_gone">()
                    : say<"warning.restarted_hung">());
}

void Guard::keep_clients_awake() {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = parts_.clock.unix_ms();
    if (held_ == 0 || now - woke_clients_ms_ < kWakeMs) return;
    woke_clients_ms_ = now;
    announce();
}

void Guard::on_message(const gateway::UpstreamMessage& message) {
    constexpr std::size_t kMessagesMax = 10'000;  // chosen: five seconds of the fastest sampler
    if (message.binary) return;
    {
        const std::lock_guard lock(mutex_);
        if (messages_.size() >= kMessagesMax) messages_.pop_front();
        messages_.push_back({message, card_clock_.unix_ms()});
        woken_ = true;
    }
    wake_.notify_all();
}

void Guard::on_upstream(bool reachable, const std::string& why) {
    // Only a hint: the thread finds out itself when it asks next.
    if (!reachable) {
        const std::lock_guard lock(mutex_);
        flights_.lose_contact();
        contact_.hint(false);
        recount();
        notes_.push_back({"comfyui_gone", "", why});
        woken_ = true;
    } else {
        const std::lock_guard lock(mutex_);
        contact_.hint(true);
        woken_ = true;
    }
    wake_.notify_all();
}

void Guard::on_client(const std::string& client_id, bool connected) {
    constexpr std::size_t kListeningMax = 100'000;  // chosen: far above the gateway's connections
    const std::lock_guard lock(mutex_);
    if (connected && (listening_.size() < kListeningMax || listening_.contains(client_id)))
        ++listening_[client_id];
    const auto found = listening_.find(client_id);
    if (!connected && found != listening_.end() && --found->second <= 0) listening_.erase(found);
}

}  // namespace plimsoll::guard
