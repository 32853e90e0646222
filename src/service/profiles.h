// SPDX-License-Identifier: Apache-2.0
//
// Model profiles: the built-in ones and those that users add as [[profile]] tables of
// plimsoll.toml. A profile of the same name replaces the built-in one.
//
//   [[profile]]
//   name = "my-model"                    # required
//   checkpoint = "my_model.safetensors"  # required, as ComfyUI lists it
//   family = "sdxl"                      # while the file was not seen: a name of --family
//   native_side = 1024
//   best_cfg = 6.5
//   sampler = "euler"
//   scheduler = "normal"
//   style_words = "..."
//   negative_words = "..."
//   distilled = false
//   prior_vram_mb = 2800                 # 10^6 bytes
//   prior_seconds = 45
//
// Enters through: a TOML file.   Leaves through: Profiles.   Threads: no shared state.
#pragma once
#include "advisor/settings.h"
#include "base/error.h"
#include "service/config.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

struct Profiles {
    std::vector<advisor::ModelProfile> all;
    std::map<std::string, std::string, std::less<>>
        families;  // by profile name, where the user said it
};

// InvalidInput names the table, the key and the range.
[[nodiscard]] Result<Profiles> read_profiles(const Config& config);

// The catalogue's name for a model whose file was never seen: the user's word, else signs in the
// file's name, else the size it was trained at. A guess: whoever uses it says so.
[[nodiscard]] std::string guess_family(const Profiles& profiles,
                                       const advisor::ModelProfile& profile);
[[nodiscard]] std::string guess_family_of_file(std::string_view checkpoint, int native_side);

}  // namespace plimsoll::service
