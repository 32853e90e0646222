// SPDX-License-Identifier: Apache-2.0
//
// Where a command writes for people: colours and live lines on a terminal, plain text elsewhere.
//
// Leaves through: a FILE.   Threads: one Screen, one thread.
#pragma once
#include "base/error.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

using Environment = std::function<std::optional<std::string>(const std::string&)>;

enum class Style : std::uint8_t { Bold, Dim, Good, Notice, Bad };

class Screen {
  public:
    // Colours only on a terminal, not with TERM=dumb nor when NO_COLOR is set (no-color.org); block
    // characters only where the locale is UTF-8; 80 columns where the terminal does not say.
    Screen(std::FILE* file, const Environment& environment);

    [[nodiscard]] bool is_terminal() const { return is_terminal_; }
    [[nodiscard]] bool has_blocks() const { return has_blocks_; }
    [[nodiscard]] std::size_t columns() const { return columns_; }

    [[nodiscard]] std::string styled(Style style, std::string_view text) const;

    void write(std::string_view text);
    void line(std::string_view text = {});
    // Sentences of any length behind a label (which may be styled): broken at the screen's width,
    // the lines after the first indented.
    void paragraph(std::string_view label, std::string_view text, std::size_t indent);

    // Replaces the line that the cursor is on (a terminal only).
    void live_line(std::string_view text);
    // Takes the live line away again.
    void end_live_line();

    // Whether everything has reached the file: Unavailable when the disk is full or the reader is
    // gone (has_reader).
    [[nodiscard]] Result<void> flush();
    // False after a flush found that nobody reads any more (`| head`): no reason for a message.
    [[nodiscard]] bool has_reader() const { return has_reader_; }

  private:
    std::FILE* file_;
    bool is_terminal_ = false;
    bool has_colours_ = false;
    bool has_blocks_ = false;
    bool has_live_line_ = false;
    bool has_reader_ = true;
    std::size_t columns_ = 80;
};

// Rows under titles, columns aligned: text to the left, numbers to the right. The widest texts are
// shortened where the table would be wider than the screen.
class Table {
  public:
    // LeftKeepEnd: where it must be shortened, the end says more than the beginning (paths).
    enum class Align : std::uint8_t { Left, LeftKeepEnd, Right };
    struct Column {
        std::string title;
        Align align = Align::Left;
    };
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    void row(std::vector<std::string> cells);
    void draw(Screen& screen, std::size_t indent = 2) const;

  private:
    void narrow(std::vector<std::size_t>& widths, std::size_t over) const;

    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

// A bar of `cells` columns filled to `fraction` (0 to 1), with a mark where `mark` lies if it is
// within.
[[nodiscard]] std::string draw_bar(const Screen& screen, double fraction, std::size_t cells);

}  // namespace plimsoll::cli
