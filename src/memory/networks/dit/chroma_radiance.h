// SPDX-License-Identifier: Apache-2.0
//
// Chroma Radiance (2025): Chroma's blocks over patches of pixels, without a VAE. Each patch's token
// becomes the weights of small layers that run over the patch's pixels, tile by tile.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/chroma.h"
#include "modelfile/networks/chroma_radiance_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A gated feed-forward layer whose weights come of the patch's token.
class RadianceHeadBlock {
  public:
    RadianceHeadBlock(Registry& registry, std::string_view path,
                      const modelfile::ChromaRadianceConfig& config);
    // `x`: [patches, pixels, width]; `token`: [patches, width of the trunk].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& token) const;

  private:
    [[nodiscard]] Tensor normalised(Tape& tape, const Tensor& matrix) const;
    [[nodiscard]] Tensor multiply(Tape& tape, const Tensor& x, const Tensor& matrix) const;

    Module path_;
    std::int64_t width_;
    std::int64_t hidden_;
    Linear generator_;
    RmsNorm norm_;
};

class ChromaRadianceNetwork final : public Denoiser {
  public:
    explicit ChromaRadianceNetwork(const modelfile::ChromaRadianceConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_pixels(Tape& tape, const Tensor& pixels) const;
    [[nodiscard]] Tensor run_head(Tape& tape, const Tensor& pixels, const Tensor& tokens) const;
    [[nodiscard]] Tensor make_image(Tape& tape, const Tensor& image, const Tensor& tokens) const;

    modelfile::ChromaRadianceConfig config_;
    Registry unlisted_;  // takes what a layer stored in fp32 would write of itself
    Module root_;
    Conv2d img_in_;
    ChromaTrunk trunk_;
    Module embedder_path_;
    Linear embedder_;
    std::vector<RadianceHeadBlock> blocks_;
    RmsNorm final_norm_;
    Conv2d final_conv_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_chroma_radiance(
    const modelfile::ChromaRadianceConfig& config);

}  // namespace plimsoll::memory
