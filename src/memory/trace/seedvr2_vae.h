// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "memory/trace/question.h"

namespace plimsoll::memory::trace {

[[nodiscard]] Result<Walk> answer_seedvr2_vae(const Question& q);

}  // namespace plimsoll::memory::trace
