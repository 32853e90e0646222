// SPDX-License-Identifier: Apache-2.0
//
// What text encoders other than CLIP share: the call, the wrapper that embeds prompts one by one,
// embeddings, masks.
#pragma once
#include "memory/networks/layers.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct DecoderOutput;  // decoder.h

struct TextCall {
    int batch = 1;
    int tokens = 77;  // of every prompt, padding included
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
    // What a language model hands on, where it is not the network's usual; outlives the call.
    const DecoderOutput* output = nullptr;
};

// Writing text: one forward over the prompt that fills a cache of keys and values, then one for
// each word.
struct GenerateCall {
    int batch = 1;  // 2: with a negative prompt, whose scores guide the choice
    int prompt_tokens = 1;
    int new_tokens = 256;  // at most: as many have room in the cache
    bool masked = false;   // padding of the prompts is
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::BFloat16;
    ForwardRules rules = {};
};
// One forward of it: `past` tokens are in the cache, `tokens` come in.
struct GenerateStep {
    int past = 0;
    int tokens = 1;
};

class TextNetwork : public RegisteredNetwork {
  public:
    // Token lists in; out comes everything that is alive when the call returns.
    [[nodiscard]] virtual std::vector<Tensor> encode(Tape& tape, const TextCall& call) const = 0;
    // Whether it writes text; then a forward of that, the next word's choice included.
    [[nodiscard]] virtual bool writes() const { return false; }
    virtual void write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const;
    // Of its wrapper, which no file holds.
    [[nodiscard]] std::int64_t wrapper_params() const { return wrapper_params_; }

  protected:
    // The wrapper has one parameter of its own, CLIP's logit_scale, whatever it wraps.
    explicit TextNetwork(std::string_view class_name);
    TextNetwork();  // without a wrapper: works on what another one made

    Module root_;

  private:
    std::int64_t wrapper_params_ = 0;
};
[[nodiscard]] Walk simulate_text_encode(const TextNetwork& network, const TextCall& call);

// A forward of writing text. The network must write.
[[nodiscard]] Walk simulate_text_generate(const TextNetwork& network, const GenerateCall& call,
                                          const GenerateStep& step);

// The type that a module's parameters are stored in.
[[nodiscard]] ghost::ElementType stored_type(const Tape& tape, ModuleStorage storage);

class Embedding {
  public:
    Embedding(Registry& registry, Module path, std::int64_t rows, std::int64_t width,
              ModuleStorage storage = ModuleStorage::AsNetwork);
    // `ids` with one more dimension, in compute type.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& ids) const;

  private:
    Module path_;
    std::int64_t rows_;
    std::int64_t width_;
    ModuleStorage storage_;
};

// torch.tensor(list, device=...): whole numbers, copied to the card.
[[nodiscard]] Tensor token_tensor(Tape& tape, Module module, const Shape& shape);

// The prompts' embeddings and the tensor that says which tokens are padding.
struct EmbeddedPrompts {
    Tensor embeds;  // [batch, tokens, width]
    Tensor attention_mask;
};
[[nodiscard]] EmbeddedPrompts embed_prompts(Tape& tape, Module wrapper, const Embedding& table,
                                            const TextCall& call);

// What is added to attention scores so that padding has no weight, [batch, 1, tokens, tokens].
[[nodiscard]] Tensor padding_mask(Tape& tape, Module module, const Tensor& attention_mask,
                                  ghost::ElementType type);

}  // namespace plimsoll::memory
