// SPDX-License-Identifier: Apache-2.0
//
// One frame of `plimsoll top`. The card is a hull: the water stands as high as memory is allocated,
// the load line runs through the hull and on through the chart beside it, which has the same scale.
// Nothing is told by colour alone.
//
// Leaves through: rows of text.   Threads: no shared state.
#pragma once
#include "cli/screen.h"
#include "cli/terminal.h"
#include "cli/top_state.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::cli {

inline constexpr FrameSize kTopSizeMin{80, 24};

// What the person has chosen to see.
struct TopView {
    std::size_t scrolled = 0;  // events above the first that is shown
    bool help = false;
};

// Exactly size.rows rows, none wider than size.columns. `ink` says which styles and characters
// there are.
[[nodiscard]] std::vector<std::string> draw_top(const TopState& state, const TopView& view,
                                                const Screen& ink, FrameSize size,
                                                std::int64_t now_ms);

// Text cell by cell, each with its style: what is drawn later covers what was there.
class Canvas {
  public:
    Canvas(std::size_t columns, std::size_t rows);
    [[nodiscard]] std::size_t columns() const { return columns_; }
    [[nodiscard]] std::size_t rows() const { return cells_.size() / columns_; }
    // Outside of the canvas nothing is drawn. `glyph` is one column wide.
    void put(std::size_t column, std::size_t row, std::string_view glyph,
             std::optional<Style> style = std::nullopt);
    void text(std::size_t column, std::size_t row, std::string_view text,
              std::optional<Style> style = std::nullopt);
    [[nodiscard]] std::vector<std::string> lines(const Screen& ink) const;

  private:
    struct Cell {
        std::string glyph = " ";  // empty: covered by the wide one before it
        std::optional<Style> style;
    };
    std::size_t columns_;
    std::vector<Cell> cells_;
};

// Hull, scale and chart on the whole of `canvas`, which has at least 70 x 8 cells.
void draw_ship(Canvas& canvas, const TopState& state, const TopCard& card, const Screen& ink);

}  // namespace plimsoll::cli
