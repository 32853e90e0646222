// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_progress.h"

#include "cli/draw_forecast.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::cli {

namespace {

std::string steps_text(double value, double max) {
    return max > 1 ? fmt::format("{:.0f}/{:.0f}", value, max) : "";
}

std::string vram_bar(const Screen& screen, Bytes allocated, Bytes line) {
    constexpr std::size_t kCells = 8;
    const double share = line.count > 0 ? allocated.mib() / line.mib() : 0;
    const Style style = share > 1 ? Style::Bad : share > 0.95 ? Style::Notice : Style::Good;
    return screen.styled(style, draw_bar(screen, share, kCells));
}

}  // namespace

void ProgressView::show(const service::GenerateProgress& progress) {
    const service::JobProgress& job = progress.job;
    if (progress.run == run_) latest_ = job.seconds;
    if (job.node_id != node_id_ || progress.run != run_) begin_phase(progress);
    latest_ = job.seconds;
    value_ = job.value;
    max_ = job.max;
    highest_ = job.node_allocated_peak;
    load_line_ = progress.load_line;
    if (job.stopping && !said_stopping_) {
        said_stopping_ = true;
        screen_.end_live_line();
        screen_.line("  ComfyUI is asked to interrupt the job; Ctrl-C again leaves at once");
        show_now();
    }
    if (!job.stopping) draw_live(progress);
}

void ProgressView::end() {
    screen_.end_live_line();
    draw_finished();
}

void ProgressView::begin_phase(const service::GenerateProgress& progress) {
    draw_finished();
    if (progress.runs > 1 && (progress.run != run_ || node_id_.empty()))
        screen_.line(fmt::format("  run {} of {}", progress.run + 1, progress.runs));
    run_ = progress.run;
    node_id_ = progress.job.node_id;
    name_ =
        progress.phase == "other" ? "node " + plain(progress.job.node_id) : spoken(progress.phase);
    began_ = progress.job.seconds;
    is_open_ = !node_id_.empty();
}

void ProgressView::draw_live(const service::GenerateProgress& progress) {
    if (!screen_.is_terminal()) return;
    const service::JobProgress& job = progress.job;
    if (job.node_id.empty()) {
        screen_.live_line(
            fmt::format("  waiting in ComfyUI's queue{}",
                        job.ahead > 1 ? fmt::format(", {} jobs in it", job.ahead) : ""));
        return;
    }
    const double share = job.max > 0 ? job.value / job.max : 0;
    screen_.live_line(fmt::format(
        "  {:<11} {:>5} {}  VRAM {:.0f}/{:.0f} MiB {}  {:.1f} of {:.1f} s", name_,
        steps_text(job.value, job.max), draw_bar(screen_, share, 12), job.allocated.mib(),
        progress.load_line.mib(), vram_bar(screen_, job.allocated, progress.load_line), job.seconds,
        progress.forecast_seconds));
}

void ProgressView::draw_finished() {
    if (!is_open_) return;
    is_open_ = false;
    screen_.end_live_line();
    // Nodes without a forecast of their own (saving, switches) are shown when they take time.
    constexpr double kSecondsMin = 1;
    if (name_.starts_with("node ") && latest_ - began_ < kSecondsMin) return;
    const std::string vram =
        highest_ ? fmt::format("up to {} of {}", to_text(*highest_), to_text(load_line_))
                 : "too short for a sample of the card";
    screen_.line(fmt::format("  {:<11} {:<5} {:>7.2f} s   {}", name_, steps_text(value_, max_),
                             latest_ - began_, vram));
    show_now();
}

void ProgressView::show_now() {
    if (const auto flushed = screen_.flush(); !flushed) return;  // said at the end
}

}  // namespace plimsoll::cli
