// SPDX-License-Identifier: Apache-2.0
//
// Scorers of the user's: a program or an HTTP server that gives a picture a number (PickScore,
// ImageReward, LPIPS...). docs/quality.md has the contract. Whatever one does (hangs, crashes,
// answers rubbish), it costs at most its deadline and is an error with its name.
//
//   [[scorer]]
//   name = "pick"                           # required: letters, digits, _ and -
//   command = ["python3", "pick_score.py"]  # run without a shell; or
//   url = "http://127.0.0.1:9000/score"
//   higher_is_better = true
//   margin = 0.2                            # in its own units: it decides too
//   deadline_s = 30
//
// Enters through: a program's standard output, HTTP.   Leaves through: a finite number.   Threads:
// no shared state.
#pragma once
#include "base/error.h"
#include "quality/lab/table.h"
#include "service/config.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

struct ScorerSpec {
    quality::ScorerRules rules;
    std::vector<std::string> command;  // exactly one of the two
    std::string url;
    std::chrono::milliseconds deadline{30'000};  // of a picture; chosen: a large model on a CPU
};

// Answers are a number and perhaps a reason: nothing is read beyond this. Chosen.
inline constexpr std::size_t kScoreBytesMax = std::size_t{64} << 10U;
// A picture sent in a body. Chosen: far above a PNG of 16 megapixels.
inline constexpr std::size_t kScoredBytesMax = std::size_t{64} << 20U;

// One picture to be scored, and the reference picture of the same prompt and seed.
struct ScoredPicture {
    std::string prompt;
    std::string negative;
    std::filesystem::path file;
    std::string_view bytes;
    std::filesystem::path reference_file;  // empty: this is the reference itself
    std::string_view reference_bytes;
};

class Scorer {
  public:
    virtual ~Scorer() = default;
    // Unavailable (gone, hung, crashed), Corrupt (no finite number), LimitExceeded (too large).
    // `left` set ends the wait early, as Unavailable.
    [[nodiscard]] virtual Result<double> score(const ScoredPicture& picture,
                                               const std::atomic<bool>* left) = 0;
};
[[nodiscard]] std::unique_ptr<Scorer> make_scorer(const ScorerSpec& spec);
// Seam of tests.
using ScorerMaker = std::function<std::unique_ptr<Scorer>(const ScorerSpec&)>;

// {"score": 0.7}, finite; or {"error": "why"}.
[[nodiscard]] Result<double> parse_score(std::string_view answer);

// Those of plimsoll.toml. InvalidInput names the table, the key and the range.
[[nodiscard]] Result<std::vector<ScorerSpec>> read_scorers(const Config& config);
// "pick=http://127.0.0.1:9000/score", "sharp,margin=0.1,deadline=5=python3 sharp.py",
// "lpips,lower=...": words are parted at spaces, quotes keep one together.
[[nodiscard]] Result<ScorerSpec> parse_scorer(std::string_view text);
// `more` replace those of the same name. LimitExceeded beyond quality::kScorersMax.
[[nodiscard]] Result<std::vector<ScorerSpec>> join_scorers(std::vector<ScorerSpec> scorers,
                                                           std::span<const ScorerSpec> more);

}  // namespace plimsoll::service
