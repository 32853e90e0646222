// SPDX-License-Identifier: Apache-2.0
//
// Goal: the simulated server cannot be told from the recorded one. Method: replay.h, one simulator
// for each of the two recorded servers.
#include "simulator/replay/replay.h"

namespace plimsoll::simulator {
namespace {

int nothing(int /*port*/) {
    return 0;
}

TEST(Replay, the_server_without_previews_answers_as_recorded) {
    replay_server_without_previews(nothing);
}

TEST(Replay, the_server_with_previews_answers_as_recorded) {
    replay_server_with_previews(nothing);
}

}  // namespace
}  // namespace plimsoll::simulator
