// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/text_encoder.h"

#include "base/check.h"
#include "memory/networks/calls.h"

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

TextNetwork::TextNetwork(std::string_view class_name)
    : root_(registry_.path("", "")), wrapper_params_(1) {
    registry_.add_own_parameters(root_, class_name, wrapper_params_, ModuleStorage::Float32);
}

TextNetwork::TextNetwork() : root_(registry_.path("", "")) {}

Walk simulate_text_encode(const TextNetwork& network, const TextCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::vector<Tensor> results = network.encode(tape, call);
    return finish_walk(tape, network, call.storage, call.rules);
}

void TextNetwork::write(Tape& /*tape*/, const GenerateCall& /*call*/,
                        const GenerateStep& /*step*/) const {
    CHECK(writes());  // of a network that does, this is another function
}

Walk simulate_text_generate(const TextNetwork& network, const GenerateCall& call,
                            const GenerateStep& step) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    network.write(tape, call, step);
    return finish_walk(tape, network, call.storage, call.rules);
}

ElementType stored_type(const Tape& tape, ModuleStorage storage) {
    switch (storage) {
        case ModuleStorage::Float32:
            return ElementType::Float32;
        case ModuleStorage::Float16:
            return ElementType::Float16;
        case ModuleStorage::Int8:
            return ElementType::Opaque;  // of one byte too
        case ModuleStorage::Int64:
            return ElementType::Int64;
        case ModuleStorage::AsNetwork:
            break;
    }
    return tape.options().storage;
}

Embedding::Embedding(Registry& registry, Module path, std::int64_t rows, std::int64_t width,
                     ModuleStorage storage)
    : path_(path), rows_(rows), width_(width), storage_(storage) {
    registry.add(path, "Embedding", rows * width, storage);
}

Tensor Embedding::forward(Tape& tape, const Tensor& ids) const {
    const ElementType stored = stored_type(tape, storage_);
    // Rows are looked up in 16-bit types and widened; other types' whole table is.
    const bool looked_up_as_stored =
        stored == ElementType::Float16 || stored == ElementType::BFloat16;
    const ElementType type = looked_up_as_stored ? stored : tape.compute();
    const Tape::Cast table =
        looked_up_as_stored ? Tape::Cast{} : tape.cast_weight({rows_, width_}, path_);
    const Shape& s = ids.shape();
    Tensor rows = tape.make({s[0], s[1], width_}, type, "embedding", path_);
    tape.charge(OpClass::Copy, "embedding", path_, 0,
                ids.bytes() + rows_ * width_ * element_bytes(type) + rows.bytes());
    return ghost::to_type(tape, path_, rows, tape.compute());
}

Tensor token_tensor(Tape& tape, Module module, const Shape& shape) {
    Tensor ids = tape.make(shape, ElementType::Int64, "detach_", module);
    tape.charge(OpClass::Copy, "detach_", module, 0, 2 * ids.bytes());
    return ids;
}

EmbeddedPrompts embed_prompts(Tape& tape, Module wrapper, const Embedding& table,
                              const TextCall& call) {
    EmbeddedPrompts embedded;
    std::vector<Tensor> prompts;
    prompts.reserve(static_cast<std::size_t>(call.batch));
    for (int i = 0; i < call.batch; ++i) {
        const Tensor ids = token_tensor(tape, wrapper, {1, call.tokens});
        prompts.push_back(table.forward(tape, ids));
    }
    embedded.embeds = ghost::cat(tape, wrapper, prompts, 0);
    embedded.attention_mask = token_tensor(tape, wrapper, {call.batch, call.tokens});
    return embedded;
}

Tensor padding_mask(Tape& tape, Module module, const Tensor& attention_mask, ElementType type) {
    const std::int64_t batch = attention_mask.shape()[0];
    const std::int64_t tokens = attention_mask.shape()[1];
    const Shape square{batch, 1, tokens, tokens};
    const Tensor inverse = [&] {
        const Tensor wide = ghost::to_type(tape, module, attention_mask, type);
        return ghost::produce(tape, OpClass::Elementwise, "rsub", module, wide, square, type);
    }();
    const Tensor hidden = ghost::to_type(tape, module, inverse, ElementType::Bool);
    return ghost::binary(tape, "masked_fill", module, inverse, hidden);
}

}  // namespace plimsoll::memory
