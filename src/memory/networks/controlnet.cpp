// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/controlnet.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {
// The hint's stem (ControlNet's paper, section 3.3): channels and strides of its convolutions; the
// last one has the width of the UNet.
struct HintLayer {
    std::int64_t out;
    std::int64_t stride;
};
constexpr std::array<HintLayer, 7> kHintLayers = {
    {{16, 1}, {16, 1}, {32, 2}, {32, 1}, {96, 2}, {96, 1}, {256, 2}}};
constexpr std::int64_t kControlTypeWidth = 256;  // sinusoids per control type of a union ControlNet
}  // namespace

UnionTransformer::UnionTransformer(Registry& r, std::int64_t width)
    : path_(r.path("transformer_layes.0", "")),  // spelt so in the published files
      attention_path_(r.path("transformer_layes.0.attn", "")),
      act_(r.path("transformer_layes.0.mlp.gelu", "")),
      in_proj_(r, r.path("transformer_layes.0.attn.in_proj", ""), width, 3 * width),
      out_proj_(r, r.path("transformer_layes.0.attn.out_proj", ""), width, width),
      norm1_(r, r.path("transformer_layes.0.ln_1", ""), width),
      fc_(r, r.path("transformer_layes.0.mlp.c_fc", ""), width, 4 * width),
      proj_(r, r.path("transformer_layes.0.mlp.c_proj", ""), 4 * width, width),
      norm2_(r, r.path("transformer_layes.0.ln_2", ""), width) {}

Tensor UnionTransformer::forward(Tape& tape, const Tensor& seq) const {
    constexpr std::int64_t kHeads = 8;  // of the published networks
    Tensor x = seq;
    {
        const Tensor qkv = in_proj_.forward(tape, norm1_.forward(tape, x));
        const Tensor part = qkv.view(x.shape());
        const ghost::AttentionShape shape{.batch = x.shape()[0],
                                          .heads = kHeads,
                                          .queries = x.shape()[1],
                                          .keys = x.shape()[1],
                                          .head_dim = x.shape()[2] / kHeads};
        Tensor mixed =
            ghost::attention(tape, attention_path_, part, part, part, shape).view(x.shape());
        mixed = out_proj_.forward(tape, mixed);
        x = ghost::binary(tape, "add", path_, x, mixed);
    }
    Tensor hidden = fc_.forward(tape, norm2_.forward(tape, x));
    const Tensor gate =
        ghost::unary(tape, "sigmoid", act_, ghost::unary(tape, "mul", act_, hidden));
    hidden = ghost::binary(tape, "mul", act_, hidden, gate);
    hidden = proj_.forward(tape, hidden);
    return ghost::binary(tape, "add", path_, x, hidden);
}

UnetControlNet::UnetControlNet(const modelfile::ControlNetConfig& config)
    : config_(config), root_(registry_.path("", "")) {
    const modelfile::UnetConfig& unet = config.encoder;
    const std::int64_t base = unet.model_channels;
    if (config.control_add_types > 0) {
        registry_.add_own_parameters(root_, "ControlNet", base * config.control_add_types,
                                     ModuleStorage::AsNetwork);
    }
    time_embed_.emplace(registry_, "time_embed", base, 4 * base);
    if (unet.adm_in_channels > 0)
        label_emb_.emplace(registry_, "label_emb.0", unet.adm_in_channels, 4 * base);
    encoder_ = build_encoder_half(registry_, unet);
    for (std::size_t i = 0; i < encoder_.channels.size(); ++i) {
        const std::int64_t width = encoder_.channels[i];
        zero_convs_.emplace_back(registry_, registry_.path(fmt::format("zero_convs.{}.0", i), ""),
                                 width, width, kConv1);
    }
    std::int64_t width = config.hint_channels;
    std::size_t index = 0;
    for (const HintLayer& layer : kHintLayers) {
        const Module path = registry_.path("input_hint_block", std::to_string(index));
        hint_convs_.emplace_back(registry_, path, width, layer.out, ConvShape{3, layer.stride, 1});
        hint_acts_.push_back(registry_.path("input_hint_block", std::to_string(index + 1)));
        width = layer.out;
        index += 2;
    }
    hint_convs_.emplace_back(registry_, registry_.path("input_hint_block", std::to_string(index)),
                             width, base);
    middle_ = build_middle_block(registry_, unet, encoder_.width);
    middle_out_.emplace(registry_, registry_.path("middle_block_out.0", ""), encoder_.width,
                        encoder_.width, kConv1);
    if (config.control_add_types == 0) return;
    union_transformer_.emplace(registry_, base);
    spatial_projection_.emplace(registry_, registry_.path("spatial_ch_projs", ""), base, base);
    control_add_root_ = registry_.path("control_add_embedding", "");
    control_add_1_.emplace(registry_, registry_.path("control_add_embedding", "linear_1"),
                           kControlTypeWidth * config.control_add_types, 4 * base);
    control_add_2_.emplace(registry_, registry_.path("control_add_embedding", "linear_2"), 4 * base,
                           4 * base);
}

std::vector<ControlNetNetwork::Output> UnetControlNet::output_shapes(std::int64_t batch,
                                                                     std::int64_t height,
                                                                     std::int64_t width) const {
    std::vector<Output> outputs;
    for (std::size_t i = 0; i < encoder_.channels.size(); ++i) {
        if (std::holds_alternative<Downsample>(encoder_.input_blocks[i].front())) {
            height = (height + 1) / 2;
            width = (width + 1) / 2;
        }
        outputs.push_back({{batch, encoder_.channels[i], height, width}, false});
    }
    outputs.push_back({{batch, encoder_.width, height, width}, true});
    return outputs;
}

Tensor UnetControlNet::forward_hint(Tape& tape, const Tensor& hint) const {
    Tensor x = hint;
    for (std::size_t i = 0; i < hint_acts_.size(); ++i) {
        x = hint_convs_[i].forward(tape, x);
        x = ghost::unary(tape, "silu", hint_acts_[i], x);
    }
    return hint_convs_.back().forward(tape, x);
}

// The hint's features plus a shift per channel that depends on the hint and its type.
Tensor UnetControlNet::weigh_hint(Tape& tape, const Tensor& hint) const {
    const Tensor features = forward_hint(tape, hint);
    const Shape& s = features.shape();
    const Tensor pooled = ghost::produce(tape, OpClass::Elementwise, "mean", root_, features,
                                         {s[0], s[1]}, features.type());
    tape.charge(OpClass::Elementwise, "add_", root_, 0,
                2 * pooled.bytes() + s[1] * element_bytes(pooled.type()));
    const std::array<Tensor, 1> inputs = {pooled.view({s[0], 1, s[1]})};
    Tensor x = ghost::cat(tape, root_, inputs, 1);
    x = union_transformer_->forward(tape, x);
    const Tensor shift = spatial_projection_->forward(tape, x.view({s[0], s[1]}));
    return ghost::binary(tape, "add", root_, features, shift);
}

Tensor UnetControlNet::embed_control_types(Tape& tape, ElementType type) const {
    const Module module = control_add_root_;
    Tensor types =
        ghost::create(tape, "zeros", module, {config_.control_add_types}, ElementType::Float32);
    const Tensor one = ghost::create(tape, "lift_fresh", module, {1}, ElementType::Float32);
    tape.charge(OpClass::Elementwise, "index_put_", module, 0,
                2 * types.bytes() + one.bytes() + element_bytes(ElementType::Int64));
    types = timestep_embedding(tape, module, types, kControlTypeWidth);
    types = ghost::to_type(tape, module, types, type);
    types = types.view({1, types.elements()});
    types = control_add_1_->forward(tape, types);
    types = ghost::unary(tape, "silu", module, types);
    return control_add_2_->forward(tape, types);
}

ControlTensors UnetControlNet::forward(Tape& tape, const ControlInputs& in) const {
    const Tensor t_emb = ghost::to_type(
        tape, root_, timestep_embedding(tape, root_, in.timesteps, config_.encoder.model_channels),
        in.x.type());
    Tensor emb = time_embed_->forward(tape, t_emb);
    if (control_add_1_) {
        ghost::binary_in_place(tape, "add_", root_, emb, embed_control_types(tape, emb.type()));
    }
    const bool weighed = union_transformer_.has_value() && in.control_types > 0;
    Tensor guided_hint = weighed ? weigh_hint(tape, in.hint) : forward_hint(tape, in.hint);
    if (label_emb_) emb = ghost::binary(tape, "add", root_, emb, label_emb_->forward(tape, in.y));

    ControlTensors control;
    control.output.reserve(zero_convs_.size());
    Tensor h = in.x;
    for (std::size_t i = 0; i < encoder_.input_blocks.size(); ++i) {
        h = forward_sequence(tape, encoder_.input_blocks[i], h, {emb, in.context});
        if (guided_hint.defined()) {
            ghost::binary_in_place(tape, "add_", root_, h, guided_hint);
            guided_hint = {};
        }
        control.output.push_back(zero_convs_[i].forward(tape, h));
    }
    if (!middle_.empty()) h = forward_sequence(tape, middle_, h, {emb, in.context});
    control.middle.push_back(middle_out_->forward(tape, h));
    return control;
}

StepInputs UnetControlNet::make_inputs(Tape& tape, const StepCall& call) const {
    const modelfile::UnetConfig& unet = config_.encoder;
    const ElementType f32 = ElementType::Float32;
    StepInputs in;
    in.x = tape.input({call.batch, unet.in_channels, call.latent_height, call.latent_width}, f32);
    in.timesteps = tape.input({call.batch}, f32);
    in.context = tape.input({call.batch, call.tokens, unet.context_dim}, f32);
    if (unet.adm_in_channels > 0) in.y = tape.input({call.batch, unet.adm_in_channels}, f32);
    return in;
}

Tensor UnetControlNet::make_hint(Tape& tape, const StepCall& call, std::int64_t batch) const {
    constexpr std::int64_t kPixelsPerCell = 8;
    return tape.input({batch, config_.hint_channels, call.latent_height * kPixelsPerCell,
                       call.latent_width * kPixelsPerCell},
                      tape.compute());
}

}  // namespace plimsoll::memory
