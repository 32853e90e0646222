// SPDX-License-Identifier: Apache-2.0
//
// How long the guard waits for what, in milliseconds. All are chosen.
#pragma once
#include <cstdint>

namespace plimsoll::guard {

// Between two looks at what is with ComfyUI: a request to a local server takes one.
inline constexpr std::int64_t kPollMs = 250;
// Until a job that ComfyUI no longer names is taken for lost: it moves one between its lists at
// once.
inline constexpr std::int64_t kUnknownMs = 1'500;
// Until a prompt without an answer is taken for lost: validating the largest graph takes seconds.
inline constexpr std::int64_t kUnansweredMs = 60'000;
// Between two tries to reach ComfyUI where it is gone.
inline constexpr std::int64_t kContactMs = 1'000;
// Between two tries to write what the history did not take: a disk is full for minutes.
inline constexpr std::int64_t kPayMs = 1'000;
// Until the user's command starts ComfyUI anew: a supervisor of theirs would be faster.
inline constexpr std::int64_t kGoneMs = 10'000;
// Of the card's time, until a job that does not obey an interrupt hangs: a step of the largest
// video takes a minute or two.
inline constexpr std::int64_t kHungMs = 300'000;
// Between two such starts: ComfyUI with many packs takes a minute.
inline constexpr std::int64_t kRestartMs = 120'000;
// Between two words to clients of held jobs: some hang up after 10 s without one.
inline constexpr std::int64_t kWakeMs = 5'000;
// Until an interrupted job may come back.
inline constexpr std::int64_t kCoolMs = 30'000;

}  // namespace plimsoll::guard
