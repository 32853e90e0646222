// SPDX-License-Identifier: Apache-2.0
//
// QualityLab: the quality sessions of a daemon. One draws at a time, the oldest first, while no job
// of the queue runs; those of an earlier daemon go on where they were. A stop leaves the picture
// that is being drawn to ComfyUI, where the next start finds it.
//
// Enters through: ComfyAtHand, Store, Clock, Random.   Leaves through: QualityView.   Threads: any;
// pictures are drawn in a thread of its own.
//
// Models that ComfyUI lists and that were never tested get a test proposed, once nothing has used
// the card for a while. Accepted (by a person, or by quality_run_when_idle) it is drawn while the
// card is idle, and gives way in the middle of a picture when a job comes.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "base/random.h"
#include "history/store.h"
#include "quality/lab/session.h"
#include "service/comfy_at_hand.h"
#include "service/own_server.h"
#include "service/place.h"
#include "service/quality/draw.h"
#include "service/quality/order.h"
#include "service/quality/votes.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::service {

inline constexpr std::size_t kSessionsOpenMax = 16;  // chosen: each is hours of work
inline constexpr std::size_t kProposalsMax = 8;      // chosen: that wait at once

// A session as doors show it.
struct QualityView {
    explicit QualityView(quality::Session of) : session(std::move(of)) {}
    quality::Session session;
    bool is_drawing = false;  // its pictures are drawn now; else it waits for its turn
    Phrase waits_for;         // "ComfyUI", "a job"...; empty
    std::size_t votes = 0;
};

class QualityLab {
  public:
    struct Parts {
        std::function<std::shared_ptr<const Place>()> place;
        ComfyAtHand& comfyui;
        OwnServer* own = nullptr;  // whose clock and pace `comfyui` has
        // Whose sessions these are. Only a daemon's go on by themselves when it starts: of others
        // there may be several at once.
        std::string drawn_by = std::string(kDrawnByDaemon);
        std::function<Result<std::unique_ptr<history::Store>>()> open_store;
        const Clock& clock;
        std::uint64_t seed = 0;
        std::function<bool()> card_is_busy = nullptr;  // jobs go first
        ComparePictures compare = compare_picture_bytes;
        ScorerMaker make_scorer = service::make_scorer;
        std::function<advisor::Forecaster(const Site&, const Job&)> forecaster = nullptr;
        std::function<void(std::chrono::milliseconds)> sleep = nullptr;  // see FollowOptions
        std::chrono::milliseconds look_again{1000};  // while ComfyUI is away or a job runs; chosen
        std::function<void(std::string_view code, const Phrase& message)> on_warning = nullptr;
        // Tells of a test that was proposed; nullptr: none is.
        std::function<void(const QualityView&)> on_proposal = nullptr;
        std::chrono::milliseconds idle_after{60'000};   // the card counts as idle; chosen
        std::chrono::milliseconds look_every{600'000};  // for models that are new; chosen
    };
    explicit QualityLab(Parts parts);
    ~QualityLab() { stop(); }
    QualityLab(const QualityLab&) = delete;
    QualityLab& operator=(const QualityLab&) = delete;

    void start();
    void stop();

    // Unavailable without ComfyUI, LimitExceeded when kSessionsOpenMax are open; else as
    // plan_session.
    [[nodiscard]] Result<QualityView> begin(const QualityOrder& order);
    // What begin() would begin: nothing is kept, nothing is drawn.
    [[nodiscard]] Result<quality::SessionPlan> plan(const QualityOrder& order);
    // NotFound lists the known ones.
    [[nodiscard]] Result<QualityView> find(std::string_view session_id);
    [[nodiscard]] Result<std::vector<history::QualitySession>> list();
    // The picture that is being drawn is finished first.
    [[nodiscard]] Result<QualityView> pause(std::string_view session_id);
    [[nodiscard]] Result<QualityView> resume(std::string_view session_id);
    [[nodiscard]] Result<QualityView> cancel(std::string_view session_id);
    // Tests that wait for somebody to accept them, oldest first.
    [[nodiscard]] Result<std::vector<QualityView>> proposals();
    [[nodiscard]] Result<QualityView> accept(std::string_view session_id);
    // A job has come: the picture of a test in the background is given up at once. It is drawn
    // again later.
    void give_way();
    // Goes on with a session that an earlier program of the same kind left; of one that is open it
    // is resume. InvalidInput when it is over, or another kind's.
    [[nodiscard]] Result<QualityView> adopt(std::string_view session_id);
    [[nodiscard]] bool has_open(std::string_view session_id);
    // NotFound where no block has pictures of two settings.
    [[nodiscard]] Result<BlindPair> next_pair(std::string_view session_id);
    // InvalidInput unless both pictures are of one block and were drawn.
    [[nodiscard]] Result<VoteCount> vote(std::string_view session_id, const Ballot& ballot);
    [[nodiscard]] Result<VoteCount> count_votes(std::string_view session_id);
    // For scripts and files: many pairs, all votes, and votes that were cast elsewhere.
    [[nodiscard]] Result<PairList> next_pairs(std::string_view session_id, std::size_t count);
    [[nodiscard]] Result<std::vector<KeptBallot>> ballots(std::string_view session_id);
    [[nodiscard]] Result<VoteCount> vote_all(std::string_view session_id,
                                             std::span<const Ballot> ballots);
    // The file of a picture. NotFound where there is none.
    [[nodiscard]] Result<std::filesystem::path> picture_file(std::string_view session_id,
                                                             const quality::Cell& cell);

  private:
    enum class Wish : std::uint8_t { None, Pause, Cancel };
    struct Open {
        quality::Session session;  // as last published
        Wish wish = Wish::None;
    };
    void restore();
    void run();
    [[nodiscard]] std::string next_to_draw();  // with the lock held
    [[nodiscard]] bool is_idle();              // of the drawing thread
    void look_around();
    void sync_proposals(history::Store& store);
    void propose_tests(history::Store& store);
    [[nodiscard]] Result<QualityView> plan_and_keep(const QualityOrder& order, bool is_proposed);
    [[nodiscard]] bool draw_one(const std::string& session_id);
    [[nodiscard]] Result<bool> grant_wish(quality::Session& session, history::Store& store);
    [[nodiscard]] DrawParts draw_parts(const std::string& session_id, Upstream& upstream,
                                       history::Store& store);
    void publish(const std::string& session_id, quality::Session session);
    void wait_for(Phrase what);
    [[nodiscard]] Result<QualityView> change(
        std::string_view session_id, Wish wish,
        const std::function<Result<void>(quality::Session&)>& apply);
    [[nodiscard]] Result<quality::Session> read(std::string_view session_id);
    [[nodiscard]] Result<void> check_owner(const quality::Session& session) const;
    [[nodiscard]] Result<history::Store*> store();  // with the store's lock held
    [[nodiscard]] Result<quality::SessionPlan> plan_with(const QualityOrder& order,
                                                         const std::string& id, std::uint64_t seed);
    [[nodiscard]] QualityView view_of(quality::Session session);

    Parts parts_;
    std::mutex store_mutex_;
    std::unique_ptr<history::Store> store_;
    ModelLibrary models_{{}};
    RunStatistics statistics_;  // of the drawing thread
    std::optional<quality::BrisqueModel> brisque_;
    std::optional<std::chrono::nanoseconds> idle_since_;  // of the drawing thread, as the next two
    std::optional<std::chrono::nanoseconds> looked_at_;
    std::set<std::string, std::less<>> passed_over_;  // checkpoints that cannot be tested
    Random random_;                                   // of the drawing thread

    std::mutex mutex_;  // guards what follows
    std::condition_variable wake_;
    bool stopping_ = false;
    Random ids_;
    std::map<std::string, Open, std::less<>> open_;
    std::string drawing_;
    Phrase waits_for_;
    std::atomic<bool> left_ = false;
    std::atomic<bool> cancelled_ = false;
    bool gave_way_ = false;
    std::thread thread_;
};

}  // namespace plimsoll::service
