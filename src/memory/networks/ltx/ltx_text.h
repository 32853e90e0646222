// SPDX-License-Identifier: Apache-2.0
//
// What LTX-2 does with Gemma's hidden states before they are a condition: a layer that makes one
// token of all states of a token, and, of the first LTX-2, connectors behind it. `tokens` of the
// call are the prompt's own: ComfyUI cuts Gemma's padding off.
#pragma once
#include "memory/networks/ltx/ltx_connector.h"
#include "memory/networks/text/text_encoder.h"
#include "modelfile/networks/ltx_text_config.h"

#include <memory>
#include <optional>

namespace plimsoll::memory {

class LtxTextProjection final : public TextNetwork {
  public:
    explicit LtxTextProjection(const modelfile::LtxTextProjectionConfig& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;

  private:
    // All states of a token in one row, brought to one range. LTX-2's way, then LTX-2.3's.
    [[nodiscard]] Tensor stretch(Tape& tape, const Tensor& states) const;
    [[nodiscard]] Tensor normalise(Tape& tape, const Tensor& states) const;
    [[nodiscard]] Tensor project_scaled(Tape& tape, const Linear& layer, const Tensor& rows) const;

    modelfile::LtxTextProjectionConfig config_;
    std::optional<Linear> audio_;
    std::optional<Linear> video_;
};

class LtxTextConnector final : public TextNetwork {
  public:
    explicit LtxTextConnector(const modelfile::LtxTextConnectorConfig& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;

  private:
    LtxConnector audio_;
    LtxConnector video_;
};

// Fail with InvalidInput where the numbers are out of all bounds.
[[nodiscard]] Result<std::shared_ptr<const TextNetwork>> build_ltx_text_projection(
    const modelfile::LtxTextProjectionConfig& config);
[[nodiscard]] Result<std::shared_ptr<const TextNetwork>> build_ltx_text_connector(
    const modelfile::LtxTextConnectorConfig& config);

}  // namespace plimsoll::memory
