// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/session.h"

#include "base/check.h"
#include "base/say.h"
#include "quality/lab/draws.h"
#include "quality/lab/setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::quality {
namespace {

std::vector<std::size_t> taking_part(const SessionPlan& plan) {
    std::vector<std::size_t> out;
    for (std::size_t k = 0; k < plan.entrants.size(); ++k)
        if (plan.entrants[k].left_out.empty()) out.push_back(k);
    return out;
}

// How many race in each stage at most: the reference may be kept on top of the better half.
std::size_t kept_at_most(std::size_t alive, const RaceRules& rules) {
    return std::min(alive, std::max((alive + 1) / 2, rules.finalists) + 1);
}

}  // namespace

std::vector<Block> blocks_of(const SessionPlan& plan) {
    std::vector<Block> blocks;
    for (std::size_t b = 0; b < plan.rules.blocks_max; ++b)
        blocks.push_back({.prompt = b % plan.prompts.size(), .seed = b / plan.prompts.size()});
    return blocks;
}

std::uint64_t seed_of(const SessionPlan& plan, const Block& block) {
    return Draws(plan.seed + block.prompt * 4096 + block.seed).next() >> 16U;
}

std::optional<int> tile_stride_of(const SessionPlan& plan) {
    // VAEDecodeTiled's own defaults, which our workflows ask for: tiles of 512, 64 of them shared.
    constexpr int kStride = 512 - 64;
    for (const Entrant& entrant : plan.entrants)
        if (entrant.left_out.empty() && entrant.setting.vae_tiling) return kStride;
    return std::nullopt;
}

Bound bound_of(const SessionPlan& plan) {
    std::vector<double> seconds;
    for (const std::size_t k : taking_part(plan))
        seconds.push_back(plan.entrants[k].forecast.seconds);
    std::ranges::sort(seconds, std::ranges::greater{});
    Bound bound;
    std::size_t alive = seconds.size();
    std::size_t before = 0;
    for (const std::size_t blocks : stages_of(plan.rules)) {
        double of_block = 0;
        for (std::size_t k = 0; k < alive; ++k) of_block += seconds[k];
        bound.images += alive * (blocks - before);
        bound.seconds += of_block * static_cast<double>(blocks - before);
        before = blocks;
        alive = kept_at_most(alive, plan.rules);
    }
    return bound;
}

Result<void> fit_blocks(SessionPlan& plan) {
    if (plan.reference >= plan.entrants.size() || !plan.entrants[plan.reference].left_out.empty())
        return fail(Errc::InvalidInput,
                    say<"error.no_reference">(plan.reference < plan.entrants.size()
                                                  ? plan.entrants[plan.reference].left_out
                                                  : Phrase("there is none")));
    if (taking_part(plan).size() < 2)
        return fail(Errc::InvalidInput, say<"error.nothing_to_compare">());
    if (plan.prompts.empty() || plan.prompts.size() > kPromptsMax)
        return fail(Errc::InvalidInput, fmt::format("{} prompts, 1 to {} can be tested",
                                                    plan.prompts.size(), kPromptsMax));
    plan.rules.blocks_max = std::min(plan.rules.blocks_max, kBlocksMax);
    while (bound_of(plan).seconds > plan.seconds_max && plan.rules.blocks_max > kPairsMin)
        plan.rules.blocks_max = std::max(plan.rules.blocks_max / 2, kPairsMin);
    if (const Bound bound = bound_of(plan); bound.seconds > plan.seconds_max)
        return fail(Errc::LimitExceeded,
                    say<"error.test_long">(bound.seconds, bound.images, plan.seconds_max));
    return {};
}

std::string_view session_state_name(SessionState state) {
    constexpr std::array<std::string_view, 6> kNames{"running",   "paused", "done",
                                                     "cancelled", "failed", "proposed"};
    return kNames.at(static_cast<std::size_t>(state));
}

Session::Session(SessionPlan plan) : plan_(std::move(plan)), blocks_(blocks_of(plan_)) {
    progress_.racing = taking_part(plan_);
}

Result<Session> Session::restore(SessionPlan plan, SessionProgress progress,
                                 std::vector<Picture> pictures) {
    const auto wrong = [&](std::string_view what) {
        return fail(Errc::Corrupt, fmt::format("quality session {}: {}", plan.session_id, what));
    };
    if (plan.prompts.empty() || plan.prompts.size() > kPromptsMax) return wrong("its prompts");
    if (plan.rules.blocks_max > kBlocksMax || plan.entrants.size() > kCandidatesMax)
        return wrong("its size");
    if (plan.reference >= plan.entrants.size()) return wrong("its reference");
    if (plan.second_reference.value_or(0) >= plan.entrants.size()) return wrong("its reference");
    if (progress.stage >= stages_of(plan.rules).size()) return wrong("its stage");
    for (const std::size_t candidate : progress.racing)
        if (candidate >= plan.entrants.size()) return wrong("its candidates");
    Session session(std::move(plan));
    session.progress_ = std::move(progress);
    for (Picture& picture : pictures) {
        if (picture.cell.candidate >= session.plan_.entrants.size() ||
            picture.cell.block >= session.blocks_.size())
            return fail(Errc::Corrupt, fmt::format("quality session {}: a picture of no block",
                                                   session.plan_.session_id));
        session.pictures_.insert_or_assign(picture.cell, std::move(picture));
    }
    return session;
}

const Picture* Session::picture(const Cell& cell) const {
    const auto found = pictures_.find(cell);
    return found == pictures_.end() ? nullptr : &found->second;
}

bool Session::is_out(std::size_t candidate) const {
    return std::ranges::any_of(pictures_, [&](const auto& entry) {
        return entry.first.candidate == candidate && entry.second.state == PictureState::Failed &&
               entry.second.attempts >= kAttemptsMax;
    });
}

// What waits for an answer first, then block by block, so that pairs are complete early. The
// reference is drawn before those that are compared with it.
std::optional<Cell> Session::missing_cell() const {
    for (const auto& [cell, picture] : pictures_)
        if (picture.state == PictureState::Asked) return cell;
    const std::size_t blocks = stages_of(plan_.rules)[progress_.stage];
    std::vector<std::size_t> order = progress_.racing;
    std::ranges::stable_partition(order, [&](std::size_t k) { return k == plan_.reference; });
    for (std::size_t b = 0; b < blocks; ++b)
        for (const std::size_t candidate : order) {
            const Picture* const found = picture({candidate, b});
            if (found != nullptr && found->state == PictureState::Drawn) continue;
            if (is_out(candidate)) continue;
            return Cell{candidate, b};
        }
    return std::nullopt;
}

std::optional<Task> Session::next() {
    while (progress_.state == SessionState::Running) {
        if (is_out(plan_.reference)) {
            for (const auto& [cell, picture] : pictures_)
                if (cell.candidate == plan_.reference && picture.state == PictureState::Failed)
                    end(SessionState::Failed, say<"lab.no_reference">(picture.why));
            break;
        }
        const std::optional<Cell> cell = missing_cell();
        const Picture* const known = cell ? picture(*cell) : nullptr;
        const bool asked = known != nullptr && known->state == PictureState::Asked;
        if (cell && !asked && count().seconds_spent >= plan_.seconds_max) {
            end(SessionState::Done, say<"lab.time_up">(count().seconds_spent));
            break;
        }
        if (cell)
            return Task{.cell = *cell,
                        .block = blocks_[cell->block],
                        .setting = plan_.entrants[cell->candidate].setting,
                        .prompt_id = asked ? known->prompt_id : std::string()};
        std::vector<std::size_t> alive;
        for (const std::size_t candidate : progress_.racing)
            if (!is_out(candidate)) alive.push_back(candidate);
        if (alive.size() < 2) {
            end(SessionState::Failed, say<"lab.all_failed">());
            break;
        }
        if (progress_.stage + 1 == stages_of(plan_.rules).size()) {
            end(SessionState::Done, "");
            break;
        }
        progress_.racing = survivors(table(), costs(), alive, plan_.reference, plan_.rules);
        ++progress_.stage;
    }
    return std::nullopt;
}

void Session::end(SessionState state, Phrase why) {
    progress_.state = state;
    progress_.why = std::move(why);
    progress_.is_gone = false;
}

const Picture& Session::ask(const Task& task, std::string prompt_id) {
    Picture& picture = pictures_[task.cell];
    picture.cell = task.cell;
    picture.state = PictureState::Asked;
    picture.prompt_id = std::move(prompt_id);
    ++picture.attempts;
    return picture;
}

void Session::forget(const Cell& cell) {
    Picture& picture = pictures_.at(cell);
    CHECK(picture.state == PictureState::Asked);
    // Not its fault, so it does not count as an attempt.
    --picture.attempts;
    picture.state = PictureState::Failed;
    picture.why = say<"lab.not_submitted">();
}

const Picture& Session::draw(const Cell& cell, double seconds, Bytes peak, std::string file,
                             Seen seen) {
    Picture& picture = pictures_.at(cell);
    picture.state = PictureState::Drawn;
    picture.seconds = seconds;
    picture.peak = peak;
    picture.file = std::move(file);
    picture.seen = std::move(seen);
    picture.why = {};
    progress_.times_gone = 0;
    return picture;
}

const Picture& Session::look_again(const Cell& cell, Seen seen) {
    Picture& picture = pictures_.at(cell);
    CHECK(picture.state == PictureState::Drawn);
    picture.seen = std::move(seen);
    return picture;
}

const Picture& Session::fail_picture(const Cell& cell, Phrase why, Failure failure) {
    Picture& picture = pictures_.at(cell);
    picture.state = PictureState::Failed;
    picture.why = std::move(why);
    if (failure == Failure::Final) picture.attempts = kAttemptsMax;
    return picture;
}

Result<void> Session::pause(Phrase why, PauseCause cause) {
    // One that would go on by itself can be told not to.
    if (cause == PauseCause::Asked && progress_.resumes_itself()) {
        end(SessionState::Paused, std::move(why));
        return {};
    }
    if (progress_.state != SessionState::Running)
        return fail(Errc::InvalidInput,
                    say<"error.not_running">(session_state_name(progress_.state)));
    if (cause == PauseCause::ServerGone && ++progress_.times_gone > kTimesGoneMax)
        why = say<"lab.gone_often">(std::move(why), progress_.times_gone);
    end(SessionState::Paused, std::move(why));
    progress_.is_gone = cause == PauseCause::ServerGone;
    return {};
}

Result<void> Session::resume() {
    if (progress_.state != SessionState::Paused)
        return fail(Errc::InvalidInput,
                    say<"error.not_paused">(session_state_name(progress_.state)));
    if (progress_.times_gone > kTimesGoneMax) progress_.times_gone = 0;  // a person says so
    end(SessionState::Running, "");
    return {};
}

Result<void> Session::cancel() {
    if (is_over(progress_.state))
        return fail(Errc::InvalidInput,
                    say<"error.over_already">(session_state_name(progress_.state)));
    end(SessionState::Cancelled, say<"lab.cancelled">());
    return {};
}

void Session::propose() {
    CHECK(pictures_.empty());
    end(SessionState::Proposed, say<"lab.not_accepted">());
}

Result<void> Session::accept() {
    if (progress_.state != SessionState::Proposed)
        return fail(Errc::InvalidInput,
                    say<"error.not_proposed">(session_state_name(progress_.state)));
    end(SessionState::Running, "");
    return {};
}

void Session::fail_session(Phrase why) {
    end(SessionState::Failed, std::move(why));
}

Session::Count Session::count() const {
    Count out;
    for (const auto& [cell, picture] : pictures_) {
        if (picture.state != PictureState::Drawn) continue;
        ++out.drawn;
        out.seconds_spent += picture.seconds;
    }
    out.at_most = out.drawn;
    if (is_over(progress_.state)) return out;
    const std::vector<Cost> priced = costs();
    std::vector<double> seconds;
    const std::vector<std::size_t> stages = stages_of(plan_.rules);
    for (const std::size_t candidate : progress_.racing) {
        if (is_out(candidate)) continue;
        seconds.push_back(priced[candidate].seconds);
        for (std::size_t b = 0; b < stages[progress_.stage]; ++b) {
            const Picture* const found = picture({candidate, b});
            if (found != nullptr && found->state == PictureState::Drawn) continue;
            ++out.at_most;
            out.seconds_left += priced[candidate].seconds;
        }
    }
    std::ranges::sort(seconds, std::ranges::greater{});
    std::size_t alive = seconds.size();
    for (std::size_t stage = progress_.stage + 1; stage < stages.size(); ++stage) {
        alive = kept_at_most(alive, plan_.rules);
        const std::size_t more = stages[stage] - stages[stage - 1];
        out.at_most += alive * more;
        for (std::size_t k = 0; k < alive; ++k)
            out.seconds_left += seconds[k] * static_cast<double>(more);
    }
    return out;
}

Session::ScorerCount Session::count_scores(std::string_view scorer) const {
    ScorerCount out;
    const std::string name(scorer);
    for (const auto& [cell, picture] : pictures_) {
        if (picture.state != PictureState::Drawn) continue;
        out.scored += picture.seen.scores.contains(name) ? 1 : 0;
        const auto why = picture.seen.unscored.find(name);
        if (why == picture.seen.unscored.end()) continue;
        ++out.failed;
        // "left out" is not why.
        if (out.why.empty() || !why->second.starts_with(kLeftOut)) out.why = why->second;
    }
    return out;
}

Table Session::table() const {
    std::vector<Seen> references;
    std::vector<Seen> second;
    for (const auto& [cell, picture] : pictures_) {
        if (picture.state != PictureState::Drawn) continue;
        if (cell.candidate == plan_.reference) references.push_back(picture.seen);
        if (cell.candidate == plan_.second_reference) second.push_back(picture.seen);
    }
    const Calibration calibration = calibrate(references, second);
    Table table = make_table(plan_.entrants.size(), blocks_);
    table.scorers = plan_.scorers;
    for (const auto& [cell, picture] : pictures_) {
        const Picture* const reference = this->picture({plan_.reference, cell.block});
        if (picture.state != PictureState::Drawn || reference == nullptr ||
            reference->state != PictureState::Drawn)
            continue;
        Marks marks = marks_of(picture.seen, reference->seen, calibration);
        for (const ScorerRules& scorer : plan_.scorers) {
            const auto score = picture.seen.scores.find(scorer.name);
            marks.scores.push_back(
                score == picture.seen.scores.end() ? std::nullopt : std::optional(score->second));
        }
        table.scores[cell.candidate][cell.block] = std::move(marks);
    }
    return table;
}

std::vector<Cost> Session::costs() const {
    struct Sum {
        double seconds = 0;
        double count = 0;
        bool drawn = false;
    };
    std::vector<Sum> sums(plan_.entrants.size());
    for (const auto& [cell, picture] : pictures_) {
        // The very first also loads the model.
        if (picture.state != PictureState::Drawn || cell == Cell{plan_.reference, 0}) continue;
        Sum& sum = sums[cell.candidate];
        sum.drawn = true;
        if (picture.seconds <= 0) continue;
        sum.seconds += picture.seconds;
        ++sum.count;
    }
    // Observed and forecast seconds are never compared with one another: all that were drawn have
    // been observed, or none counts as observed.
    const bool observed =
        std::ranges::all_of(sums, [](const Sum& sum) { return !sum.drawn || sum.count > 0; });
    std::vector<Cost> costs;
    for (std::size_t k = 0; k < plan_.entrants.size(); ++k) {
        // Peaks are the forecast's: what samples saw is a lower bound, by chance higher or lower.
        Cost cost = plan_.entrants[k].forecast;
        if (observed && sums[k].count > 0) cost.seconds = sums[k].seconds / sums[k].count;
        costs.push_back(cost);
    }
    return costs;
}

Answer Session::answer() const {
    std::vector<std::string> names;
    for (const Entrant& entrant : plan_.entrants) names.push_back(setting_words(entrant.setting));
    Answer answer =
        find_answer(table(), costs(), names, plan_.reference, plan_.rules.margin, plan_.seed);
    for (ScorerPart& part : answer.scorers) {
        const ScorerCount count = count_scores(part.rules.name);
        if (count.failed > 0)
            part.why_failed = fmt::format("it failed on {} of {} pictures: {}", count.failed,
                                          count.failed + count.scored, count.why);
    }
    for (Verdict& verdict : answer.verdicts) {
        const Phrase& left_out = plan_.entrants[verdict.candidate].left_out;
        if (!left_out.empty()) verdict.why = left_out.message();
        for (const auto& [cell, picture] : pictures_)
            if (cell.candidate == verdict.candidate && is_out(verdict.candidate) &&
                picture.state == PictureState::Failed)
                verdict.why = picture.why.message();
    }
    return answer;
}

}  // namespace plimsoll::quality
