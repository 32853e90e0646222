// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_top.h"

#include "cli/draw_forecast.h"
#include "cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace plimsoll::cli {

namespace {

std::string clock_text(std::int64_t unix_ms) {
    const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
    std::tm local{};
    if (::localtime_r(&seconds, &local) == nullptr) return "--:--:--";
    return fmt::format("{:02d}:{:02d}:{:02d}", local.tm_hour, local.tm_min, local.tm_sec);
}

std::string percent(double share) {
    return fmt::format("{:.0f} %", share * 100);
}

std::string to_width(std::string text, std::size_t columns) {
    text = shortened(text, columns);
    text.append(columns - std::min(columns_of(text), columns), ' ');
    return text;
}

// "sd_xl_base_1.0.safetensors / unet": the part says what it is, the file is the job's.
std::string_view part_name(std::string_view model) {
    const std::size_t slash = model.rfind(" / ");
    return slash == std::string_view::npos ? model : model.substr(slash + 3);
}

// Left and right on one row; the left one gives way.
std::string pair_row(const std::string& left, const std::string& right, std::size_t columns) {
    const std::size_t room = columns - std::min(columns, columns_of(right) + 1);
    return to_width(left, room) + " " + right;
}

class Frame {
  public:
    Frame(const TopState& state, const TopView& view, const Screen& ink, FrameSize size,
          std::int64_t now_ms)
        : state_(state), view_(view), ink_(ink), size_(size), now_ms_(now_ms) {}

    std::vector<std::string> draw() {
        add_title();
        if (size_.columns < kTopSizeMin.columns || size_.rows < kTopSizeMin.rows)
            add_small();
        else if (view_.help)
            add_help();
        else
            add_panels();
        rows_.resize(size_.rows);
        if (size_.rows > 1) rows_.back() = footer();
        for (std::string& row : rows_) row = shortened(row, size_.columns);
        return std::move(rows_);
    }

  private:
    void add(std::string row = {}) { rows_.push_back(std::move(row)); }
    [[nodiscard]] std::string_view sign(Weight weight) const {
        switch (weight) {
            case Weight::Good:
                return ink_.has_blocks() ? "✓" : "+";
            case Weight::Warning:
                return "!";
            case Weight::Bad:
                return ink_.has_blocks() ? "✗" : "x";
            case Weight::Plain:
                break;
        }
        return ink_.has_blocks() ? "·" : "-";
    }
    [[nodiscard]] std::string weighed(Weight weight, std::string_view text) const {
        std::string all = fmt::format("{} {}", sign(weight), text);
        switch (weight) {
            case Weight::Good:
                return ink_.styled(Style::Good, all);
            case Weight::Warning:
                return ink_.styled(Style::Notice, all);
            case Weight::Bad:
                return ink_.styled(Style::Bad, all);
            case Weight::Plain:
                break;
        }
        return all;
    }
    [[nodiscard]] std::string heading(std::string_view name, std::string_view beside = "") const {
        std::string row = ink_.styled(Style::Bold, name);
        if (!beside.empty()) row += fmt::format(" {}", beside);
        row += ' ';
        const std::size_t width = columns_of(row);
        std::string rule;
        for (std::size_t i = width; i < size_.columns; ++i) rule += ink_.has_blocks() ? "─" : "-";
        return row + ink_.styled(Style::Dim, rule);
    }

    void add_title() {
        const std::string where = fmt::format(
            "{} {}{}", ink_.styled(Style::Bold, "plimsoll top"), state_.url(),
            state_.version().empty()
                ? ""
                : ink_.styled(Style::Dim,
                              fmt::format("  {}{}", state_.version(),
                                          state_.is_simulated() ? ", simulated card" : "")));
        std::string contact;
        switch (state_.contact()) {
            case Contact::Live:
                contact = weighed(Weight::Good, "live");
                break;
            case Contact::Connecting:
                contact = weighed(Weight::Plain, "connecting");
                break;
            case Contact::Lost:
                contact = weighed(Weight::Bad, "no connection");
                break;
        }
        add(pair_row(where, contact + "  " + clock_text(now_ms_), size_.columns));
    }

    // How the card stands, in words.
    [[nodiscard]] std::string standing() const {
        if (state_.contact() == Contact::Lost)
            return weighed(Weight::Bad, "trying again: " + state_.why_lost());
        if (!state_.card())
            return weighed(Weight::Warning, state_.contact() == Contact::Connecting
                                                ? "waiting for the daemon"
                                                : "no card answers yet: plimsoll doctor says why");
        const TopCard& card = *state_.card();
        const auto held = card.allocated ? card.allocated : card.used;
        if (!held) return weighed(Weight::Warning, "what is allocated is not known");
        const Bytes room = card.load_line - *held;
        if (room.count < 0)
            return weighed(Weight::Bad,
                           fmt::format("OVER THE LOAD LINE by {}", to_text(Bytes(-room.count))));
        return weighed(Weight::Good, fmt::format("under the load line, {} of room", to_text(room)));
    }

    void add_standing() {
        const auto& card = state_.card();
        const std::string sentence = standing();
        // The card's name gives way to the sentence.
        const std::size_t room = size_.columns - std::min(size_.columns, columns_of(sentence) + 2);
        add(pair_row(sentence, card ? ink_.styled(Style::Dim, shortened(card->name, room)) : "",
                     size_.columns));
    }

    [[nodiscard]] std::string instruments() const {
        const TopCard& card = *state_.card();
        const auto one = [](std::string_view name, const std::optional<double>& value,
                            std::string_view unit) {
            return value ? fmt::format("{} {:.0f} {}   ", name, *value, unit)
                         : fmt::format("{} -   ", name);
        };
        std::string text = one("temperature", card.celsius, ink_.has_blocks() ? "°C" : "C") +
                           one("power", card.watts, "W") + one("clock", card.mhz, "MHz");
        text +=
            card.utilization ? fmt::format("load {}   ", percent(*card.utilization)) : "load -   ";
        if (card.throttled && *card.throttled)
            text += weighed(Weight::Warning, "slowed down by heat");
        else
            text += card.throttled ? "not throttled" : "throttling -";
        return text;
    }

    [[nodiscard]] std::string holdings() const {
        const TopCard& card = *state_.card();
        std::string text = "on the card ";
        text += card.used ? fmt::format("{} of {} by all programs", to_text(*card.used),
                                        to_text(card.total))
                          : to_text(card.total);
        for (const auto& held : card.holdings)
            text += fmt::format("; {} {}{}", part_name(held.model), to_text(held.bytes),
                                held.freeable ? " (freeable)" : "");
        return ink_.styled(Style::Dim, text);
    }

    void add_panels() {
        add_standing();
        // What is left after title, standing, instruments, job (4), queue, events and footer.
        constexpr std::size_t kOthers = 14;
        constexpr std::size_t kShipMax = 20;  // chosen: a taller one shows nothing more
        const std::size_t ship = std::min(size_.rows - kOthers, kShipMax);
        if (state_.card()) {
            Canvas canvas(size_.columns, ship);
            draw_ship(canvas, state_, *state_.card(), ink_);
            for (std::string& row : canvas.lines(ink_)) add(std::move(row));
            add(instruments());
            add(holdings());
        } else {
            for (std::size_t i = 0; i < ship + 2; ++i) add();
        }
        add_job();
        add_queue();
        add_events();
    }

    void add_job() {
        const TopJob* const job = state_.running();
        if (job == nullptr) {
            add(heading("job"));
            add("none runs");
            add(last_told());
            add();
            return;
        }
        add(heading("job", fmt::format("{} {}", job->job_id.substr(0, 8), job->model)));
        add(job->prompt.empty() ? ink_.styled(Style::Dim, "(a workflow of its own)") : job->prompt);
        std::string step = job->phase.empty() ? "starting" : spoken(job->phase);
        if (job->step && job->steps) step += fmt::format(" {}/{}", *job->step, *job->steps);
        if (job->runs > 1) step += fmt::format(", run {} of {}", job->run + 1, job->runs);
        constexpr std::size_t kBar = 28;
        add(fmt::format("{} {} {:>5}   {}", to_width(step, 24),
                        draw_bar(ink_, job->progress.value_or(0), kBar),
                        job->progress ? percent(*job->progress) : "-",
                        job->seconds_left ? seconds_text(*job->seconds_left) + " left" : ""));
        add(forecast_row(*job));
    }

    [[nodiscard]] std::string forecast_row(const TopJob& job) const {
        const TopForecast* const forecast = state_.forecast();
        if (forecast == nullptr) return ink_.styled(Style::Dim, "its forecast is not there yet");
        std::string text = fmt::format("forecast {}, peak {}, {}", spoken(forecast->verdict),
                                       to_text(forecast->peak), seconds_text(forecast->seconds));
        if (job.observed_peak)
            text += fmt::format("; observed so far {}", to_text(*job.observed_peak));
        return text;
    }

    // The last one that ran, so that its picture above has a name.
    [[nodiscard]] std::string last_told() const {
        const TopJob* const job = state_.drawn();
        if (job == nullptr || !job->has_ended) return "";
        std::string text =
            fmt::format("above: job {} {}", job->job_id.substr(0, 8), spoken(job->state));
        if (job->observed_peak) text += fmt::format(", peak {}", to_text(*job->observed_peak));
        if (job->forecast_peak)
            text += fmt::format(" of {} forecast", to_text(*job->forecast_peak));
        return ink_.styled(Style::Dim, text);
    }

    void add_queue() {
        const auto waiting = state_.waiting();
        const std::string count =
            waiting.empty() ? "empty" : fmt::format("{} waiting", waiting.size());
        add(heading("queue", count));
        std::size_t room = queue_rows(waiting.size());
        for (const TopJob* const job : waiting) {
            if (room-- == 0) break;
            add(fmt::format("{}  {}  {}", job->job_id.substr(0, 8), to_width(job->model, 14),
                            job->prompt));
        }
    }

    // Half of what is left goes to the events.
    [[nodiscard]] std::size_t queue_rows(std::size_t waiting) const {
        const std::size_t left = size_.rows - std::min(size_.rows, rows_.size() + 2);
        return std::min(waiting, left / 2);
    }

    void add_events() {
        const auto& notes = state_.notes();
        const std::size_t left = size_.rows - std::min(size_.rows, rows_.size() + 2);
        const std::size_t most = notes.size() > left ? notes.size() - left : 0;
        const std::size_t from = std::min(view_.scrolled, most);
        add(heading("events", from > 0 ? fmt::format("{} newer above", from) : ""));
        for (std::size_t i = from; i < notes.size() && i < from + left; ++i)
            add(fmt::format("{} {}", ink_.styled(Style::Dim, clock_text(notes[i].at_ms)),
                            weighed(notes[i].weight, notes[i].text)));
    }

    void add_small() {
        add(standing());
        add(fmt::format("the window is {} x {}: the picture needs {} x {}", size_.columns,
                        size_.rows, kTopSizeMin.columns, kTopSizeMin.rows));
        if (const TopJob* const job = state_.running())
            add(fmt::format("job {} {} {}", job->job_id.substr(0, 8), spoken(job->phase),
                            job->progress ? percent(*job->progress) : ""));
        add(fmt::format("{} waiting", state_.waiting().size()));
    }

    void add_help() {
        const std::string_view dot = ink_.has_blocks() ? "∙" : ".";
        const std::string_view line = ink_.has_blocks() ? "╌╌╌" : "---";
        const std::string_view under = ink_.has_blocks() ? "█" : "#";
        const std::string_view over = ink_.has_blocks() ? "▓" : "%";
        add();
        for (const std::string& row :
             {fmt::format("{}  the load line: MAX_VRAM_MB less SAFETY_MARGIN", line),
              fmt::format("{}    allocated by torch, under the line", under),
              fmt::format("{}    allocated by torch, over the line", over),
              fmt::format("{}    what the forecast expects of each phase", dot), std::string(),
              std::string(
                  "The hull shows now. The chart beside it has the same scale and shows the job"),
              std::string("that runs, or the last one: from its start to its end as forecast, "
                          "phases below."),
              std::string(), std::string("up, down, k, j       scroll the events"),
              std::string("page up, page down   by ten"),
              std::string("home                 to the newest"),
              std::string("h, ?, escape         this help, and back"),
              std::string("q, Ctrl-C            quit; jobs go on")})
            add("  " + row);
    }

    [[nodiscard]] std::string footer() const {
        return ink_.styled(Style::Dim, view_.help ? "h back   q quit"
                                                  : "q quit   h help   up/down scroll the events");
    }

    const TopState& state_;
    const TopView& view_;
    const Screen& ink_;
    FrameSize size_;
    std::int64_t now_ms_;
    std::vector<std::string> rows_;
};

}  // namespace

Canvas::Canvas(std::size_t columns, std::size_t rows) : columns_(columns), cells_(columns * rows) {}

void Canvas::put(std::size_t column, std::size_t row, std::string_view glyph,
                 std::optional<Style> style) {
    if (column >= columns_ || row >= rows()) return;
    cells_[row * columns_ + column] = {std::string(glyph), style};
}

void Canvas::text(std::size_t column, std::size_t row, std::string_view text,
                  std::optional<Style> style) {
    for (std::size_t i = 0; i < text.size();) {
        std::size_t bytes = 1;
        while (i + bytes < text.size() &&
               (static_cast<unsigned char>(text[i + bytes]) & 0xC0U) == 0x80)
            ++bytes;
        put(column++, row, text.substr(i, bytes), style);
        i += bytes;
    }
}

std::vector<std::string> Canvas::lines(const Screen& ink) const {
    std::vector<std::string> lines;
    for (std::size_t row = 0; row < rows(); ++row) {
        std::string line;
        std::string run;
        std::optional<Style> style;
        const auto end_run = [&] {
            line += style && run.find_first_not_of(' ') != std::string::npos
                        ? ink.styled(*style, run)
                        : run;
            run.clear();
        };
        for (std::size_t column = 0; column < columns_; ++column) {
            const Cell& cell = cells_[row * columns_ + column];
            if (cell.style != style) end_run();
            style = cell.style;
            run += cell.glyph;
        }
        end_run();
        line.resize(line.find_last_not_of(' ') + 1);
        lines.push_back(std::move(line));
    }
    return lines;
}

std::vector<std::string> draw_top(const TopState& state, const TopView& view, const Screen& ink,
                                  FrameSize size, std::int64_t now_ms) {
    return Frame(state, view, ink, size, now_ms).draw();
}

}  // namespace plimsoll::cli
