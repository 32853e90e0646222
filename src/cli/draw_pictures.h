// SPDX-License-Identifier: Apache-2.0
//
// Two pictures and their measures for people.
#pragma once
#include "cli/screen.h"
#include "service/picture_comparison.h"

namespace plimsoll::cli {

void draw_picture_comparison(Screen& out, const service::PictureAnswer& answer);

}  // namespace plimsoll::cli
