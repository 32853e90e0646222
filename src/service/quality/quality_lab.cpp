// SPDX-License-Identifier: Apache-2.0
#include "service/quality/quality_lab.h"

#include "base/say.h"
#include "service/picture_comparison.h"

#include <algorithm>
#include <utility>

namespace plimsoll::service {
namespace {

using quality::Cell;
using quality::Session;
using std::chrono::milliseconds;

constexpr milliseconds kTickOfOwn{5};  // as generate: a request to a local server takes one

bool may_be_drawn(const Session& session) {
    return session.progress().state == quality::SessionState::Running ||
           session.progress().resumes_itself();
}

}  // namespace

QualityLab::QualityLab(Parts parts)
    : parts_(std::move(parts)), random_(parts_.seed), ids_(parts_.seed + 1) {}

Result<history::Store*> QualityLab::store() {
    if (!store_) {
        TRY_ASSIGN(store_, parts_.open_store());
    }
    return store_.get();
}

void QualityLab::start() {
    restore();
    if (auto installed = read_brisque(std::nullopt))
        brisque_ = std::move(*installed);
    else if (parts_.on_warning)
        parts_.on_warning("quality", say<"warning.no_brisque">(installed.error().message));
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void QualityLab::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        left_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

// Sessions that an earlier daemon left.
void QualityLab::restore() {
    if (parts_.drawn_by != kDrawnByDaemon) return;
    const std::lock_guard guard(store_mutex_);
    const auto warn = [&](const Error& error) {
        if (parts_.on_warning) parts_.on_warning("quality", error.message);
    };
    const auto opened = store();
    if (!opened) return warn(opened.error());
    const auto known = (*opened)->list_sessions();
    if (!known) return warn(known.error());
    for (const history::QualitySession& row : *known) {
        auto session = load_session(**opened, row.session_id);
        if (!session) {
            warn(session.error());
            continue;
        }
        if (quality::is_over(session->progress().state) ||
            session->plan().drawn_by != kDrawnByDaemon)
            continue;
        const std::lock_guard lock(mutex_);
        open_.emplace(row.session_id, Open{.session = std::move(*session)});
    }
}

void QualityLab::run() {
    for (;;) {
        std::string id;
        {
            std::unique_lock lock(mutex_);
            const auto wanted = [&] { return stopping_ || !next_to_draw().empty(); };
            if (parts_.on_proposal)
                wake_.wait_for(lock, parts_.look_again, wanted);
            else
                wake_.wait(lock, wanted);
            if (stopping_) return;
            id = drawing_ = next_to_draw();
        }
        if (id.empty()) {
            look_around();
            continue;
        }
        const bool drew = draw_one(id);
        std::unique_lock lock(mutex_);
        drawing_.clear();
        if (!drew) wake_.wait_for(lock, parts_.look_again, [&] { return stopping_; });
        if (stopping_) return;
    }
}

// The oldest; those in the background after all others.
std::string QualityLab::next_to_draw() {
    const Session* found = nullptr;
    const auto rank = [](const Session& session) {
        return std::pair(session.plan().in_background, session.plan().created_ms);
    };
    for (const auto& [id, open] : open_)
        if (may_be_drawn(open.session) && (found == nullptr || rank(open.session) < rank(*found)))
            found = &open.session;
    return found == nullptr ? std::string() : found->plan().session_id;
}

bool QualityLab::is_idle() {
    const std::chrono::nanoseconds now = parts_.clock.steady();
    if (parts_.card_is_busy && parts_.card_is_busy()) {
        idle_since_.reset();
        return false;
    }
    if (!idle_since_) idle_since_ = now;
    return now - *idle_since_ >= parts_.idle_after;
}

void QualityLab::give_way() {
    const std::lock_guard lock(mutex_);
    const auto drawn = open_.find(drawing_);
    if (drawn == open_.end() || !drawn->second.session.plan().in_background) return;
    gave_way_ = true;
    cancelled_ = true;
}

void QualityLab::wait_for(Phrase what) {
    const std::lock_guard lock(mutex_);
    waits_for_ = std::move(what);
}

// What was asked of a session while it was drawn. true: something was.
Result<bool> QualityLab::grant_wish(Session& session, history::Store& store) {
    Wish wish = Wish::None;
    {
        const std::lock_guard lock(mutex_);
        wish = std::exchange(open_.at(session.plan().session_id).wish, Wish::None);
        cancelled_ = false;
    }
    if (wish == Wish::None) return false;
    // One that was paused or has ended meanwhile stays so.
    if (wish == Wish::Pause) (void)session.pause(say<"lab.paused">());
    if (wish == Wish::Cancel) (void)session.cancel();
    TRY_DO(keep_session(session, store));
    return true;
}

// false: nothing could be drawn now, try again later.
bool QualityLab::draw_one(const std::string& session_id) {
    // A store of its own: the doors read while a picture is drawn.
    const auto store = parts_.open_store();
    if (!store) {
        wait_for(say<"lab.waits_history">(store.error().message));
        return false;
    }
    std::optional<Session> session;
    {
        const std::lock_guard lock(mutex_);
        session = open_.at(session_id).session;
    }
    auto granted = grant_wish(*session, **store);
    if (granted && !*granted) {
        const bool idle = is_idle();
        if (parts_.card_is_busy && parts_.card_is_busy()) {
            wait_for(say<"lab.waits_job">());
            return false;
        }
        if (session->plan().in_background && !idle) {
            wait_for(say<"lab.waits_idle">());
            return false;
        }
        const auto upstream = parts_.comfyui.reach();
        if (!upstream || !(*upstream)->read_stats()) {
            wait_for(say<"lab.waits_comfyui">());
            return false;
        }
        wait_for({});
        if (session->progress().resumes_itself()) {
            (void)session->resume();
            if (parts_.on_warning)
                parts_.on_warning("quality", say<"warning.session_goes_on">(session_id));
        }
        const auto drawn = draw_next(*session, draw_parts(session_id, **upstream, **store));
        granted = drawn ? grant_wish(*session, **store) : std::unexpected(drawn.error());
        bool gave_way = false;
        {
            const std::lock_guard lock(mutex_);
            gave_way = std::exchange(gave_way_, false);
        }
        // What was given up is asked for anew, once the card is idle again.
        if (granted && gave_way && session->resume()) {
            const auto kept = keep_session(*session, **store);
            if (!kept) granted = std::unexpected(kept.error());
        }
    }
    // Without a history nothing may be drawn: what was asked for could not be found again.
    if (!granted) {
        wait_for(say<"lab.waits_history">(granted.error().message));
        return false;
    }
    publish(session_id, std::move(*session));
    return true;
}

DrawParts QualityLab::draw_parts(const std::string& session_id, Upstream& upstream,
                                 history::Store& store) {
    const std::shared_ptr<const Place> place = parts_.place();
    DrawParts parts{.upstream = upstream,
                    .store = store,
                    .clock = parts_.own != nullptr ? parts_.own->clock() : parts_.clock,
                    .random = random_,
                    .folder = place->config.output_dir.value / "quality" / session_id,
                    .compare = parts_.compare,
                    .scorers = place->scorers,
                    .make_scorer = parts_.make_scorer,
                    .statistics = &statistics_,
                    .brisque = brisque_ ? &*brisque_ : nullptr,
                    .timeout = milliseconds(place->config.timeout.value.count),
                    .left = &left_,
                    .cancelled = &cancelled_,
                    .sleep = parts_.sleep};
    // Waits are in our time: a faster server is looked at more often.
    if (parts_.own != nullptr) {
        parts.stopwatch = &parts_.own->stopwatch();
        if (parts_.own->speed() != 1) parts.tick = kTickOfOwn;
        parts.is_paced = parts_.own->speed() > 0;
    }
    return parts;
}

void QualityLab::publish(const std::string& session_id, Session session) {
    const std::lock_guard lock(mutex_);
    if (quality::is_over(session.progress().state))
        open_.erase(session_id);
    else
        open_.at(session_id).session = std::move(session);
}

// With the store's lock held, which guards the models too.
Result<quality::SessionPlan> QualityLab::plan_with(const QualityOrder& order, const std::string& id,
                                                   std::uint64_t seed) {
    TRY_ASSIGN(const auto upstream, parts_.comfyui.reach());
    const std::shared_ptr<const Place> place = parts_.place();
    if (models_.folders() != place->config.models_dirs.value)
        models_ = ModelLibrary(place->config.models_dirs.value);
    return plan_session(order, {.place = *place,
                                .upstream = *upstream,
                                .models = models_,
                                .session_id = id,
                                .drawn_by = parts_.drawn_by,
                                .created_ms = parts_.clock.unix_ms(),
                                .seed = seed,
                                .forecaster = parts_.forecaster});
}

Result<quality::SessionPlan> QualityLab::plan(const QualityOrder& order) {
    const std::lock_guard guard(store_mutex_);
    return plan_with(order, "", 0);
}

Result<QualityView> QualityLab::begin(const QualityOrder& order) {
    return plan_and_keep(order, false);
}

Result<QualityView> QualityLab::plan_and_keep(const QualityOrder& order, bool is_proposed) {
    std::string id;
    std::uint64_t seed = 0;
    {
        const std::lock_guard lock(mutex_);
        const auto open = std::ranges::count_if(open_, [](const auto& one) {
            return one.second.session.progress().state != quality::SessionState::Proposed;
        });
        if (static_cast<std::size_t>(open) >= kSessionsOpenMax)
            return fail(Errc::LimitExceeded, say<"error.sessions_open">(open));
        id = ids_.next_uuid();
        seed = ids_.next_u64();
    }
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(quality::SessionPlan plan, plan_with(order, id, seed));
    Session session(std::move(plan));
    if (is_proposed) session.propose();
    TRY_ASSIGN(history::Store* const kept, store());
    TRY_DO(keep_session(session, *kept));
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return fail(Errc::Unavailable, "the daemon stops");
        open_.emplace(id, Open{.session = session});
    }
    wake_.notify_all();
    return QualityView(std::move(session));
}

Result<Session> QualityLab::read(std::string_view session_id) {
    std::optional<Session> live;
    {
        const std::lock_guard lock(mutex_);
        if (const auto open = open_.find(session_id); open != open_.end())
            live = open->second.session;
        if (live && (drawing_ == session_id || may_be_drawn(*live))) return std::move(*live);
    }
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    // One that rests may have been cancelled by another program.
    TRY_ASSIGN(Session kept, load_session(*known, session_id));
    if (!live) return kept;
    if (!quality::is_over(kept.progress().state)) return std::move(*live);
    const std::lock_guard lock(mutex_);
    open_.erase(std::string(session_id));
    return kept;
}

QualityView QualityLab::view_of(Session session) {
    QualityView view(std::move(session));
    const std::string& id = view.session.plan().session_id;
    {
        const std::lock_guard lock(mutex_);
        view.is_drawing = drawing_ == id && waits_for_.empty();
        if (may_be_drawn(view.session) && !view.is_drawing)
            view.waits_for = drawing_.empty() || drawing_ == id || !waits_for_.empty()
                                 ? waits_for_
                                 : say<"lab.waits_session">(drawing_);
    }
    const std::lock_guard guard(store_mutex_);
    if (const auto known = store())
        if (const auto votes = (*known)->list_votes(id)) view.votes = votes->size();
    return view;
}

Result<QualityView> QualityLab::find(std::string_view session_id) {
    TRY_ASSIGN(Session session, read(session_id));
    return view_of(std::move(session));
}

Result<std::vector<history::QualitySession>> QualityLab::list() {
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    return known->list_sessions();
}

Result<void> QualityLab::check_owner(const Session& session) const {
    const std::string& drawn_by = session.plan().drawn_by;
    if (drawn_by == parts_.drawn_by) return {};
    if (drawn_by == kDrawnByCommand) return fail(Errc::InvalidInput, say<"error.command_line">());
    return fail(Errc::InvalidInput, drawn_by == kDrawnByLibrary
                                        ? "the session was begun by a program with the library"
                                        : "the session was begun in a daemon");
}

bool QualityLab::has_open(std::string_view session_id) {
    const std::lock_guard lock(mutex_);
    return open_.contains(session_id);
}

Result<QualityView> QualityLab::adopt(std::string_view session_id) {
    if (has_open(session_id)) return resume(session_id);
    TRY_ASSIGN(Session session, read(session_id));
    TRY_DO(check_owner(session));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const kept, store());
    // After a kill it still says that it runs.
    if (session.progress().state != quality::SessionState::Running) TRY_DO(session.resume());
    TRY_DO(keep_session(session, *kept));
    {
        const std::lock_guard lock(mutex_);
        open_.emplace(std::string(session_id), Open{.session = session});
    }
    wake_.notify_all();
    return QualityView(std::move(session));
}

Result<QualityView> QualityLab::change(std::string_view session_id, Wish wish,
                                       const std::function<Result<void>(Session&)>& apply) {
    TRY_ASSIGN(Session session, read(session_id));
    // Tried on a copy first: what is wrong is told at once.
    TRY_DO(apply(session));
    TRY_DO(check_owner(session));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const kept, store());
    {
        const std::lock_guard lock(mutex_);
        const auto open = open_.find(session_id);
        if (open == open_.end()) return fail(Errc::InvalidInput, say<"error.ended_meanwhile">());
        if (drawing_ == session_id && wish != Wish::None) {
            open->second.wish = wish;
            if (wish == Wish::Cancel) cancelled_ = true;
            QualityView view(std::move(session));
            view.is_drawing = true;
            return view;
        }
        session = open->second.session;
        TRY_DO(apply(session));
        TRY_DO(keep_session(session, *kept));
        if (quality::is_over(session.progress().state))
            open_.erase(open);
        else
            open->second.session = session;
    }
    wake_.notify_all();
    return QualityView(std::move(session));
}

Result<QualityView> QualityLab::pause(std::string_view session_id) {
    return change(session_id, Wish::Pause, [](Session& s) { return s.pause(say<"lab.paused">()); });
}
Result<QualityView> QualityLab::accept(std::string_view session_id) {
    return change(session_id, Wish::None, [](Session& s) { return s.accept(); });
}
Result<QualityView> QualityLab::resume(std::string_view session_id) {
    return change(session_id, Wish::None, [](Session& s) { return s.resume(); });
}
Result<QualityView> QualityLab::cancel(std::string_view session_id) {
    return change(session_id, Wish::Cancel, [](Session& s) { return s.cancel(); });
}

Result<VoteCount> QualityLab::count_votes(std::string_view session_id) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    return service::count_votes(session, *known);
}

Result<BlindPair> QualityLab::next_pair(std::string_view session_id) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    return next_blind_pair(session, *known);
}

Result<VoteCount> QualityLab::vote(std::string_view session_id, const Ballot& ballot) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    const std::lock_guard lock(mutex_);
    return cast_vote(session, *known, ballot, parts_.clock.unix_ms(), ids_);
}

Result<PairList> QualityLab::next_pairs(std::string_view session_id, std::size_t count) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    const std::lock_guard lock(mutex_);
    return next_blind_pairs(session, *known, count, ids_);
}

Result<std::vector<KeptBallot>> QualityLab::ballots(std::string_view session_id) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    return list_ballots(session, *known);
}

Result<VoteCount> QualityLab::vote_all(std::string_view session_id,
                                       std::span<const Ballot> ballots) {
    TRY_ASSIGN(const Session session, read(session_id));
    const std::lock_guard guard(store_mutex_);
    TRY_ASSIGN(history::Store* const known, store());
    const std::lock_guard lock(mutex_);
    return cast_votes(session, *known, ballots, parts_.clock.unix_ms(), ids_);
}

Result<std::filesystem::path> QualityLab::picture_file(std::string_view session_id,
                                                       const Cell& cell) {
    TRY_ASSIGN(const Session session, read(session_id));
    const quality::Picture* const picture = session.picture(cell);
    if (picture == nullptr || picture->state != quality::PictureState::Drawn)
        return fail(Errc::NotFound, say<"error.no_picture">());
    return std::filesystem::path(picture->file);
}

}  // namespace plimsoll::service
