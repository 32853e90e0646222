// SPDX-License-Identifier: Apache-2.0
//
// Deletes the files of saved latents (saved_latent.h) from ComfyUI's output folder, where that is
// on this machine. Nothing that comes from outside names what is deleted: only regular files in the
// folder "plimsoll" itself, which must be no link, whose whole name is one that SaveLatent gives to
// a stem of ours (a UUID).
//
// Enters through: the file system; guesses of where "output" lies.   Leaves through: files that are
// gone.   Threads: no shared state.
#pragma once
#include "guard/facts.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// The stem of a file of ours: "<uuid>_00001_.latent" -> "<uuid>". nullopt: it is none.
[[nodiscard]] std::optional<std::string_view> stem_of_latent(std::string_view filename);

// What is saved under that stem, in whichever of the folders it lies. How many files are gone; 0:
// none of the folders has it, or may not be written.
[[nodiscard]] std::size_t delete_latents(const std::vector<std::string>& output_folders,
                                         std::string_view stem);

// Those that earlier processes left: of no stem in `kept`, and so old that no other Plimsoll in
// front of the same ComfyUI still wants them.
[[nodiscard]] std::size_t sweep_latents(const std::vector<std::string>& output_folders,
                                        const std::set<std::string, std::less<>>& kept,
                                        std::int64_t now_ms);
inline constexpr std::int64_t kSweptAfterMs = 24LL * 3600 * 1000;  // chosen: no job takes a day

}  // namespace plimsoll::guard
