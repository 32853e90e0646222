// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_run.h"

#include "cli/draw_forecast.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <optional>

namespace plimsoll::cli {

namespace {

std::string seconds_cell(std::optional<double> seconds) {
    return seconds ? fmt::format("{:.2f}", *seconds) : "-";
}

std::string bytes_cell(std::optional<Bytes> bytes) {
    return bytes ? mib_cell(*bytes) : "-";
}

Style style_of(history::Outcome outcome) {
    if (outcome == history::Outcome::Done) return Style::Good;
    return outcome == history::Outcome::Running || outcome == history::Outcome::Cancelled
               ? Style::Notice
               : Style::Bad;
}

void draw_line_check(Screen& screen, const history::RunRecord& run) {
    // What was seen of a job that broke off says nothing about the line.
    if (!run.observed_peak || run.outcome != history::Outcome::Done) return;
    const Bytes over = *run.observed_peak - run.load_line;
    const bool under = over <= Bytes(0);
    const std::string words = under ? fmt::format("{} under", to_text(Bytes(-over.count)))
                                    : fmt::format("{} above", to_text(over));
    screen.line(fmt::format(
        "  the highest sample is {}, {} the load line of {}", to_text(*run.observed_peak),
        screen.styled(under ? Style::Good : Style::Bad, words), to_text(run.load_line)));
}

// What the line does not count: torch's cache, kernels' workspaces, other programs.
void draw_card_use(Screen& screen, const history::RunRecord& run) {
    if (!run.observed_used || !run.card_total || run.outcome != history::Outcome::Done) return;
    const Bytes left = *run.card_total - *run.observed_used;
    constexpr Bytes kFull = Bytes::from_mib(64);  // chosen: less is no room for anything
    const std::string used = to_text(*run.observed_used);
    const std::string total = to_text(*run.card_total);
    screen.line(
        left < kFull
            ? fmt::format("  {}: {} of {} were in use, caches and workspaces included",
                          screen.styled(Style::Bad, "the card was full"), used, total)
            : fmt::format("  of the card's {}, {} were in use, caches and workspaces included",
                          total, used));
}

void draw_pair(Screen& screen, std::string_view title, const std::string& text) {
    const std::string label =
        screen.styled(Style::Dim, title) + std::string(11 - title.size(), ' ');
    screen.paragraph(label, text, 11);
}

std::optional<std::tm> local_time(std::int64_t unix_ms) {
    const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
    std::tm local{};
    if (::localtime_r(&seconds, &local) == nullptr) return std::nullopt;
    return local;
}

// Short, as `ls -l` does it: the time of what is recent, the year of what is not.
std::string started_cell(std::int64_t unix_ms, std::int64_t now_ms) {
    constexpr std::int64_t kRecentMs = 180LL * 24 * 3600 * 1000;
    constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto local = local_time(unix_ms);
    if (!local) return "-";
    const char* const month = kMonths.at(static_cast<std::size_t>(local->tm_mon));
    if (std::abs(now_ms - unix_ms) > kRecentMs)
        return fmt::format("{} {:2d}  {:04d}", month, local->tm_mday, local->tm_year + 1900);
    return fmt::format("{} {:2d} {:02d}:{:02d}", month, local->tm_mday, local->tm_hour,
                       local->tm_min);
}

std::string size_cell(const history::Settings& settings) {
    std::string text = size_text(settings);
    std::erase(text, ' ');
    return text;
}

}  // namespace

std::string local_time_text(std::int64_t unix_ms) {
    const auto local = local_time(unix_ms);
    if (!local) return "-";
    return fmt::format("{:04d}-{:02d}-{:02d} {:02d}:{:02d}", local->tm_year + 1900,
                       local->tm_mon + 1, local->tm_mday, local->tm_hour, local->tm_min);
}

std::string short_id(const std::string& run_id) {
    return plain(run_id.substr(0, 8));
}

std::string size_text(const history::Settings& settings) {
    if (settings.width == 0) return "-";
    std::string text = fmt::format("{} x {}", settings.width, settings.height);
    if (settings.batch > 1) text += fmt::format(" x {}", settings.batch);
    return text;
}

void draw_comparison(Screen& screen, const history::RunRecord& run) {
    Table table({{"", Table::Align::Left},
                 {"node", Table::Align::Left},
                 {"forecast MiB", Table::Align::Right},
                 {"observed MiB", Table::Align::Right},
                 {"forecast s", Table::Align::Right},
                 {"observed s", Table::Align::Right}});
    for (const history::PhaseRecord& phase : run.phases)
        table.row({spoken(plain(phase.kind)), plain(phase.node_id), mib_cell(phase.forecast_peak),
                   bytes_cell(phase.observed_peak), seconds_cell(phase.forecast_seconds),
                   seconds_cell(phase.observed_seconds)});
    table.row({"whole job", "", mib_cell(run.forecast_peak), bytes_cell(run.observed_peak),
               seconds_cell(run.forecast_seconds), seconds_cell(run.observed_seconds)});
    table.draw(screen);
    draw_line_check(screen, run);
    draw_card_use(screen, run);
}

void draw_run(Screen& screen, const history::RunRecord& run) {
    const history::Settings& s = run.settings;
    draw_pair(screen, "run", plain(run.run_id));
    draw_pair(screen, "started", local_time_text(run.started_ms));
    std::string outcome =
        screen.styled(style_of(run.outcome), spoken(history::outcome_name(run.outcome)));
    if (!run.error.empty()) outcome += ": " + plain(run.error);
    draw_pair(screen, "outcome", outcome);
    if (!run.prompt.empty()) draw_pair(screen, "prompt", plain(run.prompt));
    draw_pair(screen, "job",
              fmt::format("{}{}, {}, {} steps, {} {}, CFG {}, seed {}", plain(run.model),
                          run.checkpoint == run.model || run.checkpoint.empty()
                              ? ""
                              : fmt::format(" ({})", plain(run.checkpoint)),
                          size_text(s), s.steps, plain(s.sampler), plain(s.scheduler), s.cfg,
                          plain(s.seed)));
    draw_pair(screen, "where",
              fmt::format("{}, ComfyUI {}", plain(run.card), plain(run.comfyui_version)));
    for (const history::ChangeRecord& change : run.changes)
        draw_pair(
            screen, "changed",
            fmt::format("{}: {} -> {} ({:+.2f} GiB, {:+.2f} s)", spoken(plain(change.knob)),
                        plain(change.from), plain(change.to), -change.saved.gib(), change.seconds));
    for (const std::string& image : run.images) draw_pair(screen, "picture", plain(image));
    draw_comparison(screen, run);
}

void draw_runs(Screen& screen, const std::vector<history::RunRecord>& runs, std::int64_t now_ms) {
    Table table({{"started", Table::Align::Left},
                 {"run", Table::Align::Left},
                 {"model", Table::Align::Left},
                 {"size", Table::Align::Left},
                 {"MiB", Table::Align::Right},
                 {"forecast", Table::Align::Right},
                 {"outcome", Table::Align::Left}});
    for (const history::RunRecord& run : runs)
        table.row(
            {started_cell(run.started_ms, now_ms), short_id(run.run_id), plain(run.model),
             size_cell(run.settings), bytes_cell(run.observed_peak), mib_cell(run.forecast_peak),
             screen.styled(style_of(run.outcome), spoken(history::outcome_name(run.outcome)))});
    table.draw(screen, 0);
}

}  // namespace plimsoll::cli
