// SPDX-License-Identifier: Apache-2.0
//
// Draws the pictures of a session, one after the other: written down, submitted, followed,
// downloaded, measured, written down again. What an earlier program asked for is looked up before
// anything is asked anew, so that no picture is drawn twice.
//
// Enters through: Upstream, Store, Clock, Random, files.   Leaves through: quality::Session,
// pictures.   Threads: runs in the caller's.
#pragma once
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "history/store.h"
#include "quality/compare.h"
#include "quality/lab/session.h"
#include "service/comfyui/follow.h"
#include "service/quality/run_statistics.h"
#include "service/quality/scorers/scorer.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// Seam: two pictures as bytes of files, measured. `candidate` may be the reference itself.
using ComparePictures = std::function<Result<quality::Comparison>(
    std::string_view reference, std::string_view candidate, const quality::Models& models)>;
// The real one.
[[nodiscard]] Result<quality::Comparison> compare_picture_bytes(std::string_view reference,
                                                                std::string_view candidate,
                                                                const quality::Models& models);

struct DrawParts {
    Upstream& upstream;
    history::Store& store;
    const Clock& clock;  // of deadlines
    Random& random;
    std::filesystem::path folder;  // of the pictures of this session
    ComparePictures compare = compare_picture_bytes;
    std::vector<ScorerSpec> scorers = {};  // as configured; the plan says which take part
    ScorerMaker make_scorer = service::make_scorer;
    RunStatistics* statistics = nullptr;             // nullptr: no NIQE
    const quality::BrisqueModel* brisque = nullptr;  // nullptr: none is installed
    std::chrono::milliseconds timeout{1'200'000};    // of a picture
    std::chrono::milliseconds tick{100};
    bool is_paced = true;                     // false: its durations mean nothing, none is kept
    const Clock* stopwatch = nullptr;         // see FollowOptions
    const std::atomic<bool>* left = nullptr;  // see FollowOptions::left
    const std::atomic<bool>* cancelled = nullptr;                    // see FollowOptions::cancelled
    std::function<void(std::chrono::milliseconds)> sleep = nullptr;  // see FollowOptions
};

// One picture, or the end of the session. true: there may be more to draw. What goes wrong outside
// (ComfyUI gone, disk full) pauses the session with the reason; an error only when the store fails,
// since then nothing may be drawn.
// A session that another program cancelled meanwhile ends here.
[[nodiscard]] Result<bool> draw_next(quality::Session& session, const DrawParts& parts);

// Cancels it, whoever draws it: a program that does so stops after the picture at hand.
// InvalidInput when it is over already.
[[nodiscard]] Result<quality::Session> cancel_session(history::Store& store,
                                                      std::string_view session_id);

// Accepts one that was proposed; a daemon that proposed it notices.
[[nodiscard]] Result<quality::Session> accept_session(history::Store& store,
                                                      std::string_view session_id);

// The session as it is now, with what it found once it is over.
[[nodiscard]] Result<void> keep_session(const quality::Session& session, history::Store& store);
// NotFound lists the known ones.
[[nodiscard]] Result<quality::Session> load_session(history::Store& store,
                                                    std::string_view session_id);

}  // namespace plimsoll::service
