// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vocoder.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

namespace {
constexpr std::int64_t kEnds = 7;  // width of the first and the last convolution
constexpr std::int64_t kStereo = 2;
}  // namespace

SampleConv::SampleConv(Registry& r, Module path, const Shape& s) : path_(path), shape_(s) {
    r.add(path, s.upsample > 0 ? "ConvTranspose1d" : "Conv1d", s.in * s.out * s.kernel + s.out);
}

Tensor SampleConv::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast bias = tape.cast_weight({shape_.out}, path_);
    const Tape::Cast weight = tape.cast_weight({shape_.out, shape_.in, shape_.kernel}, path_);
    const auto& s = x.shape();
    const std::int64_t length = s[2];
    const std::int64_t padding = (shape_.kernel - shape_.upsample) / 2;
    const std::int64_t out_length =
        shape_.upsample > 0 ? (length - 1) * shape_.upsample - 2 * padding + shape_.kernel : length;
    Tensor out = tape.make({s[0], shape_.out, out_length}, x.type(), "convolution", path_);
    const std::int64_t weights = shape_.in * shape_.out * shape_.kernel;
    const std::int64_t bias_traffic = tape.options().casts_included ? 2 * out.bytes() : 0;
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, s[0], length, weights}),
                x.bytes() + (weights + shape_.out) * ghost::element_bytes(x.type()) + out.bytes() +
                    bias_traffic,
                2);  // the bias is added by a kernel of its own
    return out;
}

LtxVocoder::LtxVocoder(Registry& r, std::string_view path, const modelfile::LtxVocoderConfig& c,
                       std::int64_t bins)
    : path_(r.path(path, "")),
      act_(r.path(path, "act_post")),
      conv_pre_(r, r.path(path, "conv_pre"),
                {.in = kStereo * bins, .out = c.upsample_initial_channel, .kernel = kEnds}) {
    const std::size_t kernels = c.resblock_kernel_sizes.size();
    std::int64_t width = c.upsample_initial_channel;
    stages_.reserve(c.upsample_rates.size());
    for (std::size_t i = 0; i < c.upsample_rates.size(); ++i, width /= 2)
        stages_.push_back({SampleConv(r, r.path(path, fmt::format("ups.{}", i)),
                                      {.in = width,
                                       .out = width / 2,
                                       .kernel = c.upsample_kernel_sizes[i],
                                       .upsample = c.upsample_rates[i]}),
                           {}});
    width = c.upsample_initial_channel;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        width /= 2;
        for (std::size_t j = 0; j < kernels; ++j) {
            const std::string name = fmt::format("{}.resblocks.{}", path, i * kernels + j);
            Block block{.path = r.path(name, ""), .dilated = {}, .plain = {}};
            const auto add = [&](std::string_view list, std::vector<SampleConv>& convs) {
                for (std::size_t k = 0; k < c.resblock_dilation_sizes[j].size(); ++k)
                    convs.emplace_back(
                        r, r.path(name, fmt::format("{}.{}", list, k)),
                        SampleConv::Shape{
                            .in = width, .out = width, .kernel = c.resblock_kernel_sizes[j]});
            };
            add("convs1", block.dilated);
            add("convs2", block.plain);
            stages_[i].blocks.push_back(std::move(block));
        }
    }
    conv_post_.emplace_back(r, r.path(path, "conv_post"),
                            SampleConv::Shape{.in = width, .out = kStereo, .kernel = kEnds});
}

Tensor LtxVocoder::forward_block(Tape& tape, const Block& block, const Tensor& given) const {
    Tensor x = given;
    Tensor h;  // lives on into the next turn
    for (std::size_t i = 0; i < block.dilated.size(); ++i) {
        h = ghost::unary(tape, "leaky_relu", block.path, x);
        h = block.dilated[i].forward(tape, h);
        h = ghost::unary(tape, "leaky_relu", block.path, h);
        h = block.plain[i].forward(tape, h);
        x = ghost::binary(tape, "add", block.path, h, x);
    }
    return x;
}

Tensor LtxVocoder::forward(Tape& tape, const Tensor& mel) const {
    const Shape& s = mel.shape();
    Tensor x = ghost::produce(tape, OpClass::Copy, "cat", path_, mel, {s[0], s[1] * s[3], s[2]},
                              mel.type());
    x = conv_pre_.forward(tape, x);
    Tensor sum;  // of the last stage, until the next one's first block is through
    for (const Stage& stage : stages_) {
        x = ghost::unary(tape, "leaky_relu", path_, x);
        x = stage.up.forward(tape, x);
        sum = {};
        for (const Block& block : stage.blocks) {
            const Tensor one = forward_block(tape, block, x);
            if (sum.defined())
                ghost::binary_in_place(tape, "add_", path_, sum, one);
            else
                sum = one;
        }
        x = ghost::unary(tape, "div", path_, sum);
    }
    x = ghost::unary(tape, "leaky_relu", act_, x);
    x = conv_post_.front().forward(tape, x);
    return ghost::unary(tape, "tanh", path_, x);
}

}  // namespace plimsoll::memory
