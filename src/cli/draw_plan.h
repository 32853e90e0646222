// SPDX-License-Identifier: Apache-2.0
//
// Plans for people: what to change, each change with its price.
//
// Leaves through: Screen.   Threads: as Screen.
#pragma once
#include "advisor/plan.h"
#include "cli/screen.h"

namespace plimsoll::cli {

// The table of changes and what comes out; `control` says whether flags of the server are set or
// advised.
void draw_plan(Screen& screen, const advisor::Plan& plan, const advisor::Budget& budget,
               advisor::ServerControl control);

}  // namespace plimsoll::cli
