// SPDX-License-Identifier: Apache-2.0
//
// A picture of a quality session as people look at it: small, beside its reference as a map of what
// differs, and with the place that shows what it lost for. All is read from the files of the
// session; nothing is kept.
//
// Enters through: files.   Leaves through: bytes of pictures, DefectMark.   Threads: no shared
// state.
#pragma once
#include "base/error.h"
#include "quality/defect_place.h"
#include "quality/image.h"
#include "quality/lab/session.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

inline constexpr int kLookSideLeast = 32;    // pixels of the longer side
inline constexpr int kLookSideMax = 2048;    // chosen: fills a screen
inline constexpr int kLookJpegQuality = 85;  // chosen: no blocks to be taken for the model's

// The picture as a JPEG whose longer side is at most `side_max`. NotFound where its file is gone.
[[nodiscard]] Result<std::string> small_picture(const std::filesystem::path& file, int side_max);

// The candidate in grey, what differs from the reference of its block in red, as a PNG. NotFound
// where there is no such picture, or with the reason why comparing its pixels says nothing.
[[nodiscard]] Result<std::string> draw_map(const quality::Session& session,
                                           const quality::Cell& cell, int side_max);

// What a picture lost most for, and where that is to be seen.
struct DefectMark {
    quality::Cell cell;
    std::string defect;  // of lab/marks.h, "difference", or empty: nothing is wrong with it
    int width = 0;       // of the picture
    int height = 0;
    std::optional<quality::DefectPlace> place;
    std::string why_no_place;
};
// NotFound where there is no such picture.
[[nodiscard]] Result<DefectMark> mark_defect(const quality::Session& session,
                                             const quality::Cell& cell);

// The same of pictures that were read already. The cell's picture was drawn.
[[nodiscard]] DefectMark mark_defect(const quality::Session& session, const quality::Cell& cell,
                                     const quality::Image& reference,
                                     const quality::Image& candidate);
// NotFound, without its path, where it is gone or no picture.
[[nodiscard]] Result<quality::Image> read_session_picture(const std::filesystem::path& file);

// "noise: 3.1 levels where the reference has 1.2"
[[nodiscard]] std::string mark_words(const DefectMark& mark);

}  // namespace plimsoll::service
