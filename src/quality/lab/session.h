// SPDX-License-Identifier: Apache-2.0
//
// A test as a state machine: which picture to draw next, what has been drawn, and what that says so
// far. Everything in it can be written down and read back, so a session goes on after any end of
// the program: a picture is `asked` for, and written down as such, before it is submitted. Pure:
// who draws, measures and writes is the service.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "quality/lab/answer.h"
#include "quality/lab/candidates.h"
#include "quality/lab/marks.h"
#include "quality/lab/race.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

inline constexpr std::size_t kPromptsMax = 64;  // chosen: of a session
inline constexpr std::size_t kBlocksMax = 64;   // chosen
inline constexpr std::size_t kScorersMax = 8;   // chosen
inline constexpr int kAttemptsMax = 2;          // of a picture, before its candidate is out

struct Entrant {
    Setting setting;
    Cost forecast;    // of a picture
    Phrase left_out;  // why it does not take part: over the line, not forecast; empty: it does
    friend bool operator==(const Entrant&, const Entrant&) = default;
};

// Fixed when the session begins.
struct SessionPlan {
    std::string session_id;
    TestKind kind = TestKind::Quick;
    std::string model;     // as asked for
    std::string drawn_by;  // who goes on with it after a stop: "daemon", "command"
    std::int64_t created_ms = 0;
    std::vector<Entrant> entrants;
    std::size_t reference = 0;
    std::optional<std::size_t> second_reference;
    std::vector<std::string> prompts;
    std::string negative;
    std::uint64_t seed = 0;  // of everything: pictures and draws
    RaceRules rules;
    double seconds_max = 0;                 // no picture is begun after so many seconds of drawing
    std::vector<ScorerRules> scorers = {};  // of the user's, that score each picture
    bool in_background = false;  // proposed by the lab itself: drawn while the card is idle alone
    friend bool operator==(const SessionPlan&, const SessionPlan&) = default;
};
// Blocks in the order in which they are drawn: each prompt once, then each with the next seed.
[[nodiscard]] std::vector<Block> blocks_of(const SessionPlan& plan);
// The seed of the picture of a block; below 2^48, so that every JSON reader keeps it.
[[nodiscard]] std::uint64_t seed_of(const SessionPlan& plan, const Block& block);

// Pixels from one tile to the next of decoders in tiles, where a setting of the session has one:
// then seams are looked for in all its pictures. nullopt: none has.
[[nodiscard]] std::optional<int> tile_stride_of(const SessionPlan& plan);

// What a session may take at most; shown before it starts.
struct Bound {
    std::size_t images = 0;
    double seconds = 0;
};
[[nodiscard]] Bound bound_of(const SessionPlan& plan);
// Fewer blocks, until the bound is within `seconds_max`. LimitExceeded when even kPairsMin blocks
// take longer; InvalidInput when fewer than two settings take part, or the reference does not.
[[nodiscard]] Result<void> fit_blocks(SessionPlan& plan);

struct Cell {
    std::size_t candidate = 0;
    std::size_t block = 0;
    friend auto operator<=>(const Cell&, const Cell&) = default;
};

enum class PictureState : std::uint8_t { Asked, Drawn, Failed };

struct Picture {
    Cell cell;
    PictureState state = PictureState::Asked;
    int attempts = 0;
    std::string prompt_id;  // ComfyUI's
    double seconds = 0;     // observed
    Bytes peak;             // observed; 0: not seen
    std::string file;       // where it was saved
    Seen seen;
    Phrase why;  // of Failed
    friend bool operator==(const Picture&, const Picture&) = default;
};

// Proposed: planned by the lab itself, and drawn only once somebody accepts it.
enum class SessionState : std::uint8_t { Running, Paused, Done, Cancelled, Failed, Proposed };
[[nodiscard]] std::string_view session_state_name(SessionState state);
[[nodiscard]] constexpr bool is_over(SessionState state) {
    return state == SessionState::Done || state == SessionState::Cancelled ||
           state == SessionState::Failed;
}

enum class PauseCause : std::uint8_t { Asked, ServerGone };
// A server that goes away so often without finishing a picture is taken down by the picture: then
// nobody goes on by himself. Chosen.
inline constexpr int kTimesGoneMax = 3;

// All of a session that changes, but its pictures.
struct SessionProgress {
    SessionState state = SessionState::Running;
    Phrase why;            // of Paused, Cancelled, Failed; or what Done could not do
    bool is_gone = false;  // of Paused: ComfyUI went away in the middle
    int times_gone = 0;    // since the last picture that was drawn
    // Whoever draws it goes on as soon as ComfyUI is back.
    [[nodiscard]] bool resumes_itself() const {
        return state == SessionState::Paused && is_gone && times_gone <= kTimesGoneMax;
    }
    std::size_t stage = 0;
    std::vector<std::size_t> racing;  // candidates of this stage
    friend bool operator==(const SessionProgress&, const SessionProgress&) = default;
};

struct Task {
    Cell cell;
    Block block;
    Setting setting;
    std::string prompt_id;  // it was asked for already: look for it before asking again
};

// How the reason begins of a picture that a scorer was not asked about any more.
inline constexpr std::string_view kLeftOut = "left out";

class Session {
  public:
    // Of a plan that fit_blocks let pass.
    explicit Session(SessionPlan plan);
    // As it was written down. Corrupt when the parts do not belong together.
    static Result<Session> restore(SessionPlan plan, SessionProgress progress,
                                   std::vector<Picture> pictures);

    [[nodiscard]] const SessionPlan& plan() const { return plan_; }
    [[nodiscard]] const SessionProgress& progress() const { return progress_; }
    [[nodiscard]] const std::map<Cell, Picture>& pictures() const { return pictures_; }
    [[nodiscard]] const Picture* picture(const Cell& cell) const;

    // The next picture while it runs. Between stages it drops candidates; after the last, or when
    // the time is up, it is done and nothing is left to draw.
    [[nodiscard]] std::optional<Task> next();
    // The task is about to be submitted as `prompt_id`.
    const Picture& ask(const Task& task, std::string prompt_id);
    // It turned out that it was never submitted: the next one asks again.
    void forget(const Cell& cell);
    const Picture& draw(const Cell& cell, double seconds, Bytes peak, std::string file, Seen seen);
    // What was found out later about a picture that was drawn.
    const Picture& look_again(const Cell& cell, Seen seen);
    enum class Failure : std::uint8_t { MayPass, Final };
    const Picture& fail_picture(const Cell& cell, Phrase why, Failure failure);

    // InvalidInput when it is over, or not in the state that can be left.
    [[nodiscard]] Result<void> pause(Phrase why, PauseCause cause = PauseCause::Asked);
    [[nodiscard]] Result<void> resume();
    [[nodiscard]] Result<void> cancel();
    void propose();  // one that was just made
    [[nodiscard]] Result<void> accept();
    void fail_session(Phrase why);

    struct Count {
        std::size_t drawn = 0;
        std::size_t at_most = 0;  // drawn and still to be drawn
        double seconds_spent = 0;
        double seconds_left = 0;  // at most, by what was observed
    };
    [[nodiscard]] Count count() const;
    // Pictures that a scorer scored, and on which it failed, with the last reason.
    struct ScorerCount {
        std::size_t scored = 0;
        std::size_t failed = 0;
        std::string why;
        // It fails more often than not: asked no more, so that it does not cost its deadline with
        // each picture.
        [[nodiscard]] bool is_out() const { return failed >= 3 && failed > scored; }  // chosen
    };
    [[nodiscard]] ScorerCount count_scores(std::string_view scorer) const;
    [[nodiscard]] Table table() const;
    // Seconds observed where pictures were drawn, peaks as forecast.
    [[nodiscard]] std::vector<Cost> costs() const;
    [[nodiscard]] Answer answer() const;

  private:
    [[nodiscard]] bool is_out(std::size_t candidate) const;
    [[nodiscard]] std::optional<Cell> missing_cell() const;
    void end(SessionState state, Phrase why);

    SessionPlan plan_;
    std::vector<Block> blocks_;
    SessionProgress progress_;
    std::map<Cell, Picture> pictures_;
};

}  // namespace plimsoll::quality
