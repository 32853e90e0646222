// SPDX-License-Identifier: Apache-2.0
#include "cli/screen.h"

#include "base/text.h"
#include "cli/text.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <system_error>
#include <utility>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kColumnsMin = 40;   // chosen: below, tables are wider anyway
constexpr std::size_t kColumnsMax = 120;  // chosen: longer lines are hard to read

// The first of the three that is set decides (POSIX).
bool is_utf8_locale(const Environment& environment) {
    for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"})
        if (const auto value = environment(name); value && !value->empty()) {
            const std::string lower = to_lower_ascii(*value);
            return lower.find("utf-8") != std::string::npos ||
                   lower.find("utf8") != std::string::npos;
        }
    return false;
}

std::string_view sequence_of(Style style) {
    switch (style) {
        case Style::Bold:
            return "\x1b[1m";
        case Style::Dim:
            return "\x1b[2m";
        case Style::Good:
            return "\x1b[32m";
        case Style::Notice:
            return "\x1b[33m";
        case Style::Bad:
            return "\x1b[31m";
    }
    return "";
}

std::string padded(const std::string& cell, std::size_t columns, Table::Align align) {
    const std::size_t width = columns_of(cell);
    const std::string spaces(columns > width ? columns - width : 0, ' ');
    return align == Table::Align::Right ? spaces + cell : cell + spaces;
}

}  // namespace

Screen::Screen(std::FILE* file, const Environment& environment) : file_(file) {
    const int descriptor = ::fileno(file);
    is_terminal_ = descriptor >= 0 && ::isatty(descriptor) == 1;
    const auto no_colour = environment("NO_COLOR");
    const auto term = environment("TERM");
    has_colours_ = is_terminal_ && (!no_colour || no_colour->empty()) && term != "dumb";
    has_blocks_ = is_utf8_locale(environment);
    winsize size{};
    if (is_terminal_ && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns_ = std::clamp<std::size_t>(size.ws_col, kColumnsMin, kColumnsMax);
}

std::string Screen::styled(Style style, std::string_view text) const {
    if (!has_colours_) return std::string(text);
    return fmt::format("{}{}\x1b[0m", sequence_of(style), text);
}

void Screen::write(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), file_);
}

void Screen::line(std::string_view text) {
    write(text);
    write("\n");
}

void Screen::paragraph(std::string_view label, std::string_view text, std::size_t indent) {
    constexpr std::size_t kRoomMin = 20;  // chosen: a screen too narrow is better overrun
    const std::size_t room = std::max(columns_, indent + kRoomMin) - indent;
    const std::size_t label_columns = columns_of(label);
    const std::size_t used = label_columns > indent ? label_columns - indent : 0;
    write(label);
    bool first = true;
    for (const std::string& one : wrapped(text, room, used)) {
        if (!first) write(std::string(indent, ' '));
        line(one);
        first = false;
    }
}

void Screen::live_line(std::string_view text) {
    if (!is_terminal_) return;
    write("\r");
    write(shortened(text, columns_ - 1));
    write("\x1b[K");  // to the end of the line
    std::fflush(file_);
    has_live_line_ = true;
}

void Screen::end_live_line() {
    if (!std::exchange(has_live_line_, false)) return;
    write("\r\x1b[K");
    std::fflush(file_);
}

Result<void> Screen::flush() {
    errno = 0;
    if (std::fflush(file_) == 0 && std::ferror(file_) == 0) return {};
    if (errno == EPIPE) has_reader_ = false;
    return fail(Errc::Unavailable, fmt::format("standard output cannot be written: {}",
                                               std::generic_category().message(errno)));
}

void Table::row(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    rows_.push_back(std::move(cells));
}

// The widest texts give way first; numbers never do.
void Table::narrow(std::vector<std::size_t>& widths, std::size_t over) const {
    constexpr std::size_t kTextMin = 8;  // chosen: less says nothing
    for (; over > 0; --over) {
        std::size_t widest = columns_.size();
        for (std::size_t c = 0; c < columns_.size(); ++c)
            if (columns_[c].align != Align::Right && widths[c] > kTextMin &&
                (widest == columns_.size() || widths[c] > widths[widest]))
                widest = c;
        if (widest == columns_.size()) return;
        --widths[widest];
    }
}

void Table::draw(Screen& screen, std::size_t indent) const {
    constexpr std::size_t kGap = 2;
    std::vector<std::size_t> widths;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        widths.push_back(columns_of(columns_[c].title));
        for (const auto& cells : rows_) widths[c] = std::max(widths[c], columns_of(cells[c]));
    }
    std::size_t all = indent + kGap * (columns_.size() - 1);
    for (const std::size_t width : widths) all += width;
    narrow(widths, all > screen.columns() ? all - screen.columns() : 0);
    const auto draw_row = [&](const std::vector<std::string>& cells, bool title) {
        std::string text(indent, ' ');
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            const bool keep_end = columns_[c].align == Align::LeftKeepEnd && !title;
            const std::string cell =
                keep_end ? shortened_front(cells[c], widths[c]) : shortened(cells[c], widths[c]);
            text += padded(cell, widths[c], columns_[c].align);
            if (c + 1 < columns_.size()) text.append(kGap, ' ');
        }
        text.resize(text.find_last_not_of(' ') + 1);
        screen.line(title ? screen.styled(Style::Dim, text) : text);
    };
    std::vector<std::string> titles;
    titles.reserve(columns_.size());
    for (const Column& column : columns_) titles.push_back(column.title);
    draw_row(titles, true);
    for (const auto& cells : rows_) draw_row(cells, false);
}

std::string draw_bar(const Screen& screen, double fraction, std::size_t cells) {
    const double filled =
        std::clamp(std::isfinite(fraction) ? fraction : 0.0, 0.0, 1.0) * static_cast<double>(cells);
    auto whole = static_cast<std::size_t>(filled);
    std::string bar;
    if (!screen.has_blocks()) {
        bar.append(whole, '#');
        bar.append(cells - whole, '.');
        return bar;
    }
    // Eighths of a block, as terminals draw them.
    constexpr std::array<const char*, 8> kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const auto eighths = static_cast<std::size_t>((filled - static_cast<double>(whole)) * 8);
    for (std::size_t i = 0; i < whole; ++i) bar += "█";
    if (whole < cells && eighths > 0) {
        bar += kEighths[eighths];
        ++whole;
    }
    for (std::size_t i = whole; i < cells; ++i) bar += "░";
    return bar;
}

}  // namespace plimsoll::cli
