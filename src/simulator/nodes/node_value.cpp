// SPDX-License-Identifier: Apache-2.0
#include "simulator/nodes/node_value.h"

#include <fmt/format.h>

namespace plimsoll::simulator {

namespace {

struct Describer {
    Value operator()(const Value& value) const {
        // Numbers and text are shown as they are, all else through str().
        if (value.is_none() || value.number() || value.as_str() != nullptr) return value;
        return python_str(value);
    }
    Value operator()(const ModelValue&) const {
        return "<comfy.model_patcher.ModelPatcher object at 0x7f0000000010>";
    }
    Value operator()(const ClipValue&) const { return "<comfy.sd.CLIP object at 0x7f0000000020>"; }
    Value operator()(const VaeValue&) const { return "<comfy.sd.VAE object at 0x7f0000000030>"; }
    Value operator()(const ControlNetValue&) const {
        return "<comfy.controlnet.ControlNet object at 0x7f0000000040>";
    }
    Value operator()(const UpscaleModelValue&) const {
        return "<spandrel.__helpers.model_descriptor.ImageModelDescriptor object at "
               "0x7f0000000050>";
    }
    Value operator()(const Conditioning& value) const {
        return fmt::format("[[tensor(..., size=(1, {}, 768)), {{'pooled_output': ...}}]]",
                           value.all.empty() ? 77 : value.all.front().tokens);
    }
    Value operator()(const LatentValue& value) const {
        return fmt::format("{{'samples': tensor(..., size=({}, 4, {}, {}))}}", value.items.size(),
                           value.height, value.width);
    }
    Value operator()(const ImageValue& value) const {
        const int width = value.items.empty() ? 0 : value.items.front()->width;
        const int height = value.items.empty() ? 0 : value.items.front()->height;
        return fmt::format("tensor(..., size=({}, {}, {}, 3))", value.items.size(), height, width);
    }
    Value operator()(const MaskValue& value) const {
        return fmt::format("tensor(..., size=(1, {}, {}))", value.height, value.width);
    }
};

}  // namespace

Value describe(const NodeValue& value) {
    return std::visit(Describer{}, value);
}

}  // namespace plimsoll::simulator
