// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/t2i_adapter.h"

#include <fmt/format.h>

namespace plimsoll::memory {

T2iAdapterNetwork::T2iAdapterNetwork(const modelfile::T2iAdapterConfig& config)
    : RegisteredNetwork(false), config_(config), unshuffle_path_(registry_.path("unshuffle", "")) {
    const ConvShape second{config.kernel_size, 1, config.kernel_size / 2};
    for (std::size_t level = 0; level < config.channels.size(); ++level) {
        const std::int64_t out = config.channels[level];
        for (int j = 0; j < config.num_res_blocks; ++j) {
            const std::string path = fmt::format("body.{}", bodies_.size());
            Body& body = bodies_.emplace_back();
            body.path = registry_.path(path, "");
            body.act = registry_.path(path, "act");
            const bool first = level > 0 && j == 0;
            // The XL adapter halves the resolution before its third level only, the others before
            // each but the first.
            body.pool = first && (!config.xl || level == 2) ? Pool::Yes : Pool::No;
            body.pool_path = registry_.path(path, "down_opt.op");
            const std::int64_t in = first ? config.channels[level - 1] : out;
            if (in != out) {
                body.in_conv.emplace(registry_, registry_.path(path, "in_conv"), in, out, second);
            }
            body.block1.emplace(registry_, registry_.path(path, "block1"), out, out);
            body.block2.emplace(registry_, registry_.path(path, "block2"), out, out, second);
        }
    }
    conv_in_.emplace(registry_, registry_.path("conv_in", ""), config.in_channels,
                     config.channels.front());
}

std::int64_t T2iAdapterNetwork::hint_channels() const {
    return config_.in_channels / (unshuffle() * unshuffle());
}

Tensor T2iAdapterNetwork::forward_body(Tape& tape, const Body& body, const Tensor& input) {
    Tensor x = input;
    if (body.pool == Pool::Yes) {
        const Shape& s = x.shape();
        x = ghost::produce(tape, OpClass::Elementwise, "avg_pool2d", body.pool_path, x,
                           {s[0], s[1], s[2] / 2, s[3] / 2}, x.type());
    }
    if (body.in_conv) x = body.in_conv->forward(tape, x);
    Tensor h = body.block1->forward(tape, x);
    h = ghost::unary(tape, "relu", body.act, h);
    h = body.block2->forward(tape, h);
    return ghost::binary(tape, "add", body.path, h, x);
}

std::vector<Tensor> T2iAdapterNetwork::forward(Tape& tape, const Tensor& hint) const {
    const Shape& s = hint.shape();
    const std::int64_t factor = unshuffle();
    Tensor x =
        ghost::produce(tape, OpClass::Copy, "pixel_unshuffle", unshuffle_path_, hint,
                       {s[0], s[1] * factor * factor, s[2] / factor, s[3] / factor}, hint.type());
    x = conv_in_->forward(tape, x);
    std::vector<Tensor> features;
    const std::size_t per_level = static_cast<std::size_t>(config_.num_res_blocks);
    for (std::size_t i = 0; i < bodies_.size(); ++i) {
        x = forward_body(tape, bodies_[i], x);
        if ((i + 1) % per_level == 0) features.push_back(x);
    }
    return features;
}

}  // namespace plimsoll::memory
