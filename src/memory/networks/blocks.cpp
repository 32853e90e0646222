// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/blocks.h"

namespace plimsoll::memory {

using namespace std::string_view_literals;

ResBlock::ResBlock(Registry& r, std::string_view path, const ResBlockShape& shape)
    : path_(r.path(path, "")),
      in_norm_(r, r.path(path, "in_layers.0"), shape.in),
      in_act_(r.path(path, "in_layers.1")),
      in_conv_(r, r.path(path, "in_layers.2"), shape.in, shape.out),
      emb_act_(r.path(path, "emb_layers.0")),
      emb_proj_(r, r.path(path, "emb_layers.1"), shape.embedding, shape.out),
      out_norm_(r, r.path(path, "out_layers.0"), shape.out),
      out_act_(r.path(path, "out_layers.1")),
      out_conv_(r, r.path(path, "out_layers.3"), shape.out, shape.out) {
    if (shape.in != shape.out)
        skip_.emplace(r, r.path(path, "skip_connection"), shape.in, shape.out, kConv1);
}

Tensor ResBlock::forward(Tape& tape, const Tensor& x, const Tensor& embedding) const {
    Tensor h;
    {
        Tensor hidden = in_norm_.forward(tape, x);
        hidden = ghost::unary(tape, "silu", in_act_, hidden);
        h = in_conv_.forward(tape, hidden);
    }
    const Tensor emb_out = emb_proj_.forward(tape, ghost::unary(tape, "silu", emb_act_, embedding));
    h = ghost::binary(tape, "add", path_, h, emb_out);
    {
        Tensor hidden = out_norm_.forward(tape, h);
        hidden = ghost::unary(tape, "silu", out_act_, hidden);
        hidden = out_conv_.forward(tape, hidden);
        h = std::move(hidden);
    }
    const Tensor skip = skip_ ? skip_->forward(tape, x) : x;
    return ghost::binary(tape, "add", path_, skip, h);
}

CrossAttention::CrossAttention(Registry& r, std::string_view path, const AttentionWidth& width,
                               std::int64_t context)
    : path_(r.path(path, "")),
      heads_(width.heads),
      head_dim_(width.head_dim),
      to_q_(r, r.path(path, "to_q"), width.channels, width.heads * width.head_dim, Bias::No),
      to_k_(r, r.path(path, "to_k"), context, width.heads * width.head_dim, Bias::No),
      to_v_(r, r.path(path, "to_v"), context, width.heads * width.head_dim, Bias::No),
      to_out_(r, r.path(path, "to_out.0"), width.heads * width.head_dim, width.channels) {}

Tensor CrossAttention::forward(Tape& tape, const Tensor& x, const Tensor& context) const {
    const Tensor q = to_q_.forward(tape, x);
    const Tensor k = to_k_.forward(tape, context);
    const Tensor v = to_v_.forward(tape, context);
    const ghost::AttentionShape shape{.batch = x.shape()[0],
                                      .heads = heads_,
                                      .queries = x.shape()[1],
                                      .keys = context.shape()[1],
                                      .head_dim = head_dim_};
    const Tensor out = ghost::attention(tape, path_, q, k, v, shape).view(q.shape());
    return to_out_.forward(tape, out);
}

FeedForward::FeedForward(Registry& r, std::string_view path, std::int64_t width)
    : geglu_(r.path(path, "net.0")),
      proj_(r, r.path(path, "net.0.proj"), width,
            8 * width),  // twice the hidden width of 4: value and gate
      out_(r, r.path(path, "net.2"), 4 * width, width) {}

Tensor FeedForward::forward(Tape& tape, const Tensor& x) const {
    Tensor hidden;
    {
        const Tensor both = proj_.forward(tape, x);
        const Tensor half = both.view({both.shape()[0], both.shape()[1], both.shape()[2] / 2});
        const Tensor gate = ghost::unary(tape, "gelu", geglu_, half);
        hidden = ghost::binary(tape, "mul", geglu_, half, gate);
    }
    return out_.forward(tape, hidden);
}

TransformerBlock::TransformerBlock(Registry& r, std::string_view path, const AttentionWidth& width)
    : path_(r.path(path, "")),
      attn1_(r, *r.path(path, "attn1"), width, width.channels),
      ff_(r, *r.path(path, "ff"), width.channels),
      attn2_(r, *r.path(path, "attn2"), width, width.context),
      norm2_(r, r.path(path, "norm2"), width.channels),
      norm1_(r, r.path(path, "norm1"), width.channels),
      norm3_(r, r.path(path, "norm3"), width.channels) {}

Tensor TransformerBlock::forward(Tape& tape, Tensor x, const Tensor& context) const {
    // `n` keeps the last attention's result until the block returns.
    Tensor n = norm1_.forward(tape, x);
    n = attn1_.forward(tape, n, n);
    x = ghost::binary(tape, "add", path_, x, n);
    n = norm2_.forward(tape, x);
    n = attn2_.forward(tape, n, context);
    x = ghost::binary(tape, "add", path_, x, n);
    const Tensor skip = x;
    x = ff_.forward(tape, norm3_.forward(tape, x));
    x = ghost::binary(tape, "add", path_, skip, x);
    return x;
}

SpatialTransformer::Project SpatialTransformer::make_projection(Registry& r, Module path,
                                                                std::int64_t from, std::int64_t to,
                                                                Projection projection) {
    if (projection == Projection::Conv) return Conv2d(r, path, from, to, kConv1);
    return Linear(r, path, from, to);
}

SpatialTransformer::SpatialTransformer(Registry& r, std::string_view path,
                                       const AttentionWidth& width, int depth,
                                       Projection projection)
    : path_(r.path(path, "")),
      norm_(r, r.path(path, "norm"), width.channels),
      proj_in_(make_projection(r, r.path(path, "proj_in"), width.channels,
                               width.heads * width.head_dim, projection)),
      blocks_([&] {
          std::vector<TransformerBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(depth));
          for (int i = 0; i < depth; ++i) {
              const Module block = r.path(path, "transformer_blocks." + std::to_string(i));
              blocks.emplace_back(r, *block, width);
          }
          return blocks;
      }()),
      proj_out_(make_projection(r, r.path(path, "proj_out"), width.heads * width.head_dim,
                                width.channels, projection)) {}

Tensor SpatialTransformer::forward(Tape& tape, const Tensor& input, const Tensor& context) const {
    const Shape image = input.shape();
    const std::int64_t tokens = image[2] * image[3];
    Tensor x = norm_.forward(tape, input);
    if (const auto* conv = std::get_if<Conv2d>(&proj_in_)) x = conv->forward(tape, x);
    x = ghost::clone(tape, path_, x, {image[0], tokens, x.shape()[1]});
    if (const auto* linear = std::get_if<Linear>(&proj_in_)) x = linear->forward(tape, x);
    for (const TransformerBlock& block : blocks_) x = block.forward(tape, x, context);
    if (const auto* linear = std::get_if<Linear>(&proj_out_)) x = linear->forward(tape, x);
    x = ghost::clone(tape, path_, x, {image[0], x.shape()[2], image[2], image[3]});
    if (const auto* conv = std::get_if<Conv2d>(&proj_out_)) x = conv->forward(tape, x);
    return ghost::binary(tape, "add", path_, x, input);
}

Downsample::Downsample(Registry& r, std::string_view path, std::int64_t channels)
    : op_(r, r.path(path, "op"), channels, channels, ConvShape{3, 2, 1}) {}

Upsample::Upsample(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")), conv_(r, r.path(path, "conv"), channels, channels) {}

Tensor Upsample::forward(Tape& tape, const Tensor& x, std::int64_t height,
                         std::int64_t width) const {
    const Tensor larger = ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d", path_, x,
                                         {x.shape()[0], x.shape()[1], height, width}, x.type());
    return conv_.forward(tape, larger);
}

namespace {
struct ForwardPart {
    Tape& tape;
    const Tensor& x;
    const BlockInputs& inputs;

    Tensor operator()(const Conv2d& conv) const { return conv.forward(tape, x); }
    Tensor operator()(const ResBlock& block) const {
        return block.forward(tape, x, inputs.embedding);
    }
    Tensor operator()(const SpatialTransformer& block) const {
        return block.forward(tape, x, inputs.context);
    }
    Tensor operator()(const VideoResBlock& block) const {
        return block.forward(tape, x, inputs.embedding, inputs.frames);
    }
    Tensor operator()(const VideoTransformer& block) const {
        return block.forward(tape, x, inputs.context, inputs.frames);
    }
    Tensor operator()(const Downsample& block) const { return block.forward(tape, x); }
    Tensor operator()(const Upsample& block) const {
        const bool given = inputs.output_height != 0;
        return block.forward(tape, x, given ? inputs.output_height : 2 * x.shape()[2],
                             given ? inputs.output_width : 2 * x.shape()[3]);
    }
};
}  // namespace

Tensor forward_sequence(Tape& tape, const BlockSequence& parts, const Tensor& h,
                        const BlockInputs& inputs) {
    Tensor x = h;
    for (const BlockPart& part : parts) x = std::visit(ForwardPart{tape, x, inputs}, part);
    return x;
}

}  // namespace plimsoll::memory
