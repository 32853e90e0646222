// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/controlnet.h"

#include <fmt/format.h>

namespace plimsoll::memory {

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

ControlNetNetwork::ControlNetNetwork(const modelfile::ControlNetConfig& config)
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
    if (config.control_add_types > 0) register_union_transformer();
}

// The union network mixes several hints with one transformer layer of the UNet's width. It runs
// only where the caller names control types, which ComfyUI's plain "apply" node does not; its
// weights are there all the same.
void ControlNetNetwork::register_union_transformer() {
    const std::int64_t base = config_.encoder.model_channels;
    const auto linear = [&](std::string_view path, std::int64_t in, std::int64_t out) {
        (void)Linear(registry_, registry_.path(path, ""), in, out);
    };
    linear("transformer_layes.0.attn.in_proj", base, 3 * base);
    linear("transformer_layes.0.attn.out_proj", base, base);
    (void)LayerNorm(registry_, registry_.path("transformer_layes.0.ln_1", ""), base);
    linear("transformer_layes.0.mlp.c_fc", base, 4 * base);
    linear("transformer_layes.0.mlp.c_proj", 4 * base, base);
    (void)LayerNorm(registry_, registry_.path("transformer_layes.0.ln_2", ""), base);
    linear("spatial_ch_projs", base, base);
    control_add_root_ = registry_.path("control_add_embedding", "");
    control_add_1_.emplace(registry_, registry_.path("control_add_embedding", "linear_1"),
                           kControlTypeWidth * config_.control_add_types, 4 * base);
    control_add_2_.emplace(registry_, registry_.path("control_add_embedding", "linear_2"), 4 * base,
                           4 * base);
}

std::vector<ControlNetNetwork::Output> ControlNetNetwork::output_shapes(std::int64_t batch,
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

Tensor ControlNetNetwork::forward_hint(Tape& tape, const Tensor& hint) const {
    Tensor x = hint;
    for (std::size_t i = 0; i < hint_acts_.size(); ++i) {
        x = hint_convs_[i].forward(tape, x);
        x = ghost::unary(tape, "silu", hint_acts_[i], x);
    }
    return hint_convs_.back().forward(tape, x);
}

Tensor ControlNetNetwork::embed_control_types(Tape& tape, ElementType type) const {
    const Module module = control_add_root_;
    Tensor types =
        ghost::create(tape, "zeros", module, {config_.control_add_types}, ElementType::Float32);
    types = timestep_embedding(tape, module, types, kControlTypeWidth);
    types = ghost::to_type(tape, module, types, type);
    types = types.view({1, types.elements()});
    types = control_add_1_->forward(tape, types);
    types = ghost::unary(tape, "silu", module, types);
    return control_add_2_->forward(tape, types);
}

ControlTensors ControlNetNetwork::forward(Tape& tape, const ControlInputs& in) const {
    const Tensor t_emb = ghost::to_type(
        tape, root_, timestep_embedding(tape, root_, in.timesteps, config_.encoder.model_channels),
        in.x.type());
    Tensor emb = time_embed_->forward(tape, t_emb);
    if (control_add_1_) {
        ghost::binary_in_place(tape, "add_", root_, emb, embed_control_types(tape, emb.type()));
    }
    Tensor guided_hint = forward_hint(tape, in.hint);
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

}  // namespace plimsoll::memory
