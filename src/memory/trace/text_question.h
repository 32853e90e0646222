// SPDX-License-Identifier: Apache-2.0
//
// What the answers for text encoders other than CLIP share: how variants name stored types and the
// models that an encoder serves.
#pragma once
#include "memory/networks/text/text_encoder.h"
#include "memory/trace/question.h"

namespace plimsoll::memory::trace {

// ComfyUI's wrappers compute in fp32 whatever the weights are stored in.
[[nodiscard]] TextCall text_call(const Question& q);

// "fp16", "scaled_fp8", "bf16w", "fp16w_fp32c": how weights are stored and computed with, nothing
// else.
[[nodiscard]] bool names_types(std::string_view variant);
// "klein_bf16w": the model that the encoder serves, and how its weights are stored.
[[nodiscard]] bool names_user(std::string_view variant, std::string_view user);
// Whether the question's configuration, where it has one, is of this wrapper.
[[nodiscard]] bool is_of_class(const Question& q, std::string_view class_name);

// The walk with the wrapper named as the question's recorder names it.
[[nodiscard]] Walk name_wrapper(Walk walk, const Question& q, std::string_view class_name);

}  // namespace plimsoll::memory::trace
