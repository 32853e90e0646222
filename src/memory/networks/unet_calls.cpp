// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI does around a UNet: model_base's apply_model, samplers' sampling_function and
// controlnet's get_control.
#include "memory/networks/calls.h"
#include "memory/networks/controlnet.h"

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::string_view kUnetScope = "diffusion_model";
constexpr std::int64_t kTrainingSteps =
    1000;  // entries of the sigma table of every discrete schedule

const std::string kNoModule;
Module no_module() {
    return &kNoModule;
}

// What the sampler holds for one forward: latents, sigma and conditions as ComfyUI keeps them,
// fp32.
struct SamplerTensors {
    Tensor x;
    Tensor sigma;
    Tensor context;
    Tensor y;         // undefined where the UNet takes none
    Tensor c_concat;  // further input channels (inpainting mask and latent, image to edit);
                      // undefined without
};

SamplerTensors sampler_inputs(Tape& tape, const UnetNetwork& unet, const UnetCall& call,
                              std::int64_t batch, std::int64_t cond_batch) {
    const modelfile::UnetConfig& config = unet.config();
    const ElementType f32 = ElementType::Float32;
    const std::int64_t latent = std::min(config.in_channels, config.out_channels);
    SamplerTensors in;
    in.x = tape.input({batch, latent, call.latent_height, call.latent_width}, f32);
    in.sigma = tape.input({batch}, f32);
    in.context = tape.input({cond_batch, call.tokens, config.context_dim}, f32);
    if (config.adm_in_channels > 0) in.y = tape.input({cond_batch, config.adm_in_channels}, f32);
    if (config.in_channels > latent) {
        in.c_concat = tape.input(
            {batch, config.in_channels - latent, call.latent_height, call.latent_width}, f32);
    }
    return in;
}

// (sigma^2 + sigma_data^2)^0.5 and the latents over it.
Tensor scale_input(Tape& tape, const Tensor& x, const Tensor& sigma) {
    const Module m = no_module();
    Tensor root = ghost::unary(tape, "pow", m, sigma);
    root = ghost::unary(tape, "add", m, root);
    root = ghost::unary(tape, "pow", m, root);
    return ghost::binary(tape, "div", m, x, root);
}

// The index of the nearest sigma of the table.
Tensor timestep_of(Tape& tape, const Tensor& sigma) {
    const Module m = no_module();
    const Tensor log_sigma = ghost::unary(tape, "log", m, sigma);
    const Tensor distances =
        tape.make({kTrainingSteps, sigma.elements()}, ElementType::Float32, "sub", m);
    tape.charge(OpClass::Elementwise, "sub", m, 0,
                log_sigma.bytes() + kTrainingSteps * element_bytes(ElementType::Float32) +
                    distances.bytes());
    return ghost::produce(tape, OpClass::Elementwise, "argmin", m,
                          ghost::unary(tape, "abs", m, distances), sigma.shape(),
                          ElementType::Int64);
}

// x - output * sigma; for v-prediction x * c^2 / (sigma^2 + c^2) - output * sigma * c / (sigma^2 +
// c^2)^0.5.
Tensor denoised(Tape& tape, const std::string& prediction, const Tensor& output, const Tensor& x,
                const Tensor& sigma) {
    const Module m = no_module();
    if (prediction != "v")
        return ghost::binary(tape, "sub", m, x, ghost::binary(tape, "mul", m, output, sigma));
    const auto squares = [&] {
        return ghost::unary(tape, "add", m, ghost::unary(tape, "pow", m, sigma));
    };
    Tensor kept = ghost::unary(tape, "mul", m, x);
    kept = ghost::binary(tape, "div", m, kept, squares());
    Tensor removed = ghost::binary(tape, "mul", m, output, sigma);
    removed = ghost::unary(tape, "mul", m, removed);
    removed = ghost::binary(tape, "div", m, removed, ghost::unary(tape, "pow", m, squares()));
    return ghost::binary(tape, "sub", m, kept, removed);
}

Tensor apply_model(Tape& tape, const UnetNetwork& unet, const SamplerTensors& in,
                   ControlTensors* control) {
    const Module m = no_module();
    const ElementType compute = tape.compute();
    Tensor xc = scale_input(tape, in.x, in.sigma);
    if (in.c_concat.defined()) {
        const std::array<Tensor, 2> parts = {std::move(xc), in.c_concat};
        xc = ghost::cat(tape, m, parts, 1);
    }
    xc = ghost::to_type(tape, m, xc, compute);
    const Tensor t = ghost::to_type(tape, m, timestep_of(tape, in.sigma), ElementType::Float32);
    const Tensor context = ghost::to_type(tape, m, in.context, compute);
    const Tensor y = in.y.defined() ? ghost::to_type(tape, m, in.y, compute) : Tensor();
    tape.set_scope(kUnetScope);
    Tensor output = unet.forward(tape, {xc, t, context, y, control});
    tape.set_scope({});
    output = ghost::to_type(tape, m, output, ElementType::Float32);
    return denoised(tape, unet.config().prediction, output, in.x, in.sigma);
}

Tensor hint_input(Tape& tape, const ControlNetNetwork& controlnet, const UnetCall& call,
                  std::int64_t batch) {
    constexpr std::int64_t kPixelsPerCell = 8;
    return tape.input({batch, controlnet.config().hint_channels,
                       call.latent_height * kPixelsPerCell, call.latent_width * kPixelsPerCell},
                      tape.compute());
}

// Control tensors of the shapes that `controlnet` makes, as inputs of the caller's.
ControlTensors control_inputs(Tape& tape, const ControlNetNetwork& controlnet, const UnetCall& call,
                              std::vector<Tensor>& held) {
    ControlTensors control;
    held.push_back(hint_input(tape, controlnet, call, call.batch));  // the ControlNet keeps it
    for (const ControlNetNetwork::Output& output :
         controlnet.output_shapes(call.batch, call.latent_height, call.latent_width)) {
        Tensor tensor = tape.input(output.shape, tape.compute());
        held.push_back(tensor);
        (output.middle ? control.middle : control.output).push_back(std::move(tensor));
    }
    return control;
}

Walk walk_forward(const UnetNetwork& unet, const UnetCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const modelfile::UnetConfig& config = unet.config();
    const ElementType compute = tape.compute();
    const Tensor x = tape.input(
        {call.batch, config.in_channels, call.latent_height, call.latent_width}, compute);
    const Tensor t = tape.input({call.batch}, ElementType::Float32);
    const Tensor context = tape.input({call.batch, call.tokens, config.context_dim}, compute);
    const Tensor y = config.adm_in_channels > 0
                         ? tape.input({call.batch, config.adm_in_channels}, compute)
                         : Tensor();
    std::vector<Tensor> held;
    ControlTensors control;
    if (call.controlnet != nullptr) control = control_inputs(tape, *call.controlnet, call, held);
    const Tensor output =
        unet.forward(tape, {x, t, context, y, call.controlnet != nullptr ? &control : nullptr});
    return finish_walk(tape, unet, call.storage, call.rules);
}

Walk walk_apply_model(const UnetNetwork& unet, const UnetCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const SamplerTensors in = sampler_inputs(tape, unet, call, call.batch, call.batch);
    std::vector<Tensor> held;
    ControlTensors control;
    if (call.controlnet != nullptr) control = control_inputs(tape, *call.controlnet, call, held);
    const Tensor result =
        apply_model(tape, unet, in, call.controlnet != nullptr ? &control : nullptr);
    return finish_walk(tape, unet, call.storage, call.rules);
}

// comfy.controlnet.ControlNet.get_control, the hint being on the card already.
ControlTensors get_control(Tape& tape, const ControlNetNetwork& controlnet,
                           const SamplerTensors& in, const Tensor& hint, int control_types) {
    const Module m = no_module();
    const ElementType compute = tape.compute();
    const Tensor y = in.y.defined() ? ghost::to_type(tape, m, in.y, compute) : Tensor();
    const Tensor t = timestep_of(tape, in.sigma);
    const Tensor x = scale_input(tape, in.x, in.sigma);
    const Tensor x_cast = ghost::to_type(tape, m, x, compute);
    const Tensor t_cast = ghost::to_type(tape, m, t, compute);
    const Tensor context = ghost::to_type(tape, m, in.context, compute);
    ControlTensors control =
        controlnet.forward(tape, {x_cast, hint, t_cast, context, y, control_types});
    for (const Tensor& tensor : control.middle)
        ghost::unary_in_place(tape, "mul_", m, tensor);  // strength
    for (const Tensor& tensor : control.output) ghost::unary_in_place(tape, "mul_", m, tensor);
    return control;
}

// Repeats a condition made for one image to a batch of images.
Tensor repeat_to_batch(Tape& tape, const Tensor& condition, std::int64_t batch) {
    if (!condition.defined() || condition.shape()[0] == batch) return condition;
    const Shape& s = condition.shape();
    const Shape repeated = s.rank() == 3 ? Shape{batch, s[1], s[2]} : Shape{batch, s[1]};
    return ghost::produce(tape, OpClass::Copy, "repeat", no_module(), condition, repeated,
                          condition.type());
}

// One condition as get_area_and_mult prepares it.
struct Chunk {
    Tensor mult;
    Tensor context;
    Tensor y;
};

// What calc_cond_batch keeps for a condition while the model runs.
struct Sums {
    Tensor out;
    Tensor count;
};

Tensor cat_chunks(Tape& tape, const std::vector<Tensor>& chunks) {
    if (!chunks.front().defined()) return {};
    return ghost::cat(tape, no_module(), chunks, 0);
}

// The conditions joined to one batch. The lists of chunks are rebound meanwhile; the loop's last
// chunk stays in a local variable of the Python function, so it is the caller's to keep.
SamplerTensors join_conditions(Tape& tape, const SamplerTensors& cond,
                               const std::vector<Chunk>& chunks) {
    const auto joined = [&](auto part_of) {
        std::vector<Tensor> parts;
        parts.reserve(chunks.size());
        for (const Chunk& chunk : chunks) parts.push_back(part_of(chunk));
        return cat_chunks(tape, parts);
    };
    SamplerTensors batch;
    batch.x = joined([&](const Chunk&) { return cond.x; });
    batch.context = joined([](const Chunk& chunk) { return chunk.context; });
    batch.y = joined([](const Chunk& chunk) { return chunk.y; });
    batch.c_concat = joined([&](const Chunk&) { return cond.c_concat; });
    batch.sigma = joined([&](const Chunk&) { return cond.sigma; });
    return batch;
}

// uncond + (cond - uncond) * scale.
Tensor guide(Tape& tape, const Tensor& cond, const Tensor& uncond) {
    const Module m = no_module();
    Tensor guided = ghost::binary(tape, "sub", m, cond, uncond);
    guided = ghost::unary(tape, "mul", m, guided);
    return ghost::binary(tape, "add", m, uncond, guided);
}

// sampling_function: the conditions in one forward, then combined. Without an uncond its sums are
// there all the same.
Walk walk_sampling_function(const UnetNetwork& unet, const UnetCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Module m = no_module();
    const std::size_t conds = call.conds == 2 && call.batch % 2 == 0 ? 2 : 1;
    const std::int64_t images = call.batch / static_cast<std::int64_t>(conds);
    const SamplerTensors cond = sampler_inputs(tape, unet, call, images, 1);
    const Tensor uncond_context = tape.input(cond.context.shape(), ElementType::Float32);
    const Tensor uncond_y =
        cond.y.defined() ? tape.input(cond.y.shape(), ElementType::Float32) : Tensor();
    Tensor hint;
    if (call.controlnet != nullptr) hint = hint_input(tape, *call.controlnet, call, 1);

    std::array<Sums, 2> sums;
    std::vector<Chunk> chunks(conds);
    const auto ones = [&] {
        return ghost::unary(tape, "mul", m, ghost::create_like(tape, "ones_like", m, cond.x));
    };
    for (std::size_t i = 0; i < sums.size(); ++i) {
        sums[i].out = ghost::create_like(tape, "zeros_like", m, cond.x);
        sums[i].count = ones();
        if (i >= conds) continue;
        chunks[i].mult = ones();
        chunks[i].context = repeat_to_batch(tape, i == 0 ? cond.context : uncond_context, images);
        chunks[i].y = repeat_to_batch(tape, i == 0 ? cond.y : uncond_y, images);
    }
    const SamplerTensors batch = join_conditions(tape, cond, chunks);
    for (std::size_t i = 0; i + 1 < conds; ++i) {
        chunks[i].context = {};
        chunks[i].y = {};
    }
    ControlTensors control;
    if (call.controlnet != nullptr) {
        control = get_control(tape, *call.controlnet, batch, hint, call.control_types);
    }
    const Tensor output =
        apply_model(tape, unet, batch, call.controlnet != nullptr ? &control : nullptr);
    const Tensor part = output.view(cond.x.shape());
    for (std::size_t i = 0; i < conds; ++i) {
        ghost::binary_in_place(tape, "add_", m, sums[i].out,
                               ghost::binary(tape, "mul", m, part, chunks[i].mult));
        ghost::binary_in_place(tape, "add_", m, sums[i].count, chunks[i].mult);
    }
    for (const Sums& sum : sums) ghost::binary_in_place(tape, "div_", m, sum.out, sum.count);
    const Tensor guided = guide(tape, sums[0].out, sums[1].out);
    return finish_walk(tape, unet, call.storage, call.rules);
}

}  // namespace

Walk simulate_unet_step(const UnetNetwork& unet, const UnetCall& call) {
    switch (call.entry) {
        case UnetEntry::Forward:
            return walk_forward(unet, call);
        case UnetEntry::SamplingFunction:
            return walk_sampling_function(unet, call);
        case UnetEntry::ApplyModel:
            break;
    }
    return walk_apply_model(unet, call);
}

Walk simulate_controlnet(const ControlNetNetwork& controlnet, const UnetCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const modelfile::UnetConfig& config = controlnet.config().encoder;
    const ElementType f32 = ElementType::Float32;
    SamplerTensors in;
    in.x = tape.input({call.batch, config.in_channels, call.latent_height, call.latent_width}, f32);
    in.sigma = tape.input({call.batch}, f32);
    in.context = tape.input({call.batch, call.tokens, config.context_dim}, f32);
    if (config.adm_in_channels > 0) in.y = tape.input({call.batch, config.adm_in_channels}, f32);
    const Tensor hint = hint_input(tape, controlnet, call, call.batch);
    const ControlTensors control = get_control(tape, controlnet, in, hint, call.control_types);
    return finish_walk(tape, controlnet, call.storage, call.rules);
}

}  // namespace plimsoll::memory
