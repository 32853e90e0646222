// SPDX-License-Identifier: Apache-2.0
//
// One detector for each kind of network. Each looks below one prefix and answers nullopt when its
// network is not there; when it is there but contradicts itself, it says so in `notes` and answers
// nullopt too. Private to this folder.
#pragma once
#include "modelfile/network_config.h"
#include "modelfile/tensor_view.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::modelfile {

using Notes = std::vector<std::string>;

// Adds up the weights of one part, tensor by tensor.
class WeightSum {
  public:
    void add(const TensorEntry& tensor);
    [[nodiscard]] PartWeights total() const;

  private:
    PartWeights sum_;
    std::map<DType, std::int64_t> elements_of_;
};

// UNet in the LDM layout (input_blocks) or the diffusers layout (down_blocks).
[[nodiscard]] std::optional<UnetConfig> detect_ldm_unet(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<UnetConfig> detect_diffusers_unet(const TensorView& view, Notes& notes);
// Which of ComfyUI's families has these numbers. Unknown when none.
[[nodiscard]] Family family_of(const UnetConfig& config, bool is_zero123);

[[nodiscard]] std::optional<ControlNetConfig> detect_controlnet(const TensorView& view,
                                                                Notes& notes);
[[nodiscard]] std::optional<T2iAdapterConfig> detect_t2i_adapter(const TensorView& view,
                                                                 Notes& notes);

[[nodiscard]] std::optional<KlVaeConfig> detect_kl_vae(const TensorView& view, Notes& notes);
[[nodiscard]] std::optional<TinyVaeConfig> detect_tiny_vae(const TensorView& view);

// The first few that the file holds; more get a note.
[[nodiscard]] std::vector<Part<TextEncoderConfig>> detect_text_encoders(const TensorTable& table,
                                                                        Notes& notes);

// What a file of another family looks like ("Flux", "Wan 2.x"), empty when nothing is recognised.
[[nodiscard]] std::string_view other_family_hint(const TensorTable& table);
[[nodiscard]] bool looks_like_lora(const TensorTable& table);

}  // namespace plimsoll::modelfile
