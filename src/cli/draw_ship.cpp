// SPDX-License-Identifier: Apache-2.0
//
// The picture of `plimsoll top`: hull, scale and chart.
#include "cli/draw_forecast.h"
#include "cli/draw_top.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kScaleColumns = 11;  // "4.25 GiB" and a gap on either side
constexpr std::size_t kHullColumnsMin = 28;
constexpr std::size_t kHullColumnsMax = 46;  // chosen: longer ships leave the chart no room

// Rows and the bytes that they stand for. The line is a row of its own, without bytes, so that what
// is below and above it can be told exactly.
struct Scale {
    std::size_t above = 1;  // rows over the line
    std::size_t below = 1;  // and under it
    double line = 1;        // bytes
    double top = 2;

    static Scale of(const TopCard& card, std::size_t rows) {
        Scale scale;
        scale.line = std::max<double>(static_cast<double>(card.load_line.count), 1);
        scale.top = std::max(static_cast<double>(card.total.count), scale.line * 1.05);
        const auto bands = static_cast<double>(rows - 1);
        const double share = scale.line / scale.top;
        scale.below = static_cast<std::size_t>(
            std::clamp(std::round(bands * share), 1.0, std::max(bands - 1, 1.0)));
        scale.above = std::max<std::size_t>(rows - 1 - scale.below, 1);
        return scale;
    }
    [[nodiscard]] std::size_t line_row() const { return above; }
    [[nodiscard]] std::size_t rows() const { return above + 1 + below; }
    // How full a row is, 0 to 1, when `bytes` are allocated.
    [[nodiscard]] double fill(std::size_t row, double bytes) const {
        if (row == line_row()) return bytes > line ? 1 : 0;
        const double each = row < above ? (top - line) / static_cast<double>(above)
                                        : line / static_cast<double>(below);
        const double from = row < above ? line + each * static_cast<double>(above - 1 - row)
                                        : each * static_cast<double>(rows() - 1 - row);
        return std::clamp((bytes - from) / each, 0.0, 1.0);
    }
    // The row in which the surface of `bytes` lies; never the line's own.
    [[nodiscard]] std::size_t row_of(double bytes) const {
        for (std::size_t row = 0; row < rows(); ++row)
            if (row != line_row() && fill(row, bytes) > 0) return row;
        return rows() - 1;
    }
};

// Full, or as many eighths as there are; without block characters '#' from a half on. Above the
// line another texture, so that it shows without colours.
std::string_view water(double fill, bool is_over, bool has_blocks) {
    if (!has_blocks) return fill < 0.5 ? " " : is_over ? "%" : "#";
    constexpr std::array<std::string_view, 8> kEighths{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇"};
    const auto eighths = static_cast<std::size_t>(fill * 8);
    if (eighths >= 8) return is_over ? "▓" : "█";
    return kEighths[eighths];
}

struct Glyphs {
    std::string_view line, sea, surface, forecast, keel, left, right, left_low, right_low, deck;
    std::string_view bridge, funnel, crane, mark;
};
constexpr Glyphs kBlocks{"╌", "~", "≈", "∙",    "▔",  "▏", "╱",
                         "╲", "▕", "▁", "▟█▙▄", "▐▌", "╿", "P─⊖─L"};
constexpr Glyphs kPlain{"-",  "~", "~", ".",    "=",  "|", "/",
                        "\\", "|", "_", "[##]", "||", "!", "P-(-)-L"};

class Ship {
  public:
    Ship(Canvas& canvas, const TopState& state, const TopCard& card, const Screen& ink)
        : canvas_(canvas),
          state_(state),
          card_(card),
          has_blocks_(ink.has_blocks()),
          g_(has_blocks_ ? kBlocks : kPlain),
          // Over the scale the deck, under it the keel with the chart's phases.
          scale_(Scale::of(card, canvas.rows() - 2)),
          hull_(std::clamp(canvas.columns() * 3 / 10, kHullColumnsMin, kHullColumnsMax)),
          chart_(hull_ + kScaleColumns) {
        const auto held = card.allocated ? card.allocated : card.used;
        if (held) level_ = static_cast<double>(held->count);
    }
    void draw() {
        draw_line();
        draw_hull();
        draw_chart();
        draw_scale();
    }

  private:
    [[nodiscard]] bool is_over() const { return level_ && *level_ > scale_.line; }
    [[nodiscard]] Style tone(double bytes) const {
        // Near: what a sample a second may miss (as the live line of generate).
        return bytes > scale_.line          ? Style::Bad
               : bytes > scale_.line * 0.95 ? Style::Notice
                                            : Style::Good;
    }
    [[nodiscard]] static std::size_t y_of(std::size_t row) { return row + 1; }
    // First and last column of the hull in a row of the scale: the bow rakes, the stern rounds off.
    [[nodiscard]] std::pair<std::size_t, std::size_t> sides(std::size_t row) const {
        const std::size_t rows = scale_.rows();
        const std::size_t from_keel = rows - 1 - row;
        const std::size_t left = 3 + (from_keel < 2 ? 2 - from_keel : 0);
        return {left, hull_ - 2 - std::min<std::size_t>(row, hull_ / 4)};
    }

    void draw_line() {
        const std::size_t y = y_of(scale_.line_row());
        const auto style = is_over() ? std::optional(Style::Bad) : std::nullopt;
        for (std::size_t x = 0; x < hull_; ++x) canvas_.put(x, y, g_.line, style);
        for (std::size_t x = chart_; x < canvas_.columns(); ++x) canvas_.put(x, y, g_.line, style);
    }

    void draw_hull() {
        const std::size_t surface = level_ ? scale_.row_of(*level_) : scale_.rows() - 1;
        for (std::size_t row = 0; row < scale_.rows(); ++row) {
            const std::size_t y = y_of(row);
            const auto [left, right] = sides(row);
            const bool is_line = row == scale_.line_row();
            const double full = level_ ? scale_.fill(row, *level_) : 0;
            // The sea stands on both sides as high as in the hull.
            if (!is_line && level_ && row >= surface)
                for (std::size_t x = 0; x + 1 < hull_; ++x)
                    if (x + 1 < left || x > right + 1)
                        canvas_.put(x, y, row == surface ? g_.surface : g_.sea, Style::Dim);
            // Once it is under water the line is no line any more.
            if (!is_line || full > 0)
                for (std::size_t x = left + 1; x < right; ++x)
                    canvas_.put(x, y, water(full, row <= scale_.line_row(), has_blocks_),
                                level_ ? std::optional(tone(*level_)) : std::nullopt);
            canvas_.put(left, y, row + 2 >= scale_.rows() ? g_.left_low : g_.left, Style::Bold);
            canvas_.put(right, y, row < hull_ / 4 ? g_.right : g_.right_low, Style::Bold);
        }
        const auto [left, right] = sides(scale_.rows() - 1);
        for (std::size_t x = left + 1; x < right; ++x)
            canvas_.put(x, y_of(scale_.rows()), g_.keel, Style::Bold);
        draw_deck();
        const auto [line_left, line_right] = sides(scale_.line_row());
        const std::size_t mark = columns_of(g_.mark);
        canvas_.text((line_left + line_right - mark) / 2 + 1, y_of(scale_.line_row()), g_.mark,
                     is_over() ? Style::Bad : Style::Bold);
    }

    void draw_deck() {
        const auto [left, right] = sides(0);
        for (std::size_t x = left; x <= right; ++x) canvas_.put(x, 0, g_.deck, Style::Bold);
        canvas_.text(left + 1, 0, g_.bridge, Style::Bold);
        canvas_.text(left + 6, 0, g_.funnel, Style::Bold);
        for (std::size_t x = left + 12; x + 4 < right; x += 6)
            canvas_.put(x, 0, g_.crane, Style::Bold);
    }

    void draw_scale() {
        const auto label = [&](std::size_t row, const std::string& text, Style style) {
            canvas_.text(hull_ + 1, y_of(row), text, style);
        };
        const std::size_t last = scale_.rows() - 1;
        label(0, to_gib_text(card_.total), Style::Dim);
        label(last, "0", Style::Dim);
        label(scale_.line_row(), to_gib_text(card_.load_line), Style::Bold);
        if (!level_) return;
        // Beside the line's own label there is no room in its row.
        label(scale_.row_of(*level_), to_gib_text(Bytes(static_cast<std::int64_t>(*level_))),
              tone(*level_));
    }

    // Bytes of the newest sample at or before each column; the job's own progress is its time, so
    // that the curve and its forecast lie over each other.
    [[nodiscard]] std::vector<std::optional<double>> curve(std::size_t width) const {
        std::vector<std::optional<double>> columns(width);
        const TopJob* const job = state_.drawn();
        if (job == nullptr || state_.forecast() == nullptr) {
            const auto& samples = state_.samples();
            const std::size_t count = std::min(samples.size(), width);
            for (std::size_t i = 0; i < count; ++i)
                columns[width - count + i] =
                    static_cast<double>(samples[samples.size() - count + i].bytes.count);
            return columns;
        }
        const auto column_of = [&](double progress) {
            return std::min(static_cast<std::size_t>(progress * static_cast<double>(width)),
                            width - 1);
        };
        std::size_t next = 0;
        std::optional<double> held;
        for (const TopSample& sample : state_.job_samples()) {
            const auto bytes = static_cast<double>(sample.bytes.count);
            const std::size_t at = column_of(sample.progress.value_or(0));
            for (; next < at; ++next) columns[next] = held;
            columns[at] = std::max(columns[at].value_or(0), bytes);
            held = bytes;
            next = std::max(next, at + 1);
        }
        if (job->progress && held)
            for (const std::size_t now = column_of(*job->progress); next <= now && next < width;)
                columns[next++] = held;
        return columns;
    }

    void draw_chart() {
        const std::size_t width = canvas_.columns() - chart_;
        const auto observed = curve(width);
        for (std::size_t x = 0; x < width; ++x) {
            if (!observed[x]) continue;
            for (std::size_t row = 0; row < scale_.rows(); ++row) {
                const double full = scale_.fill(row, *observed[x]);
                if (full > 0)
                    canvas_.put(chart_ + x, y_of(row),
                                water(full, row <= scale_.line_row(), has_blocks_),
                                tone(*observed[x]));
            }
        }
        if (state_.forecast() != nullptr)
            draw_forecast_curve(*state_.forecast(), observed, width);
        else
            canvas_.text(chart_, y_of(scale_.rows()), "the newest samples, now at the right",
                         Style::Dim);
    }

    void draw_forecast_curve(const TopForecast& forecast,
                             const std::vector<std::optional<double>>& observed,
                             std::size_t width) {
        double all = 0;
        for (const auto& phase : forecast.phases) all += phase.seconds;
        if (!(all > 0)) return;
        double before = 0;
        std::vector<Span> spans;  // neighbours of one kind are one
        for (const auto& phase : forecast.phases) {
            const auto column = [&](double seconds) {
                return static_cast<std::size_t>(seconds / all * static_cast<double>(width));
            };
            const std::size_t from = column(before);
            before += phase.seconds;
            const std::size_t to = std::min(std::max(column(before), from + 1), width);
            const auto peak = static_cast<double>(phase.peak.count);
            const std::size_t row = scale_.row_of(peak);
            for (std::size_t x = from; x < to && peak > 0; ++x)
                // A curve that reaches its forecast covers it.
                if (!observed[x] || scale_.fill(row, *observed[x]) < 0.125)
                    canvas_.put(chart_ + x, y_of(row), g_.forecast,
                                peak > scale_.line ? Style::Bad : Style::Bold);
            if (!spans.empty() && spans.back().kind == phase.kind)
                spans.back().to = to;
            else
                spans.push_back({phase.kind, from, to});
        }
        name_spans(std::move(spans), width);
    }

    struct Span {
        std::string kind;
        std::size_t from = 0;
        std::size_t to = 0;
    };
    // Each name where its phase begins; the longest phases first, the others where there is room.
    void name_spans(std::vector<Span> spans, std::size_t width) {
        std::ranges::stable_sort(spans, std::greater(),
                                 [](const Span& span) { return span.to - span.from; });
        std::string taken(width + 1, ' ');
        for (const Span& span : spans) {
            const std::string name = spoken(span.kind);
            const std::size_t cells = name.size() + 2;  // its mark, and a gap
            if (span.from + cells > taken.size()) continue;
            if (taken.substr(span.from, cells).contains('x')) continue;
            taken.replace(span.from, cells, cells, 'x');
            canvas_.text(chart_ + span.from, y_of(scale_.rows()), (has_blocks_ ? "╵" : "'") + name,
                         Style::Dim);
        }
    }

    Canvas& canvas_;
    const TopState& state_;
    const TopCard& card_;
    bool has_blocks_;
    const Glyphs& g_;
    Scale scale_;
    std::size_t hull_;   // columns of ship and sea
    std::size_t chart_;  // the chart's first column
    std::optional<double> level_;
};

}  // namespace

void draw_ship(Canvas& canvas, const TopState& state, const TopCard& card, const Screen& ink) {
    Ship(canvas, state, card, ink).draw();
}

}  // namespace plimsoll::cli
