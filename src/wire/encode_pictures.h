// SPDX-License-Identifier: Apache-2.0
//
// Measures of pictures in JSON. A measure without a value has null and its reason.
//
// Enters through: results of service and quality.   Leaves through: json.   Threads: no shared
// state.
#pragma once
#include "base/json.h"
#include "quality/scores.h"
#include "service/picture_comparison.h"

namespace plimsoll::wire {

// [{measure, scale, value, better, unit, reason}]
[[nodiscard]] json::array encode_scores(const quality::Scores& scores);
// likeness, pair[], reference{file, width, height, format, bits, grey, transparentShare, notes[],
// measures[]}, candidate{...}
[[nodiscard]] json::object encode_picture_comparison(const service::PictureAnswer& answer);

}  // namespace plimsoll::wire
