// SPDX-License-Identifier: Apache-2.0
#include "service/quality/draw.h"

#include "base/say.h"
#include "quality/lab/comparability.h"
#include "quality/lab/session_json.h"
#include "service/pictures.h"
#include "service/quality/findings.h"
#include "service/quality/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

namespace plimsoll::service {
namespace {

using quality::Cell;
using quality::Session;

constexpr std::size_t kPictureBytesMax = 256U << 20U;  // chosen: far above a PNG of 16 megapixels

Result<std::string> read_picture(const std::string& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error || size > kPictureBytesMax)
        return fail(Errc::NotFound, fmt::format("{}: the picture is gone", path));
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (bytes.size() != size)
        return fail(Errc::NotFound, fmt::format("{}: the picture cannot be read", path));
    return bytes;
}

class Drawer {
  public:
    Drawer(Session& session, const DrawParts& parts) : session_(session), parts_(parts) {}

    Result<bool> draw_next() {
        TRY_DO(obey_others());
        const quality::SessionProgress before = session_.progress();
        const std::optional<quality::Task> task = session_.next();
        if (session_.progress() != before) TRY_DO(keep_session(session_, parts_.store));
        if (!task) return false;
        bool submitted = false;
        std::string prompt_id = task->prompt_id;
        if (!prompt_id.empty()) {
            const auto job = parts_.upstream.read_job(prompt_id);
            if (!job) return pause(job.error().message);  // ComfyUI is gone
            submitted = job->state != JobState::Unknown;
            // Neither queued nor in its history: it was never drawn, or nobody can have it.
            if (!submitted) {
                session_.forget(task->cell);
                TRY_DO(keep_picture(task->cell));
                return true;
            }
        } else {
            prompt_id = parts_.random.next_uuid();
            session_.ask(*task, prompt_id);
            TRY_DO(keep_picture(task->cell));
        }
        TRY_DO(run(*task, prompt_id, submitted));
        TRY_DO(keep_picture(task->cell));
        TRY_DO(add_statistics());
        TRY_DO(obey_others());
        TRY_DO(keep_session(session_, parts_.store));
        return session_.progress().state == quality::SessionState::Running && !was_left_;
    }

  private:
    // Another program (quality cancel) may have ended it in the history.
    Result<void> obey_others() {
        if (quality::is_over(session_.progress().state)) return {};
        TRY_ASSIGN(const auto known, parts_.store.list_sessions());
        const auto row = std::ranges::find(known, session_.plan().session_id,
                                           &history::QualitySession::session_id);
        if (row == known.end()) return {};
        const auto progress = quality::parse_progress(row->progress_json);
        if (progress && progress->state == quality::SessionState::Cancelled)
            (void)session_.cancel();
        return {};
    }

    Result<bool> pause(const std::string& why) {
        // Only a running session is drawn; one that was paused meanwhile has its reason already.
        (void)session_.pause(why, quality::PauseCause::ServerGone);
        TRY_DO(keep_session(session_, parts_.store));
        return false;
    }

    Result<void> run(const quality::Task& task, const std::string& prompt_id, bool submitted) {
        const quality::SessionPlan& plan = session_.plan();
        const std::string workflow = workflow_of_setting(
            task.setting, plan.prompts[task.block.prompt], plan.negative,
            quality::seed_of(plan, task.block),
            fmt::format("plimsoll_quality/{}_c{:02}_b{:02}", plan.session_id.substr(0, 8),
                        task.cell.candidate, task.cell.block));
        FollowOptions follow;
        follow.timeout = parts_.timeout;
        follow.tick = parts_.tick;
        follow.stopwatch = parts_.stopwatch;
        follow.cancelled = parts_.cancelled;
        follow.left = parts_.left;
        follow.sleep = parts_.sleep;
        follow.submitted = submitted;
        const auto report = run_job(parts_.upstream, workflow, prompt_id, parts_.random.next_uuid(),
                                    parts_.clock, follow);
        if (!report) {
            // Refused: as often as it is sent.
            if (report.error().code != Errc::Unavailable) {
                session_.fail_picture(task.cell, report.error().message, Session::Failure::Final);
                return {};
            }
            // Whether it arrived is for whoever goes on to find out.
            (void)session_.pause(report.error().message, quality::PauseCause::ServerGone);
            return {};
        }
        take_report(task, *report);
        return {};
    }

    void take_report(const quality::Task& task, const JobReport& report) {
        switch (report.end) {
            case JobEnd::Succeeded:
                take_picture(task, report);
                return;
            case JobEnd::OutOfMemory:
                session_.fail_picture(task.cell, report.why, Session::Failure::Final);
                return;
            case JobEnd::Failed:
            case JobEnd::TimedOut:
                session_.fail_picture(task.cell, report.why, Session::Failure::MayPass);
                return;
            case JobEnd::Left:
                was_left_ = true;  // still asked for: the next program finds it
                return;
            case JobEnd::Cancelled:
                session_.forget(task.cell);
                (void)session_.pause(report.why);
                return;
            case JobEnd::Lost:  // it may be found when ComfyUI is back
                (void)session_.pause(report.why, quality::PauseCause::ServerGone);
                return;
        }
    }

    void take_picture(const quality::Task& task, const JobReport& report) {
        const auto image = std::ranges::find(report.images, "output", &ImageRef::type);
        if (image == report.images.end()) {
            session_.fail_picture(task.cell, say<"lab.no_picture">(), Session::Failure::MayPass);
            return;
        }
        auto bytes = parts_.upstream.download(*image);
        // It is drawn and ComfyUI has it: asked for again when it can be had.
        if (!bytes) {
            (void)session_.pause(say<"lab.not_fetched">(bytes.error().message),
                                 quality::PauseCause::ServerGone);
            return;
        }
        const auto folder = check_folder(parts_.folder);
        auto saved = folder ? save_image(parts_.folder, image->filename, *bytes)
                            : Result<std::filesystem::path>(std::unexpected(folder.error()));
        if (!saved) {
            (void)session_.pause(saved.error().message);
            return;
        }
        auto seen = look_at(task, *bytes);
        if (!seen) {
            session_.fail_picture(task.cell, seen.error().message, Session::Failure::MayPass);
            return;
        }
        if (!score(task, *bytes, *saved, *seen)) {
            was_left_ = true;  // still asked for: the next program shows it to the scorers
            return;
        }
        session_.draw(task.cell, parts_.is_paced ? report.seconds : 0,
                      report.samples > 0 ? report.allocated_peak : Bytes(), saved->string(), *seen);
    }

    Result<quality::Seen> look_at(const quality::Task& task, const std::string& bytes) {
        const std::size_t reference = session_.plan().reference;
        if (task.cell.candidate == reference) {
            TRY_ASSIGN(const quality::Comparison self, compare(bytes, bytes));
            quality::Seen seen = quality::seen_of(self, true, "");
            seen.distance = 0;
            seen.why_no_distance = {};
            seen.distance_to_other = distance_to_other(task.cell, bytes);
            return seen;
        }
        const quality::Picture* const beside = session_.picture({reference, task.cell.block});
        if (beside == nullptr) return fail(Errc::Internal, "its reference was not drawn");
        TRY_ASSIGN(const std::string original, read_picture(beside->file));
        const auto comparable =
            quality::comparability(task.setting, session_.plan().entrants[reference].setting);
        // Of pictures of two sizes only the measures of each are of use.
        auto comparison = compare(original, bytes);
        if (!comparison && !comparable.full_reference) comparison = compare(bytes, bytes);
        if (!comparison) return std::unexpected(comparison.error());
        return quality::seen_of(*comparison, comparable.full_reference, comparable.why);
    }

    // NIQE of all pictures that can have one now; a stop leaves the rest to whoever goes on.
    Result<void> add_statistics() {
        if (parts_.statistics == nullptr) return {};
        while (parts_.left == nullptr || !*parts_.left) {
            const auto cell = parts_.statistics->next_unmeasured(session_);
            if (!cell) break;
            quality::Seen seen = session_.picture(*cell)->seen;
            parts_.statistics->measure(session_, *cell, seen);
            session_.look_again(*cell, std::move(seen));
            TRY_DO(keep_picture(*cell));
        }
        return {};
    }
    [[nodiscard]] Result<quality::Comparison> compare(const std::string& reference,
                                                      const std::string& candidate) const {
        return parts_.compare(reference, candidate,
                              {.niqe = nullptr,
                               .brisque = parts_.brisque,
                               .tile_stride = quality::tile_stride_of(session_.plan())});
    }

    // Shows the picture to the user's scorers. A failure is the scorer's, never the picture's.
    // false: stopped in the middle.
    bool score(const quality::Task& task, const std::string& bytes,
               const std::filesystem::path& file, quality::Seen& seen) {
        const quality::SessionPlan& plan = session_.plan();
        if (plan.scorers.empty()) return true;
        ScoredPicture picture{.prompt = plan.prompts[task.block.prompt],
                              .negative = plan.negative,
                              .file = file,
                              .bytes = bytes,
                              .reference_file = {},
                              .reference_bytes = {}};
        Result<std::string> original = std::string();
        if (task.cell.candidate != plan.reference) {
            picture.reference_file = session_.picture({plan.reference, task.cell.block})->file;
            original = read_picture(picture.reference_file.string());
        }
        if (original) picture.reference_bytes = *original;
        for (const quality::ScorerRules& rules : plan.scorers) {
            const auto score =
                original ? ask(rules, picture) : Result<double>(std::unexpected(original.error()));
            if (parts_.left != nullptr && *parts_.left) return false;
            if (score)
                seen.scores.emplace(rules.name, *score);
            else
                seen.unscored.emplace(rules.name, score.error().message);
        }
        return true;
    }
    Result<double> ask(const quality::ScorerRules& rules, const ScoredPicture& picture) {
        if (const auto count = session_.count_scores(rules.name); count.is_out())
            return fail(Errc::Unavailable,
                        fmt::format("{} after {} failures", quality::kLeftOut, count.failed));
        const auto spec = std::ranges::find(parts_.scorers, rules.name,
                                            [](const ScorerSpec& one) { return one.rules.name; });
        if (spec == parts_.scorers.end()) return fail(Errc::NotFound, "it is configured no longer");
        return parts_.make_scorer(*spec)->score(picture, parts_.left);
    }

    // To the reference picture before it, of another prompt or seed.
    std::optional<double> distance_to_other(const Cell& cell, const std::string& bytes) {
        if (cell.block == 0) return std::nullopt;
        const quality::Picture* const other = session_.picture({cell.candidate, cell.block - 1});
        if (other == nullptr || other->state != quality::PictureState::Drawn) return std::nullopt;
        const auto read = read_picture(other->file);
        if (!read) return std::nullopt;
        const auto comparison = compare(*read, bytes);
        if (!comparison) return std::nullopt;
        const auto likeness = comparison->pair.mean_over_scales(quality::Measure::HaarPsi);
        if (!likeness) return std::nullopt;
        return 1 - *likeness;
    }

    Result<void> keep_picture(const Cell& cell) {
        const quality::Picture* const picture = session_.picture(cell);
        return parts_.store.keep_picture({.session_id = session_.plan().session_id,
                                          .candidate = static_cast<std::int64_t>(cell.candidate),
                                          .block = static_cast<std::int64_t>(cell.block),
                                          .picture_json = quality::encode_picture(*picture)});
    }

    Session& session_;
    const DrawParts& parts_;
    bool was_left_ = false;
};

}  // namespace

Result<bool> draw_next(Session& session, const DrawParts& parts) {
    return Drawer(session, parts).draw_next();
}

Result<void> keep_session(const Session& session, history::Store& store) {
    return store.keep_session({.session_id = session.plan().session_id,
                               .model = session.plan().model,
                               .created_ms = session.plan().created_ms,
                               .plan_json = quality::encode_plan(session.plan()),
                               .progress_json = quality::encode_progress(session.progress()),
                               .findings_json = quality::is_over(session.progress().state)
                                                    ? encode_findings(findings_of(session))
                                                    : std::string("[]")});
}

Result<Session> cancel_session(history::Store& store, std::string_view session_id) {
    TRY_ASSIGN(Session session, load_session(store, session_id));
    TRY_DO(session.cancel());
    TRY_DO(keep_session(session, store));
    return session;
}

Result<Session> accept_session(history::Store& store, std::string_view session_id) {
    TRY_ASSIGN(Session session, load_session(store, session_id));
    TRY_DO(session.accept());
    TRY_DO(keep_session(session, store));
    return session;
}

Result<Session> load_session(history::Store& store, std::string_view session_id) {
    TRY_ASSIGN(const auto known, store.list_sessions());
    const auto found = std::ranges::find(known, session_id, &history::QualitySession::session_id);
    if (found == known.end()) {
        std::string list;
        for (std::size_t i = 0; i < std::min<std::size_t>(known.size(), 5); ++i)
            list += (list.empty() ? "" : ", ") + known[i].session_id;
        return fail(Errc::NotFound,
                    list.empty() ? say<"error.no_session">(session_id.substr(0, 80))
                                 : say<"error.no_such_session">(session_id.substr(0, 80), list));
    }
    TRY_ASSIGN(quality::SessionPlan plan, quality::parse_plan(found->plan_json));
    TRY_ASSIGN(quality::SessionProgress progress, quality::parse_progress(found->progress_json));
    TRY_ASSIGN(const auto rows, store.list_pictures(session_id));
    std::vector<quality::Picture> pictures;
    for (const history::QualityPicture& row : rows) {
        TRY_ASSIGN(quality::Picture picture, quality::parse_picture(row.picture_json));
        pictures.push_back(std::move(picture));
    }
    return Session::restore(std::move(plan), std::move(progress), std::move(pictures));
}

}  // namespace plimsoll::service
