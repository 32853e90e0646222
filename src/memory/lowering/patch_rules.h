// SPDX-License-Identifier: Apache-2.0
//
// What the catalogue says that a node changes about sampling: about a model that it hands on
// (`patch`), or about the conditionings (`condition`). Both are expressions by name:
//   patch: extra_forwards, keeps_negative, negative_apart, cfg (below 0: as it is), window_length,
//     window_overlap, window_stride, window_axis, window_uniform, window_batched, window_leading,
//     kept_latents, kept_outputs, kept_hidden, beside (the file's name), attention_scores,
//     skip_filter, merged_tokens: SamplingPatches says what each is;
//   condition: start, end, area_height, area_width, area_frames, area_top, area_left, area_shares.
#pragma once
#include "memory/built_models.h"
#include "memory/lowering/node_scope.h"

#include <string>

namespace plimsoll::memory {

// What cannot be evaluated is left as it is, and the node's step says so.
void apply_patch_rules(NodeScope& scope, const BuiltModels& models, Values& values);

// A file of low-rank matrices or of an adapter, once however often it is named.
[[nodiscard]] LoraIndex add_lora(NodeScope& scope, const BuiltModels& models,
                                 const std::string& name);

}  // namespace plimsoll::memory
