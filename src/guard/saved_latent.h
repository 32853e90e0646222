// SPDX-License-Identifier: Apache-2.0
//
// A latent that is saved before its decode, so that only the tail is computed again where ComfyUI
// itself went down meanwhile: a node SaveLatent beside the decode, and for the replay LoadLatent in
// the sampler's place. While ComfyUI lives its own cache does the same and nothing of this is used.
// SaveLatent writes below ComfyUI's output folder; LoadLatent takes "name [output]" and reads it
// there (get_annotated_filepath), so no file has to be moved. The file stays: ComfyUI has no call
// that deletes one.
//
// Enters through: the prompt's bytes, JobForecast.   Leaves through: the prompt's bytes.   Threads:
// no shared state.
#pragma once
#include "base/error.h"
#include "guard/facts.h"
#include "guard/watch.h"
#include "service/comfyui/answers.h"
#include "workflow/graph.h"

#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

inline constexpr std::string_view kLatentNode = "plimsoll_latent";
inline constexpr std::string_view kLatentFolder = "plimsoll";  // below ComfyUI's output

// The one latent that is only decoded: nothing but VAEDecode and VAEDecodeTiled reads it, and it
// comes from another node than a loader of latents. nullopt: there is none, or several.
[[nodiscard]] std::optional<LatentCut> find_latent_cut(const workflow::Graph& graph);
// Whether saving pays: what comes before the decode takes long, and the decode comes near the line.
[[nodiscard]] bool is_worth_saving(const LatentCut& cut, const JobForecast& forecast);
[[nodiscard]] service::ImageRef latent_file(const LatentCut& cut);

// With a node that saves it. Fails where a node of our name is there already.
[[nodiscard]] Result<std::string> with_saved_latent(std::string_view prompt, const LatentCut& cut);
// The same prompt with the saved latent in the place of what made it: everything else stays, and
// ComfyUI leaves out what nobody asks for.
[[nodiscard]] Result<std::string> with_loaded_latent(std::string_view prompt, const LatentCut& cut);
// As it came: where our node itself failed.
[[nodiscard]] Result<std::string> without_latent(std::string_view prompt, const LatentCut& cut);

}  // namespace plimsoll::guard
