// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/calls.h"

#include "memory/networks/clip_text.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/kl_vae.h"
#include "memory/networks/t2i_adapter.h"

#include <algorithm>

namespace plimsoll::memory {

using ghost::Block;
using ghost::ElementType;

ElementType element_type(ComputeType type) {
    if (type == ComputeType::Int8) return ElementType::Opaque;  // of one byte too
    return static_cast<ElementType>(type);
}

ghost::TapeOptions tape_options(ComputeType storage, ComputeType compute,
                                const ForwardRules& rules) {
    return {.storage = element_type(storage),
            .compute = element_type(compute),
            .casts_included = rules.accounting == Accounting::CastsIncluded,
            .efficient_attention = rules.efficient_attention,
            .fused_rms_norm = rules.fused_rms_norm,
            .fused_rope = rules.fused_rope,
            .comfyui = rules.comfyui_minor_key,
            .math_attention_in_vae = rules.math_attention_in_vae,
            .observer = rules.observer};
}

Walk finish_walk(ghost::Tape& tape, const Network& network, ComputeType storage,
                 const ForwardRules& rules) {
    constexpr std::size_t kTopLive = 8;
    ghost::Heap& heap = tape.heap();
    Walk walk;
    walk.weights = network.weights(storage);
    walk.params = network.params();
    walk.input = Bytes(heap.input_bytes());
    walk.peak = Bytes(heap.peak_bytes());
    walk.max_cast = Bytes(tape.max_cast_bytes());
    walk.costs = tape.costs();
    walk.peak_module = heap.peak_label().module_path();
    walk.peak_op = heap.peak_label().op;
    std::vector<Block> blocks = heap.blocks_at_peak();
    std::erase_if(blocks, [&](const Block& b) {
        return b.hidden || (b.input && rules.accounting == Accounting::CastsIncluded);
    });
    std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
        return a.bytes != b.bytes ? a.bytes > b.bytes : a.sequence < b.sequence;
    });
    if (blocks.size() > kTopLive) blocks.resize(kTopLive);
    walk.top_live.reserve(blocks.size());
    for (const Block& block : blocks) {
        walk.top_live.push_back({Bytes(block.bytes), block.shape.dims(),
                                 std::string(ghost::element_name(block.type)),
                                 std::string(block.label.op), block.label.module_path()});
    }
    return walk;
}

KeepMiddle keep_middle(const ForwardRules& rules) {
    constexpr int kKeepsMiddleSince = 33000;  // ComfyUI 0.33.0, traced; 0.3.64 does not
    return rules.comfyui_minor_key >= kKeepsMiddleSince ? KeepMiddle::Yes : KeepMiddle::No;
}

Walk simulate_vae_decode(const KlVaeNetwork& vae, const VaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input(vae.latent_shape(call.batch, call.height, call.width),
                                element_type(call.compute));
    const Tensor image = vae.decode(tape, z, keep_middle(call.rules));
    return finish_walk(tape, vae, call.storage, call.rules);
}

Walk simulate_vae_encode(const KlVaeNetwork& vae, const VaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, vae.config().in_channels, call.height, call.width},
                   element_type(call.compute));
    const Tensor latent = vae.encode(tape, pixels);
    return finish_walk(tape, vae, call.storage, call.rules);
}

Walk simulate_text_encode(const ClipNetwork& clip, const ClipCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::vector<Tensor> results = clip.encode(tape, call);
    return finish_walk(tape, clip, call.storage, call.rules);
}

Walk simulate_t2i_adapter(const T2iAdapterNetwork& adapter, const AdapterCall& call) {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const Tensor hint = tape.input({call.batch, adapter.hint_channels(), call.height, call.width},
                                   element_type(call.compute));
    const std::vector<Tensor> features = adapter.forward(tape, hint);
    return finish_walk(tape, adapter, call.compute, call.rules);
}

}  // namespace plimsoll::memory
