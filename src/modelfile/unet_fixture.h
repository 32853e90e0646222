// SPDX-License-Identifier: Apache-2.0
//
// Test fixture: the tensors of a UNet in the LDM layout from its published constructor arguments,
// and the same network under diffusers' names. Only what tells variants apart is written:
// convolutions, embeddings, cross-attention and projections.
#pragma once
#include "modelfile/sparse_file.h"

#include <fmt/format.h>

#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct UnetPlan {
    int in_channels = 4;
    int channels = 320;
    std::vector<int> mult = {1, 2, 4};
    int blocks = 2;
    std::vector<int> depth;         // per encoder ResBlock
    std::vector<int> depth_output;  // per decoder ResBlock, first block first
    int middle = 1;                 // -1: a ResBlock alone, -2: none
    int context = 2048;
    int adm = 2816;
    bool is_linear = true;
};

class UnetWriter {
  public:
    static TensorTable ldm(const UnetPlan& plan) { return UnetWriter(plan, Layout::Ldm).write(); }
    static TensorTable diffusers(const UnetPlan& plan) {
        return UnetWriter(plan, Layout::Diffusers).write();
    }

  private:
    enum class Layout : bool { Ldm, Diffusers };
    UnetWriter(const UnetPlan& plan, Layout layout) : plan_(plan), is_ldm_(layout == Layout::Ldm) {}

    void put(const std::string& name, Shape shape) {
        add_tensor(table_, name, DType::Float16, std::move(shape));
    }

    void res_block(const std::string& name, std::int64_t channels) {
        put(name + (is_ldm_ ? "in_layers.0.weight" : "norm1.weight"), {channels});
        put(name + (is_ldm_ ? "in_layers.2.weight" : "conv1.weight"), {channels, channels, 3, 3});
        put(name + (is_ldm_ ? "out_layers.3.weight" : "conv2.weight"), {channels, channels, 3, 3});
    }
    void attention(const std::string& name, std::int64_t channels, int depth) {
        if (depth <= 0) return;
        put(name + "proj_in.weight",
            plan_.is_linear ? Shape{channels, channels} : Shape{channels, channels, 1, 1});
        for (int k = 0; k < depth; ++k)
            put(fmt::format("{}transformer_blocks.{}.attn2.to_k.weight", name, k),
                {channels, plan_.context});
    }
    void pair(const std::string& ldm_block, const std::string& level, int j, std::int64_t channels,
              int depth) {
        res_block(is_ldm_ ? ldm_block + "0." : fmt::format("{}resnets.{}.", level, j), channels);
        attention(is_ldm_ ? ldm_block + "1." : fmt::format("{}attentions.{}.", level, j), channels,
                  depth);
    }

    TensorTable write() {
        const std::int64_t base = plan_.channels;
        put(is_ldm_ ? "input_blocks.0.0.weight" : "conv_in.weight",
            {base, plan_.in_channels, 3, 3});
        put(is_ldm_ ? "out.2.weight" : "conv_out.weight", {4, base, 3, 3});
        if (plan_.adm > 0)
            put(is_ldm_ ? "label_emb.0.0.weight" : "add_embedding.linear_1.weight",
                {base * 4, plan_.adm});
        const int levels = static_cast<int>(plan_.mult.size());
        int n = 1;
        std::size_t at = 0;
        for (int i = 0; i < levels; ++i) {
            const std::string level = fmt::format("down_blocks.{}.", i);
            const std::int64_t channels = base * plan_.mult[static_cast<std::size_t>(i)];
            for (int j = 0; j < plan_.blocks; ++j)
                pair(fmt::format("input_blocks.{}.", n++), level, j, channels, plan_.depth[at++]);
            if (i + 1 < levels)
                put(is_ldm_ ? fmt::format("input_blocks.{}.0.op.weight", n++)
                            : level + "downsamplers.0.conv.weight",
                    {channels, channels, 3, 3});
        }
        const std::int64_t deep = base * plan_.mult.back();
        if (plan_.middle >= -1)
            res_block(is_ldm_ ? "middle_block.0." : "mid_block.resnets.0.", deep);
        attention(is_ldm_ ? "middle_block.1." : "mid_block.attentions.0.", deep, plan_.middle);
        int out = 0;
        for (int i = 0; i < levels; ++i)
            for (int j = 0; j <= plan_.blocks; ++j) {
                const std::int64_t channels =
                    base * plan_.mult[static_cast<std::size_t>(levels - 1 - i)];
                pair(fmt::format("output_blocks.{}.", out), fmt::format("up_blocks.{}.", i), j,
                     channels, plan_.depth_output[static_cast<std::size_t>(out)]);
                ++out;
            }
        table_.index();
        return table_;
    }

    UnetPlan plan_;
    bool is_ldm_;
    TensorTable table_;
};

}  // namespace plimsoll::modelfile
