// SPDX-License-Identifier: Apache-2.0
//
// QualityTester: which cheaper setting of a model is as good as its best, measured with pictures
// that the user's ComfyUI draws. A test is bounded in pictures and time before it starts, never
// sends what would go over the load line, and is kept in the history: after any end of the program
// it goes on with resume, and no picture is drawn twice.
//
// Threads: any; tests are drawn in a thread of the tester's own, one after the other.
#pragma once
#include <plimsoll/error.h>
#include <plimsoll/export.h>
#include <plimsoll/options.h>
#include <plimsoll/settings.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

enum class QualityTestKind : std::uint8_t {
    Quick,  // a handful of settings, mostly steps
    Full,   // also sampler, scheduler, CFG, size, tiling and precision
};

struct QualityTestOptions {
    std::vector<std::string> prompts;     // empty: a set for the model's kind
    std::optional<double> minutes_max;    // of drawing; 60 for quick, 720 for full
    std::optional<double> margin_points;  // of 100: what "not worse" may cost; 3
    std::optional<std::uint64_t> seed;    // of pictures and draws; nullopt: by chance
};

// Proposed: by a daemon, which draws it once somebody accepts it.
enum class QualityTestState : std::uint8_t { Running, Paused, Done, Cancelled, Failed, Proposed };
[[nodiscard]] PLIMSOLL_EXPORT std::string_view quality_test_state_name(QualityTestState state);

// Points above (below) another setting, with its 95 % interval.
struct QualityDifference {
    double points = 0;
    double low = 0;
    double high = 0;
    std::size_t pairs = 0;
};

struct QualityCandidate {
    Settings settings;  // `model` is the checkpoint's file
    double seconds = 0;
    std::int64_t peak_bytes = 0;  // as forecast
    std::string finding;          // "best", "not_worse", "undecided", "worse", "too_few"
    std::optional<QualityDifference> to_reference;  // nullopt below six pairs
    std::optional<QualityDifference> to_best;
    bool is_tied = false;
    bool is_on_front = false;  // nothing is surely as good, as fast and as small
    std::string why;           // why it was not chosen, or not drawn
};

struct QualityResults {
    std::string session_id;
    QualityTestState state = QualityTestState::Running;
    std::string why;             // of the state
    std::string waits_for;       // "ComfyUI"...; empty while it draws
    std::size_t images = 0;      // drawn
    std::size_t images_max = 0;  // fixed before it started
    double seconds_spent = 0;
    double seconds_left = 0;         // at most
    std::optional<Settings> chosen;  // the cheapest that is not worse than the best
    char grade = 'D';                // A to D: how far the answer can be trusted
    std::string words;               // the answer in a sentence
    std::vector<QualityCandidate> candidates;
};

class PLIMSOLL_EXPORT QualityTester {
  public:
    // Reads the configuration and finds out where tests would be drawn.
    [[nodiscard]] static Result<QualityTester> create(const Options& options = {});

    QualityTester(QualityTester&&) noexcept;
    QualityTester& operator=(QualityTester&&) noexcept;
    QualityTester(const QualityTester&) = delete;
    QualityTester& operator=(const QualityTester&) = delete;
    // A picture that is being drawn is left to ComfyUI, where resume finds it.
    ~QualityTester();

    // Blocks until the test is over, or needs a person to go on. `cancelled` may be set from a
    // signal handler: then the test is cancelled. NotFound for an unknown model, LimitExceeded when
    // it would take longer than it may, Unavailable without ComfyUI.
    [[nodiscard]] Result<QualityResults> quick_quality_test(
        std::string_view model, const QualityTestOptions& options = {},
        const std::function<void(const QualityResults&)>& on_progress = {},
        const std::atomic<bool>* cancelled = nullptr);

    // Returns at once with the session's id.
    [[nodiscard]] Result<std::string> start_quality_test(
        std::string_view model, QualityTestKind kind = QualityTestKind::Full,
        const QualityTestOptions& options = {});
    // NotFound lists the known ones. Of any test in the history, whoever draws it.
    [[nodiscard]] Result<QualityResults> get_test_status(std::string_view session_id);
    // Of this library's tests, also of an earlier program's. InvalidInput once it is over.
    [[nodiscard]] Result<QualityResults> resume_quality_test(std::string_view session_id);
    // Of any; the picture at hand is finished first.
    [[nodiscard]] Result<QualityResults> cancel_quality_test(std::string_view session_id);

  private:
    struct Parts;
    explicit QualityTester(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace plimsoll
