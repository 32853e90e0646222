// SPDX-License-Identifier: Apache-2.0
//
// What history keeps: runs with their forecast beside what was observed, and presets. Plain values.
#pragma once
#include "base/error.h"
#include "base/units.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::history {

// How a run ended. Running is what a run that was never finished (kill -9) keeps.
enum class Outcome : std::uint8_t { Running, Done, OutOfMemory, Failed, Cancelled, TimedOut, Lost };
[[nodiscard]] std::string_view outcome_name(Outcome outcome);  // "done", "out_of_memory", ...
[[nodiscard]] std::optional<Outcome> parse_outcome(std::string_view name);

// What ran. `settings_json` holds what the door that started the run knows it by (an object), for
// "do it again".
struct Settings {
    int width = 0;
    int height = 0;
    int batch = 1;
    int steps = 0;
    double cfg = 0;
    std::string sampler;
    std::string scheduler;
    std::string quality;
    std::string seed;  // as written: 20 digits do not fit a double
    friend bool operator==(const Settings&, const Settings&) = default;
};

struct PhaseRecord {
    std::string kind;  // memory::phase_kind_name
    std::string node_id;
    Bytes forecast_peak;
    double forecast_seconds = 0;
    std::optional<Bytes> observed_peak = std::nullopt;  // nullopt: no sample fell into the phase
    std::optional<double> observed_seconds = std::nullopt;
    // What the forecast was multiplied by, all but its loading (timing/pace.h), and the loading;
    // nullopt: of before this was recorded.
    double pace = 1;
    std::optional<double> forecast_load_seconds = std::nullopt;
    // All steps at the pace of those that were seen: without loading, and what else came before the
    // first; nullopt: too few steps were told.
    std::optional<double> observed_step_seconds = std::nullopt;
    friend bool operator==(const PhaseRecord&, const PhaseRecord&) = default;
};

struct ChangeRecord {
    std::string knob;  // "vae_tile_size"
    std::string from;
    std::string to;
    Bytes saved;
    double seconds = 0;  // what the change costs, negative when it saves
    friend bool operator==(const ChangeRecord&, const ChangeRecord&) = default;
};

// The change that makes settings of their own: with it the VAE decodes in tiles
// (advisor::change_kind_name).
inline constexpr std::string_view kTileVaeKnob = "tile_vae";

struct RunRecord {
    std::string run_id;           // unique: writing it again replaces
    std::int64_t started_ms = 0;  // Unix epoch
    std::int64_t ended_ms = 0;    // 0 while running
    std::string prompt_id;
    std::string prompt;      // the user's words
    std::string model;       // profile or checkpoint as asked for
    std::string checkpoint;  // the file that ComfyUI loaded
    std::string family;
    Settings settings;
    std::string card;
    std::string comfyui_version;
    std::string verdict;  // memory::verdict_name, at the load line
    Bytes load_line;
    Bytes forecast_peak;
    double forecast_seconds = 0;
    std::optional<Bytes> observed_peak = std::nullopt;  // allocated by torch
    std::optional<Bytes> observed_used = std::nullopt;  // on the whole card, other programs too
    std::optional<Bytes> card_total = std::nullopt;
    std::optional<double> observed_seconds = std::nullopt;
    std::vector<PhaseRecord> phases;
    std::vector<ChangeRecord> changes;
    std::vector<std::string> images;  // paths of the saved files
    Outcome outcome = Outcome::Running;
    std::string error;  // why it did not end well
    friend bool operator==(const RunRecord&, const RunRecord&) = default;
};

struct RunFilter {
    std::optional<std::string> model = std::nullopt;
    std::optional<std::string> family = std::nullopt;
    std::optional<std::string> card = std::nullopt;
    std::optional<Outcome> outcome = std::nullopt;
    std::optional<std::string> verdict = std::nullopt;
    std::optional<std::int64_t> since_ms = std::nullopt;
    std::optional<std::int64_t> before_ms = std::nullopt;
    std::optional<std::string> text =
        std::nullopt;  // all its words are in the prompt (search_words.h)
};

// By start; with `text` in the order of recording, which is the same unless a clock was set back.
// `cursor` is where the next page begins: a key, not an offset, so the cost of a page does not grow
// with its number.
inline constexpr int kPageRunsMax = 1000;  // chosen: a page of the UI shows under 100
enum class Order : std::uint8_t { NewestFirst, OldestFirst };
struct Page {
    int limit = 50;
    std::optional<std::int64_t> cursor = std::nullopt;
    Order order = Order::NewestFirst;
};
struct RunPage {
    std::vector<RunRecord> runs;
    std::optional<std::int64_t> next = std::nullopt;  // nullopt: that was all
};

// Numbers of many runs, those included that retention has removed. Means are of runs that are done
// and were measured; nullopt: none was.
struct RunStats {
    std::string key;  // of the group: a model, a card, a day (2026-11-29, UTC)
    std::int64_t runs = 0;
    std::int64_t done = 0;
    std::int64_t out_of_memory = 0;
    std::optional<double> seconds_mean = std::nullopt;       // observed
    std::optional<double> seconds_deviation = std::nullopt;  // standard; nullopt below two
    std::optional<double> seconds_min = std::nullopt;
    std::optional<double> seconds_max = std::nullopt;
    std::optional<Bytes> peak_mean = std::nullopt;  // observed
    std::optional<Bytes> peak_max = std::nullopt;   // observed, of all runs
    // Mean of |forecast - observed| / observed.
    std::optional<double> forecast_peak_error_mean = std::nullopt;
    std::optional<double> forecast_seconds_error_mean = std::nullopt;
    friend bool operator==(const RunStats&, const RunStats&) = default;
};
enum class StatsBy : std::uint8_t { All, Model, Card, Day };
inline constexpr int kStatsGroupsMax = 366;     // chosen: the days of a year
inline constexpr int kSummedByWordsMax = 2000;  // chosen: of ten million runs some ten milliseconds

// What is known of settings that were run, in one go for all runs with them on a card.
struct SettingsStats {
    std::string model;
    std::string card;
    Settings settings;  // without seed and quality
    bool vae_tiled = false;
    std::int64_t last_ms = 0;  // start of the newest run
    RunStats stats;
    friend bool operator==(const SettingsStats&, const SettingsStats&) = default;
};

// The pictures of an old run, for retention.
struct OldPictures {
    std::string run_id;
    std::vector<std::string> images;
    friend bool operator==(const OldPictures&, const OldPictures&) = default;
};
// Which runs retention takes: those that began before, and those beyond the newest so many.
struct Retirement {
    std::optional<std::int64_t> before_ms = std::nullopt;
    std::optional<std::int64_t> keep_newest = std::nullopt;
};
inline constexpr int kRetiredAtOnceMax = 1000;  // chosen: a transaction of some milliseconds

// A job that a door accepted and that has not ended: kept so that a stop or a crash loses none.
struct KeptJob {
    std::string job_id;
    std::int64_t submitted_ms = 0;
    bool started = false;      // it may have been submitted to ComfyUI
    std::string request_json;  // as the door got it
    friend bool operator==(const KeptJob&, const KeptJob&) = default;
};

struct Preset {
    std::string name;
    std::string settings_json;  // a JSON object, as the door gave it
    std::int64_t saved_ms = 0;
    friend bool operator==(const Preset&, const Preset&) = default;
};

inline constexpr std::size_t kPresetNameMax = 64;  // chosen: fits a menu
inline constexpr std::size_t kPresetBytesMax = 64ULL
                                               << 10U;  // chosen: settings have about twenty fields

// InvalidInput unless the name has 1 to 64 letters, digits, "-", "_", "." or inner spaces and
// starts with a letter or digit: it appears in URLs, shells and menus.
[[nodiscard]] Result<void> check_preset_name(std::string_view name);

// A preset that may be stored: good name, settings that are a JSON object of at most
// kPresetBytesMax.
[[nodiscard]] Result<void> check_preset(const Preset& preset);

}  // namespace plimsoll::history
