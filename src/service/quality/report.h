// SPDX-License-Identifier: Apache-2.0
//
// A quality session as one HTML file that opens anywhere: numbers, plot and pictures are in it,
// nothing is fetched, no script runs. Texts are escaped; prompts come from anybody.
//
// Enters through: files of pictures.   Leaves through: HTML.   Threads: no shared state.
#pragma once
#include "quality/lab/session.h"
#include "service/quality/votes.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace plimsoll::service {

// Chosen: a page that a mail still carries and that is there in seconds. 48 pictures of 384 pixels
// are about a megabyte; each takes some 50 ms of a core to read, to search and to make small.
inline constexpr std::size_t kReportPictures = 48;
inline constexpr std::size_t kReportPictureBytes = std::size_t{6} << 20;
inline constexpr int kReportPictureSide = 384;

// Pictures whose file is gone are said to be; it never fails. `language` is the code of one that
// report_words.h has; English for any other.
[[nodiscard]] std::string write_report(const quality::Session& session, const VoteCount& votes,
                                       std::string_view language = "en");

}  // namespace plimsoll::service
