// SPDX-License-Identifier: Apache-2.0
//
// A job while it runs: on a terminal one live line (phase, step, VRAM against the load line,
// seconds), and a line for each phase that is over; elsewhere only the latter.
//
// Leaves through: Screen.   Threads: as Screen.
#pragma once
#include "cli/screen.h"
#include "service/generate.h"

#include <cstddef>
#include <optional>
#include <string>

namespace plimsoll::cli {

class ProgressView {
  public:
    explicit ProgressView(Screen& screen) : screen_(screen) {}
    ~ProgressView() { end(); }
    ProgressView(const ProgressView&) = delete;
    ProgressView& operator=(const ProgressView&) = delete;

    void show(const service::GenerateProgress& progress);
    // The last phase is over, the live line goes.
    void end();

  private:
    void begin_phase(const service::GenerateProgress& progress);
    void draw_live(const service::GenerateProgress& progress);
    void draw_finished();
    void show_now();

    Screen& screen_;
    std::string node_id_;
    std::string name_;  // "text encode", "node 12"
    std::size_t run_ = 0;
    double began_ = 0;  // seconds since the run's submission
    double latest_ = 0;
    double value_ = 0;
    double max_ = 0;
    std::optional<Bytes> highest_;
    Bytes load_line_;
    bool is_open_ = false;  // a phase has begun and is not yet drawn as finished
    bool said_stopping_ = false;
};

}  // namespace plimsoll::cli
