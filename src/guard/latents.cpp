// SPDX-License-Identifier: Apache-2.0
//
// Files of saved latents whose jobs have ended: deleted where ComfyUI's output folder is on this
// machine, counted and said where it is not.
#include "base/log.h"
#include "base/say.h"
#include "base/units.h"
#include "guard/guard.h"
#include "guard/latent_files.h"
#include "guard/saved_latent.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

namespace plimsoll::guard {

namespace {

constexpr std::size_t kSpentMax = 10'000;  // chosen: what is beyond it is swept some other day
constexpr std::uint64_t kToldAgain = 10;   // chosen: times as much as when it was said last

}  // namespace

void Guard::spend_latent(const Facts& facts) {
    if (facts.latent && spent_latents_.size() < kSpentMax)
        spent_latents_.push_back(facts.latent->stem);
}

void Guard::delete_spent_latents() {
    // While it is gone it is not asked at every turn.
    if (!may_ask()) return;
    std::vector<std::string> spent;
    std::set<std::string, std::less<>> kept;
    {
        const std::lock_guard lock(mutex_);
        if (!has_met_comfyui_ || (spent_latents_.empty() && is_swept_)) return;
        spent = std::exchange(spent_latents_, {});
        for (const HeldEntry* const entry : queue_.in_order())
            if (entry->facts.latent) kept.insert(entry->facts.latent->stem);
    }
    service::Upstream* const comfyui = upstream();
    const auto folders = comfyui == nullptr
                             ? Result<std::vector<std::string>>(fail(Errc::Unavailable, ""))
                             : comfyui->guess_output_folders();
    if (!folders) {
        note_contact(false, folders.error().message);
        const std::lock_guard lock(mutex_);
        std::ranges::move(spent, std::back_inserter(spent_latents_));
        return;
    }
    if (!std::exchange(is_swept_, true))
        if (const auto count = sweep_latents(*folders, kept, parts_.clock.unix_ms()); count > 0)
            log::info("deleted {} latents that jobs of earlier days had left", count);
    for (const std::string& stem : spent) {
        if (kept.contains(stem) || delete_latents(*folders, stem) > 0) continue;
        // Never written, or not to be deleted from here.
        LatentCut cut;
        cut.stem = stem;
        const auto file = comfyui->read_piece(latent_file(cut), 0, 1);
        if (!file) continue;
        ++latents_left_.files;
        latents_left_.bytes += file->whole_bytes;
    }
    if (latents_left_.files == 0 || latents_left_.bytes < latents_left_.told_bytes) return;
    latents_left_.told_bytes = std::max<std::uint64_t>(1, latents_left_.bytes) * kToldAgain;
    warn("latents_left", "",
         say<"warning.latents_left">(latents_left_.files, kLatentFolder,
                                     Bytes(static_cast<std::int64_t>(latents_left_.bytes))));
}

}  // namespace plimsoll::guard
