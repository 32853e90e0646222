// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI does around a denoiser: model_base's apply_model, samplers' sampling_function and
// controlnet's get_control.
#include "memory/networks/calls.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/model_patch.h"

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

// Which of the ControlNet's tensors serves a block.
const Tensor* serving(const std::vector<Tensor>& tensors, bool once, std::size_t block,
                      std::size_t blocks) {
    if (tensors.empty()) return nullptr;
    const std::size_t each = (blocks + tensors.size() - 1) / tensors.size();
    const std::size_t index = block / each;
    if (once && block % each != 0) return nullptr;
    return index < tensors.size() ? &tensors[index] : nullptr;
}

}  // namespace

void add_control(Tape& tape, Module module, const ControlTensors* control, std::size_t block,
                 std::size_t blocks, const Tensor& tokens) {
    if (control == nullptr) return;
    if (const Tensor* add = serving(control->output, control->once, block, blocks))
        ghost::binary_in_place(tape, "add_", module, tokens, *add);
}

void add_control_to_single(Tape& tape, Module module, const ControlTensors* control,
                           std::size_t block, std::size_t blocks, const Tensor& stream) {
    if (control == nullptr) return;
    if (const Tensor* add = serving(control->single, control->once, block, blocks))
        ghost::binary_in_place(tape, "add_", module, stream.view(add->shape()), *add);
}

namespace {

constexpr std::string_view kModelScope = "diffusion_model";
constexpr std::int64_t kTrainingSteps =
    1000;  // entries of the sigma table of every discrete schedule

const std::string kNoModule;
Module no_module() {
    return &kNoModule;
}

// Whether the network takes the latents as they are.
bool is_flow(Prediction prediction) {
    return prediction == Prediction::Flow || prediction == Prediction::FlowScaled;
}

// sigma / (sigma + 1).
Tensor cosmos_time(Tape& tape, const Tensor& sigma) {
    const Tensor more = ghost::unary(tape, "add", no_module(), sigma);
    return ghost::binary(tape, "div", no_module(), sigma, more);
}

// The latents as the network expects them: over (sigma^2 + sigma_data^2)^0.5; a flow's as they are,
// or times 1 - time.
Tensor scale_input(Tape& tape, Prediction prediction, const Tensor& x, const Tensor& sigma) {
    if (is_flow(prediction)) return x;
    const Module m = no_module();
    if (prediction == Prediction::FlowCosmos) {
        const Tensor time = cosmos_time(tape, sigma);
        const Tensor rest = ghost::unary(tape, "rsub", m, time);
        return ghost::binary(tape, "mul", m, x, rest);
    }
    Tensor root = ghost::unary(tape, "pow", m, sigma);
    root = ghost::unary(tape, "add", m, root);
    root = ghost::unary(tape, "pow", m, root);
    return ghost::binary(tape, "div", m, x, root);
}

// The index of the nearest sigma of the table; of a flow sigma itself, or a multiple of it.
Tensor timestep_of(Tape& tape, Prediction prediction, const Tensor& sigma) {
    const Module m = no_module();
    if (prediction == Prediction::Flow) return sigma;
    if (prediction == Prediction::FlowScaled) return ghost::unary(tape, "mul", m, sigma);
    if (prediction == Prediction::FlowCosmos) return cosmos_time(tape, sigma);
    const Tensor log_sigma = ghost::unary(tape, "log", m, sigma);
    if (prediction == Prediction::Edm) return ghost::unary(tape, "mul", m, log_sigma);
    const Tensor distances =
        tape.make({kTrainingSteps, sigma.elements()}, ElementType::Float32, "sub", m);
    tape.charge(OpClass::Elementwise, "sub", m, 0,
                log_sigma.bytes() + kTrainingSteps * element_bytes(ElementType::Float32) +
                    distances.bytes());
    return ghost::produce(tape, OpClass::Elementwise, "argmin", m,
                          ghost::unary(tape, "abs", m, distances), sigma.shape(),
                          ElementType::Int64);
}

// x - output * sigma; for Cosmos x * (1 - time) - output * time; for v-prediction x * c^2 /
// (sigma^2 + c^2) - output * sigma * c / (sigma^2 + c^2)^0.5.
Tensor denoised(Tape& tape, Prediction prediction, const Tensor& output, const Tensor& x,
                const Tensor& sigma) {
    const Module m = no_module();
    if (prediction == Prediction::FlowCosmos) {
        const Tensor time = cosmos_time(tape, sigma);
        const Tensor kept = [&] {
            const Tensor rest = ghost::unary(tape, "rsub", m, time);
            return ghost::binary(tape, "mul", m, x, rest);
        }();
        const Tensor removed = ghost::binary(tape, "mul", m, output, time);
        return ghost::binary(tape, "sub", m, kept, removed);
    }
    if (prediction != Prediction::V)
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

// Whole numbers (masks of tokens) stay what they are.
Tensor cast(Tape& tape, const Tensor& tensor, ElementType type) {
    if (tensor.defined() && tensor.type() == ElementType::Int64) return tensor;
    return tensor.defined() ? ghost::to_type(tape, no_module(), tensor, type) : Tensor();
}

// BaseModel._apply_model. `in` holds the sampler's fp32 tensors; its timesteps are sigmas.
Tensor apply_model(Tape& tape, const Denoiser& model, const StepInputs& in,
                   ControlTensors* control) {
    const Module m = no_module();
    const ElementType compute = tape.compute();
    const Prediction prediction = model.prediction();
    StepInputs inner;
    inner.control = control;
    inner.x = scale_input(tape, prediction, in.x, in.timesteps);
    if (in.concat.defined()) {
        const std::array<Tensor, 2> parts = {std::move(inner.x), in.concat};
        inner.x = ghost::cat(tape, m, parts, 1);
    }
    inner.x = ghost::to_type(tape, m, inner.x, compute);
    inner.timesteps =
        ghost::to_type(tape, m, timestep_of(tape, prediction, in.timesteps), ElementType::Float32);
    inner.context = cast(tape, in.context, compute);
    inner.y = cast(tape, in.y, compute);
    inner.guidance = cast(tape, in.guidance, compute);
    for (const Tensor& reference : in.references)
        inner.references.push_back(cast(tape, reference, compute));
    for (const Tensor& more : in.more) inner.more.push_back(cast(tape, more, compute));
    inner.schedule = in.schedule;
    inner.reference_method = in.reference_method;
    inner.patch = in.patch;
    inner.patch_hints = in.patch_hints;
    tape.set_scope(kModelScope);
    Tensor output = model.forward(tape, inner);
    tape.set_scope({});
    output = ghost::to_type(tape, m, output, ElementType::Float32);
    return denoised(tape, prediction, output, in.x, in.timesteps);
}

// Control tensors of the shapes that `controlnet` makes, as inputs of the caller's.
ControlTensors control_inputs(Tape& tape, const ControlNetNetwork& controlnet, const StepCall& call,
                              std::vector<Tensor>& held) {
    ControlTensors control;
    held.push_back(controlnet.make_hint(tape, call, call.batch));  // the ControlNet keeps it
    for (const ControlNetNetwork::Output& output :
         controlnet.output_shapes(call.batch, call.latent_height, call.latent_width)) {
        Tensor tensor = tape.input(output.shape, tape.compute());
        held.push_back(tensor);
        auto& into = output.middle   ? control.middle
                     : output.single ? control.single
                                     : control.output;
        into.push_back(std::move(tensor));
    }
    return control;
}

// What the walk is told that weights are stored in.
ComputeType stored_as(const Denoiser& model, const StepCall& call) {
    return model.casts_weights() ? call.storage : call.compute;
}

Walk walk_forward(const Denoiser& model, const StepCall& call) {
    Tape tape(tape_options(stored_as(model, call), call.compute, call.rules));
    StepInputs in = model.make_inputs(tape, {.call = call,
                                             .batch = call.batch,
                                             .cond_batch = call.batch,
                                             .type = tape.compute(),
                                             .joined = true});
    std::vector<Tensor> held;
    ControlTensors control;
    if (call.controlnet != nullptr) {
        control = control_inputs(tape, *call.controlnet, call, held);
        in.control = &control;
    }
    const Tensor output = model.forward(tape, in);
    return finish_walk(tape, model, call.storage, call.rules);
}

Walk walk_apply_model(const Denoiser& model, const StepCall& call) {
    Tape tape(tape_options(stored_as(model, call), call.compute, call.rules));
    const StepInputs in =
        model.make_inputs(tape, {.call = call, .batch = call.batch, .cond_batch = call.batch});
    std::vector<Tensor> held;
    ControlTensors control;
    if (call.controlnet != nullptr) control = control_inputs(tape, *call.controlnet, call, held);
    const Tensor result =
        apply_model(tape, model, in, call.controlnet != nullptr ? &control : nullptr);
    return finish_walk(tape, model, call.storage, call.rules);
}

// comfy.controlnet.ControlNet.get_control, the hint being on the card already.
ControlTensors get_control(Tape& tape, const ControlNetNetwork& controlnet, const StepInputs& in,
                           const Tensor& hint, int control_types) {
    const Module m = no_module();
    const ElementType compute = tape.compute();
    const Tensor y = cast(tape, in.y, compute);
    const Tensor guidance = cast(tape, in.guidance, compute);
    const Tensor t = timestep_of(tape, controlnet.prediction(), in.timesteps);
    const Tensor x = scale_input(tape, controlnet.prediction(), in.x, in.timesteps);
    const Tensor x_cast = ghost::to_type(tape, m, x, compute);
    const Tensor t_cast = ghost::to_type(tape, m, t, compute);
    const Tensor context = ghost::to_type(tape, m, in.context, compute);
    ControlTensors control =
        controlnet.forward(tape, {x_cast, hint, t_cast, context, y, guidance, control_types});
    for (const Tensor& tensor : control.middle)
        ghost::unary_in_place(tape, "mul_", m, tensor);  // strength
    for (const Tensor& tensor : control.output) ghost::unary_in_place(tape, "mul_", m, tensor);
    for (const Tensor& tensor : control.single) ghost::unary_in_place(tape, "mul_", m, tensor);
    return control;
}

// Repeats a condition made for one image to a batch of images.
Tensor repeat_to_batch(Tape& tape, const Tensor& condition, std::int64_t batch) {
    if (!condition.defined() || condition.shape()[0] == batch) return condition;
    return ghost::produce(tape, OpClass::Copy, "repeat", no_module(), condition,
                          condition.shape().with(0, batch), condition.type());
}

// One condition as get_area_and_mult prepares it.
struct Chunk {
    Tensor mult;
    StepInputs conditions;  // all but x and the timesteps, repeated to the batch
};

// What calc_cond_batch keeps for a condition while the model runs.
struct Sums {
    Tensor out;
    Tensor count;
};

// Every tensor that describes a condition, in the order in which ComfyUI joins them.
template <class Visit>
void each_condition(StepInputs& inputs, Visit visit) {
    visit(inputs.context);
    visit(inputs.y);
    visit(inputs.guidance);
    for (Tensor& reference : inputs.references) visit(reference);
    for (Tensor& more : inputs.more) visit(more);
    visit(inputs.concat);
}

StepInputs repeated(Tape& tape, const StepInputs& conditions, std::int64_t batch) {
    StepInputs repeated = conditions;
    repeated.x = {};
    repeated.timesteps = {};
    each_condition(repeated, [&](Tensor& t) { t = repeat_to_batch(tape, t, batch); });
    return repeated;
}

Tensor cat_chunks(Tape& tape, const std::vector<Tensor>& chunks) {
    if (!chunks.front().defined()) return {};
    return ghost::cat(tape, no_module(), chunks, 0);
}

// The conditions joined to one batch. The lists of chunks are rebound meanwhile; the loop's last
// chunk stays in a local variable of the Python function, so it is the caller's to keep.
StepInputs join_conditions(Tape& tape, const StepInputs& cond, std::vector<Chunk>& chunks) {
    const auto same = [&](const Tensor& tensor) {
        return cat_chunks(tape, std::vector<Tensor>(chunks.size(), tensor));
    };
    StepInputs batch = chunks.front().conditions;  // for its shape: every tensor is replaced
    batch.x = same(cond.x);
    std::size_t index = 0;
    each_condition(batch, [&](Tensor& joined) {
        std::vector<Tensor> parts;
        for (Chunk& chunk : chunks) {
            std::size_t at = 0;
            each_condition(chunk.conditions, [&](const Tensor& part) {
                if (at++ == index) parts.push_back(part);
            });
        }
        ++index;
        joined = {};
        joined = cat_chunks(tape, parts);
    });
    batch.timesteps = same(cond.timesteps);
    return batch;
}

// uncond + (cond - uncond) * scale.
Tensor guide(Tape& tape, const Tensor& cond, const Tensor& uncond) {
    const Module m = no_module();
    Tensor guided = ghost::binary(tape, "sub", m, cond, uncond);
    guided = ghost::unary(tape, "mul", m, guided);
    return ghost::binary(tape, "add", m, uncond, guided);
}

// The second condition's own tensors; what both share (further channels) is shared.
StepInputs other_conditions(Tape& tape, const StepInputs& cond) {
    StepInputs other = cond;
    const auto fresh = [&](Tensor& tensor) {
        if (tensor.defined()) tensor = tape.input(tensor.shape(), tensor.type());
    };
    fresh(other.context);
    fresh(other.y);
    fresh(other.guidance);
    for (Tensor& more : other.more) fresh(more);
    return other;
}

// sampling_function: the conditions in one forward, then combined. Without an uncond its sums are
// there all the same.
Walk walk_sampling_function(const Denoiser& model, const StepCall& call) {
    Tape tape(tape_options(stored_as(model, call), call.compute, call.rules));
    const Module m = no_module();
    const std::size_t conds =
        call.conds >= 1 && call.batch % call.conds == 0 ? static_cast<std::size_t>(call.conds) : 1;
    const std::int64_t images = call.batch / static_cast<std::int64_t>(conds);
    const StepInputs cond =
        model.make_inputs(tape, {.call = call, .batch = images, .cond_batch = 1});
    const StepInputs uncond = other_conditions(tape, cond);
    Tensor hint;
    if (call.controlnet != nullptr) hint = call.controlnet->make_hint(tape, call, 1);

    constexpr std::size_t kSumsMin = 2;  // cond and uncond are summed apart even where one runs
    std::vector<Sums> sums(std::max(kSumsMin, conds));
    std::vector<Chunk> chunks(conds);
    const auto ones = [&] {
        return ghost::unary(tape, "mul", m, ghost::create_like(tape, "ones_like", m, cond.x));
    };
    for (std::size_t i = 0; i < sums.size(); ++i) {
        sums[i].out = ghost::create_like(tape, "zeros_like", m, cond.x);
        sums[i].count = ones();
        if (i >= conds) continue;
        chunks[i].mult = ones();
        chunks[i].conditions = repeated(tape, i == 0 ? cond : uncond, images);
    }
    StepInputs batch = join_conditions(tape, cond, chunks);
    if (call.patch != nullptr) {
        batch.patch = call.patch;
        batch.patch_hints = call.patch->make_hints(tape, call);
    }
    for (std::size_t i = 0; i + 1 < conds; ++i) chunks[i].conditions = {};
    ControlTensors control;
    if (call.controlnet != nullptr)
        control = get_control(tape, *call.controlnet, batch, hint, call.control_types);
    const Tensor output =
        apply_model(tape, model, batch, call.controlnet != nullptr ? &control : nullptr);
    const Tensor part = output.view(cond.x.shape());
    for (std::size_t i = 0; i < conds; ++i) {
        ghost::binary_in_place(tape, "add_", m, sums[i].out,
                               ghost::binary(tape, "mul", m, part, chunks[i].mult));
        ghost::binary_in_place(tape, "add_", m, sums[i].count, chunks[i].mult);
    }
    for (const Sums& sum : sums) ghost::binary_in_place(tape, "div_", m, sum.out, sum.count);
    const Tensor guided = guide(tape, sums[0].out, sums[1].out);
    return finish_walk(tape, model, call.storage, call.rules);
}

}  // namespace

Walk simulate_step(const Denoiser& model, const StepCall& call) {
    switch (call.entry) {
        case StepEntry::Forward:
            return walk_forward(model, call);
        case StepEntry::SamplingFunction:
            return walk_sampling_function(model, call);
        case StepEntry::ApplyModel:
            break;
    }
    return walk_apply_model(model, call);
}

Walk simulate_controlnet(const ControlNetNetwork& controlnet, const StepCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const StepInputs in = controlnet.make_inputs(tape, call);
    const Tensor hint = controlnet.make_hint(tape, call, call.batch);
    const ControlTensors control = get_control(tape, controlnet, in, hint, call.control_types);
    return finish_walk(tape, controlnet, call.storage, call.rules);
}

}  // namespace plimsoll::memory
