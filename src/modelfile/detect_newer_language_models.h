// SPDX-License-Identifier: Apache-2.0
//
// Language models whose layers are not those of Llama: T5Gemma's encoder, Gemma 4's small models,
// Qwen 3.5. Private to this folder.
#pragma once
#include "modelfile/detect_parts.h"

#include <optional>
#include <string>

namespace plimsoll::modelfile {

[[nodiscard]] std::optional<T5GemmaConfig> read_t5gemma(const TensorView& base, Notes& notes);
// `stem`: what stands before "layers.0.".
[[nodiscard]] bool is_gemma4(const TensorView& stem);
[[nodiscard]] std::optional<Gemma4Config> read_gemma4(const TensorView& stem, Notes& notes);
// `root`: before "model.".
[[nodiscard]] std::optional<Qwen35Config> read_qwen35(const TensorTable& table,
                                                      const std::string& stem,
                                                      const std::string& root, Notes& notes);

}  // namespace plimsoll::modelfile
