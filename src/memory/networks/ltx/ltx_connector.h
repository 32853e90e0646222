// SPDX-License-Identifier: Apache-2.0
//
// LTX-2's connector: blocks that attend to themselves between the text encoder and the transformer,
// with learned tokens behind the text's own.
#pragma once
#include "memory/networks/ltx/ltx_layers.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct LtxConnectorShape {
    std::int64_t heads = 30;
    std::int64_t head_dim = 128;
    int layers = 2;
    bool gated = false;
    bool split_rope = true;
};

class LtxConnector {
  public:
    LtxConnector(Registry& registry, std::string_view path, const LtxConnectorShape& shape);
    // `text`: [N, tokens, width]. Gives at least 1024 tokens.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& text) const;
    [[nodiscard]] std::int64_t width() const { return shape_.heads * shape_.head_dim; }

  private:
    struct Block {
        Module path;
        LtxAttention attention;
        LtxFeedForward ff;
    };
    [[nodiscard]] Tensor forward_block(Tape& tape, const Block& block, const Tensor& x,
                                       const LtxRope& rope) const;

    LtxConnectorShape shape_;
    Module path_;
    std::vector<Block> blocks_;
};

}  // namespace plimsoll::memory
