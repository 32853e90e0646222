// SPDX-License-Identifier: Apache-2.0
//
// What `plimsoll top` knows: the newest that a daemon told, and how the memory went. Pure; what
// comes is from outside and bounded here.
//
// Enters through: service::DaemonEvent.   Leaves through: plain values.   Threads: no shared state.
#pragma once
#include "base/json.h"
#include "base/units.h"
#include "service/daemon_feed.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

inline constexpr std::size_t kTopSamplesMax = 1800;  // chosen: half an hour at 1 Hz, as the page
inline constexpr std::size_t kTopJobsMax = 220;      // more than a daemon has
inline constexpr std::size_t kTopNotesMax = 200;     // chosen: more than anybody scrolls back

struct TopCard {
    std::string name;
    Bytes total;
    Bytes load_line;
    std::optional<Bytes> used;       // by all programs
    std::optional<Bytes> allocated;  // by torch: what is held against the line
    std::optional<double> celsius, watts, mhz, utilization;
    std::optional<bool> throttled;
    struct Holding {
        std::string model;
        Bytes bytes;
        bool freeable = false;
    };
    std::vector<Holding> holdings;
};

struct TopJob {
    std::string job_id, state, prompt, model, phase, why;
    std::int64_t submitted_ms = 0;
    bool has_ended = false;
    std::optional<double> progress;  // 0 to 1
    std::optional<std::int64_t> step, steps;
    std::optional<double> seconds_left;
    std::optional<Bytes> forecast_peak, observed_peak;
    std::int64_t run = 0;
    std::int64_t runs = 1;
};

struct TopForecast {
    std::string job_id, verdict, sentence;
    Bytes peak;
    double seconds = 0;
    struct Phase {
        std::string kind;
        Bytes peak;
        double seconds = 0;
    };
    std::vector<Phase> phases;
};

struct TopSample {
    std::int64_t at_ms = 0;
    Bytes bytes;
    std::optional<double> progress;  // of the job that ran
};

enum class Weight : std::uint8_t { Plain, Good, Warning, Bad };
struct TopNote {
    std::int64_t at_ms = 0;
    Weight weight = Weight::Plain;
    std::string text;
};

enum class Contact : std::uint8_t { Connecting, Live, Lost };

class TopState {
  public:
    explicit TopState(std::string url) : url_(std::move(url)) {}

    void take(const service::DaemonEvent& event, std::int64_t now_ms);
    void lose(std::string why, std::int64_t now_ms);

    [[nodiscard]] const std::string& url() const { return url_; }
    [[nodiscard]] Contact contact() const { return contact_; }
    [[nodiscard]] const std::string& why_lost() const { return why_lost_; }
    [[nodiscard]] const std::string& version() const { return version_; }
    [[nodiscard]] bool is_simulated() const { return simulated_; }
    [[nodiscard]] const std::string& comfyui() const { return comfyui_; }  // its address
    [[nodiscard]] bool comfyui_answers() const { return comfyui_answers_; }
    [[nodiscard]] const std::optional<TopCard>& card() const { return card_; }
    // The one that runs, or nullptr.
    [[nodiscard]] const TopJob* running() const;
    // Those that wait, in order.
    [[nodiscard]] std::vector<const TopJob*> waiting() const;
    // The one that is drawn: the running one, else the last one that ran.
    [[nodiscard]] const TopJob* drawn() const;
    // Of the job that is drawn; nullptr where none is known.
    [[nodiscard]] const TopForecast* forecast() const;
    [[nodiscard]] const std::deque<TopSample>& samples() const { return samples_; }
    [[nodiscard]] const std::vector<TopSample>& job_samples() const { return job_samples_; }
    [[nodiscard]] const std::deque<TopNote>& notes() const { return notes_; }  // newest first
    // Everything as the daemon said it.
    [[nodiscard]] json::object encode() const;

  private:
    void take_health(const json::value& data);
    void take_jobs(const json::value& data);
    void take_job(const json::value& data, std::int64_t now_ms, bool is_news);
    void take_telemetry(const json::value& data);
    void take_forecast(const json::value& data);
    void note(std::int64_t at_ms, Weight weight, std::string text);

    std::string url_;
    Contact contact_ = Contact::Connecting;
    std::string why_lost_;
    std::string version_;
    bool simulated_ = false;
    std::string comfyui_;
    bool comfyui_answers_ = false;
    std::optional<TopCard> card_;
    std::vector<TopJob> jobs_;  // as they were first heard of
    std::string drawn_;         // its id
    std::optional<TopForecast> forecast_;
    std::deque<TopSample> samples_;
    std::vector<TopSample> job_samples_;  // of `drawn_`
    std::deque<TopNote> notes_;
    json::value health_said_, telemetry_said_, forecast_said_;
    std::vector<json::value> jobs_said_;  // beside jobs_
};

}  // namespace plimsoll::cli
