// SPDX-License-Identifier: Apache-2.0
//
// Guard: what the gateway asks about prompts. Each is checked and by the policy warned about,
// changed or refused (check.h); what is accepted is kept in the history before the answer and goes
// to ComfyUI one at a time, in turn (turn.h); when it fails for want of memory it climbs the ladder
// (ladder.h); heat, other programs and what earlier jobs left on the card are waited for or cleared
// away. What was accepted ends once: done, failed with a reason, or taken back by its client.
//
// Enters through: gateway::PromptHook and GatewayObserver, Store, Upstream, Clock.   Leaves
// through: prompts, answers, callbacks.   Threads: one of its own talks to ComfyUI; everything else
// from any. Callbacks come without a lock held.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "base/random.h"
#include "gateway/prompt_hook.h"
#include "guard/body_text.h"
#include "guard/check.h"
#include "guard/contact.h"
#include "guard/discretion.h"
#include "guard/ended_jobs.h"
#include "guard/flights.h"
#include "guard/foresight.h"
#include "guard/guard_parts.h"
#include "guard/heat.h"
#include "guard/held_queue.h"
#include "guard/held_view.h"
#include "guard/ladder.h"
#include "guard/ledger.h"
#include "guard/paced_clock.h"
#include "guard/refused_prompts.h"
#include "guard/residents.h"
#include "guard/written_work.h"
#include "history/store.h"
#include "service/lookout.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::guard {

struct Call;  // call.h

class Guard final : public gateway::PromptHook, public gateway::GatewayObserver {
  public:
    using Parts = GuardParts;
    using Callbacks = GuardCallbacks;
    Guard(Parts parts, Callbacks callbacks);
    ~Guard() override { stop(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // Takes up what an earlier process left. Before the gateway listens.
    void restore();
    void start();
    void stop();
    // One turn of its own thread, in the caller's: for tests, without `start`.
    void turn();

    // PromptHook
    void attach(gateway::HookDoor& door) override;
    void detach() override;
    [[nodiscard]] gateway::PromptDecision decide(gateway::PromptCall& call) override;
    [[nodiscard]] bool wants(gateway::Route route) const noexcept override;
    [[nodiscard]] std::optional<gateway::Answer> answer(
        const gateway::ClientRequest& request) override;
    [[nodiscard]] std::optional<gateway::Answer> amend(const gateway::ClientRequest& request,
                                                       const gateway::Answer& upstream) override;
    [[nodiscard]] std::int64_t held_jobs() const noexcept override { return held_; }
    [[nodiscard]] bool may_withhold() const noexcept override { return may_withhold_; }
    [[nodiscard]] bool withholds(std::string_view text) override;

    // GatewayObserver
    void on_message(const gateway::UpstreamMessage& message) override;
    void on_upstream(bool reachable, const std::string& why) override;
    void on_prompt_answered(std::uint64_t number, int status, const std::string& body) override;
    void on_client(const std::string& client_id, bool connected) override;

    // What the lookout saw.
    void on_sample(const service::CardSample& sample);

    // The doors.
    [[nodiscard]] std::vector<HeldView> list() const;  // with ComfyUI, waiting in order, ended
    [[nodiscard]] Result<HeldView> find(std::string_view prompt_id) const;
    [[nodiscard]] Result<HeldView> cancel(std::string_view prompt_id);
    // Before another job, or to the end of its priority where `before` is empty.
    [[nodiscard]] Result<void> move(std::string_view prompt_id, std::string_view before);
    [[nodiscard]] Result<HeldView> set_priority(std::string_view prompt_id, std::int64_t priority);
    // Its user takes the risk: one that was refused goes into the queue as it came, one that is
    // held waits for nothing but its turn, which is the next. One that ComfyUI has stays as it is.
    [[nodiscard]] Result<HeldView> run_anyway(std::string_view prompt_id);
    void pause();
    void resume();
    [[nodiscard]] bool is_paused() const;
    [[nodiscard]] GuardCounts counts() const;
    [[nodiscard]] GuardView view() const;

  private:
    struct Note {
        std::string code;
        std::string prompt_id;
        Phrase text;
    };
    struct Heard {
        gateway::UpstreamMessage message;
        std::int64_t card_ms = 0;  // when it came, by the card's time: it may wait for its turn
    };

    // guard.cpp: accepting
    [[nodiscard]] Wishes wishes_of(const gateway::PromptCall& call,
                                   const gateway::PromptBody& fields, Result<Wishes>& read) const;
    void check(Call& call);
    [[nodiscard]] gateway::PromptDecision accept(Call& call);
    void save_latent_where_it_pays(Call& call);
    void go_unkept(HeldEntry& entry, const std::string& why);
    // and what is said afterwards, where no lock is held
    void recount();                                  // with the lock held
    void announce();                                 // how many wait; with the lock held
    void note_change(const std::string& prompt_id);  // for the doors; with the lock held
    void warn(std::string_view code, const std::string& prompt_id, Phrase text);
    void flush();  // callbacks and broadcasts that were put off

    // anyway.cpp: what was refused, and what its user sends all the same
    void keep_refused(Call& call);
    [[nodiscard]] Result<history::HeldJob> release_held(const std::string& id);
    [[nodiscard]] Result<void> accept_refused(const std::string& id);

    // answers.cpp: ComfyUI's routes; doors.cpp: the daemon's
    // An answer of /history without the output of the node that saves a latent; with the lock held.
    [[nodiscard]] std::string without_our_output(std::string answer) const;
    // Takes back those that wait; those that ComfyUI has are left to it. The ids that it took.
    std::vector<std::string> take_back(const std::vector<std::string>& ids);
    [[nodiscard]] HeldView view_of(const HeldEntry& entry) const;  // with the lock held

    // conduct.cpp: the threads, and whether ComfyUI is there
    void run();
    // Hears from ComfyUI itself that something ended, whoever's sockets are open.
    void listen();
    void hear();  // all messages that have come
    // Waits a while until every job that ComfyUI is known to be done with is ended here: whoever
    // asks next has seen that end.
    void settle();
    [[nodiscard]] bool is_idle() const;  // nothing is with ComfyUI or waits; with the lock held
    [[nodiscard]] service::Upstream* upstream();
    void note_contact(bool reachable, const std::string& why);
    [[nodiscard]] bool may_ask() const;  // ComfyUI, which may be gone
    void restart_where_gone();
    void pay_ledger();
    void keep_clients_awake();
    [[nodiscard]] Times now() const { return {parts_.clock.unix_ms(), card_clock_.unix_ms()}; }
    // Milliseconds of ours that so many of the card's take.
    [[nodiscard]] std::int64_t of_card(std::int64_t card_ms) const {
        return static_cast<std::int64_t>(static_cast<double>(card_ms) / card_clock_.pace());
    }

    // sending.cpp: what goes to ComfyUI
    void send_next();
    [[nodiscard]] Moment moment() const;  // with the lock held
    // What is forecast for it as the card is now; true: the card is to be cleared first.
    [[nodiscard]] bool prepare(const HeldEntry& entry, Flight& flight);
    void send(const HeldEntry& entry, Flight flight);
    void refuse_late(const HeldEntry& entry, Flight flight, const service::PromptReply& reply);
    void clear_card(bool reset_caches);
    [[nodiscard]] bool is_clearing();

    // watching.cpp: what is seen of the card, and done about it
    void note_alarm(const std::string& prompt_id, const Alarm& alarm);  // with the lock held
    void act_on_heat();
    void act_on_watch();
    void stop_flight(const std::string& prompt_id, const Phrase& reason, StopCause cause);

    // following.cpp: jobs with ComfyUI, to their end
    void take_message(const Heard& heard);
    void complete_flights();
    void look_at_flights();
    void look_at_flight(const std::string& prompt_id);
    void end_flight(const std::string& prompt_id);
    void end_unsuccessful(Flight flight);
    void end_stopped(Flight flight);
    void end_job(const Flight& flight, HeldState state, const Phrase& why,
                 std::optional<std::string> history);
    // By whoever took it out of the queue; with the lock held.
    void note_end(const HeldEntry& entry, HeldState state, Phrase why,
                  std::optional<std::string> history);
    void record_run(Flight& flight, history::Outcome outcome, const std::string& error);
    // One that nobody waits for any more.
    void forget(const std::string& prompt_id);
    // Nothing is known to be on the card any more.
    void forget_card();

    // untold.cpp: jobs that ComfyUI did and cannot tell of any more.
    // ComfyUI does not know it, and it did not end well: whether its pictures are there all the
    // same. True: it is dealt with, as done, or to be asked after again.
    [[nodiscard]] bool has_left_its_work(Flight& flight);
    // It is done, and what it has put out is known from elsewhere: it is told as ComfyUI would
    // have.
    void end_untold(Flight flight);

    // latents.cpp: the files of latents that nobody will read any more.
    void spend_latent(const Facts& facts);  // with the lock held
    void delete_spent_latents();

    // rescue.cpp: what did not end well
    void end_failed(Flight flight, Failure failure, const std::string& message);
    void end_quarantined(const Flight& flight, const Phrase& reason);
    void put_back(const Flight& flight, const LadderStep& step);
    [[nodiscard]] bool make_next_plan(HeldEntry& entry);
    // Reads the saved latent in the sampler's place, where ComfyUI has lost what it had computed
    // and the file is there.
    void load_latent(HeldEntry& entry);
    // Our node failed: the job goes again without it. False: it is not in it.
    bool drop_latent(const Flight& flight, std::string_view node_id);
    // Keeps an entry that was changed outside of the lock.
    void keep_changed(HeldEntry entry);
    // What clients hear from us. After end_job: whoever hears of it asks the history at once.
    void tell_failure(const LateFailure& failure, const std::string& client);
    void tell_of_retry(const HeldEntry& entry, const Phrase& reason);  // with the lock held

    Parts parts_;
    Callbacks callbacks_;
    PacedClock card_clock_;  // jobs and heat are timed by it
    Foresight foresight_;

    Ledger ledger_;
    std::mutex hearing_;            // one message at a time, in order; before mutex_
    mutable std::mutex mutex_;      // guards what follows
    std::condition_variable wake_;  // of the thread
    std::condition_variable over_;  // of the listener
    std::condition_variable settled_;
    bool ending_ = false;  // a job that did not succeed is dealt with
    bool stopping_ = false;
    bool woken_ = false;
    gateway::HookDoor* door_ = nullptr;
    Random ids_;
    HeldQueue queue_;
    std::set<std::string> accepting_;
    Flights flights_;
    Discretion discretion_{queue_, flights_};
    std::map<std::string, int> listening_;  // sockets that are open, by client id
    EndedJobs ended_;
    RefusedPrompts refused_;
    Walls walls_;
    std::int64_t next_number_ = 0;
    std::int64_t upstream_remaining_ = 0;
    Contact contact_;
    bool paused_ = false;
    bool ids_are_kept_ = true;  // ComfyUI gives prompts the ids that it is sent
    HeatWatch heat_;
    std::string loaded_;  // the models of the last job
    Residents residents_;
    GuardCounts counts_;
    std::optional<service::CardSample> sample_;
    std::deque<Heard> messages_;
    std::deque<Note> notes_;
    std::deque<HeldView> changed_;
    std::optional<std::int64_t> to_broadcast_;
    std::vector<std::string> spent_latents_;  // stems of files that may go
    bool has_met_comfyui_ = false;            // in this process

    std::atomic<std::int64_t> held_ = 0;     // pending here and not with ComfyUI
    std::atomic<bool> has_history_ = false;  // of jobs that ended here
    std::atomic<bool> has_flights_ = false;
    std::atomic<bool> may_withhold_ = false;
    std::atomic<bool> has_latents_ = false;  // saved by a node of ours
    std::atomic<bool> clearing_now_ = false;

    // Of the thread alone.
    std::unique_ptr<service::Upstream> upstream_;
    ClaimedFiles claimed_;   // of jobs that ended, and of tries before the last
    bool is_swept_ = false;  // of latents that earlier processes left
    struct {
        std::size_t files = 0;
        std::uint64_t bytes = 0;
        std::uint64_t told_bytes = 0;
    } latents_left_;                         // that cannot be deleted from here
    std::optional<MemorySettles> clearing_;  // POST /free was sent, memory comes to rest
    std::int64_t woke_clients_ms_ = 0;
    bool is_busy_ = false;
    std::thread thread_;
    std::thread listener_;
};

}  // namespace plimsoll::guard
