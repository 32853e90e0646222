// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/gemma4.h"

#include "memory/networks/limits.h"
#include "memory/networks/text/word_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr int kMillibitsMax = 32'000;  // of fp32

bool looks_at_all(const modelfile::Gemma4Config& c, int index) {
    return (index + 1) % c.full_attention_every == 0;
}

bool takes_keys(const modelfile::Gemma4Config& c, int index) {
    return index >= c.num_hidden_layers - c.num_kv_shared_layers;
}

bool takes_keys_for_values(const modelfile::Gemma4Config& c, int index) {
    return c.attention_k_eq_v && looks_at_all(c, index);
}

std::int64_t heads_of_keys(const modelfile::Gemma4Config& c, int index) {
    return takes_keys_for_values(c, index) && c.num_global_key_value_heads > 0
               ? c.num_global_key_value_heads
               : c.num_key_value_heads;
}

// Its feed-forward is Gemma's.
modelfile::DecoderConfig feed_forward(const modelfile::Gemma4Config& c, int index) {
    modelfile::DecoderConfig config;
    config.hidden_size = c.hidden_size;
    const bool wide = c.use_double_wide_mlp && takes_keys(c, index);
    config.intermediate_size = c.intermediate_size * (wide ? 2 : 1);
    config.transformer_type = "gemma2";
    return config;
}

// Linear layers that clip what comes in and goes out at four saved numbers.
class TowerWriter {
  public:
    TowerWriter(Registry& registry, std::string_view root) : registry_(registry), root_(root) {}

    void linear(std::string_view name, std::int64_t in, std::int64_t out, Bias bias = Bias::No) {
        registry_.add(path(name), "Linear", in * out + (bias == Bias::Yes ? out : 0));
    }
    void clipped(std::string_view name, std::int64_t in, std::int64_t out) {
        constexpr std::int64_t kBounds = 4;
        registry_.add_buffer(path(name), "ClippedLinear", kBounds, ModuleStorage::AsNetwork,
                             Saved::Yes);
        linear(fmt::format("{}.linear", name), in, out);
    }
    void norm(std::string_view name, std::int64_t width) {
        registry_.add_plain(path(name), "RMSNorm", width);
    }
    void table(std::string_view name, std::string_view class_name, std::int64_t elements) {
        registry_.add_own_parameters(path(name), class_name, elements, ModuleStorage::AsNetwork);
    }

  private:
    [[nodiscard]] Module path(std::string_view name) { return registry_.path(root_, name); }

    Registry& registry_;
    std::string root_;
};

// Published: 16 layers of 768 over patches of 16 x 16, 10,240 positions for either axis.
void register_eye(TowerWriter& w) {
    constexpr std::int64_t kWidth = 768;
    constexpr std::int64_t kInner = 3072;
    constexpr std::int64_t kHeadDim = 64;
    constexpr std::int64_t kPositions = 10240;
    constexpr int kLayers = 16;
    w.table("vision_model.patch_embedder", "Gemma4PatchEmbedder", 2 * kPositions * kWidth);
    w.linear("vision_model.patch_embedder.input_proj", std::int64_t{3 * 16 * 16}, kWidth);
    for (int i = 0; i < kLayers; ++i) {
        const std::string layer = fmt::format("vision_model.encoder.layers.{}.", i);
        for (const std::string_view name : {"q_proj", "k_proj", "v_proj", "o_proj"})
            w.clipped(fmt::format("{}self_attn.{}", layer, name), kWidth, kWidth);
        w.norm(layer + "self_attn.q_norm", kHeadDim);
        w.norm(layer + "self_attn.k_norm", kHeadDim);
        w.clipped(layer + "mlp.gate_proj", kWidth, kInner);
        w.clipped(layer + "mlp.up_proj", kWidth, kInner);
        w.clipped(layer + "mlp.down_proj", kInner, kWidth);
        for (const std::string_view name :
             {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
              "post_feedforward_layernorm"})
            w.norm(layer + std::string(name), kWidth);
    }
}

void register_feed_forward(TowerWriter& w, const std::string& path, std::int64_t width) {
    w.norm(path + ".pre_layer_norm", width);
    w.clipped(path + ".ffw_layer_1", width, 4 * width);
    w.clipped(path + ".ffw_layer_2", 4 * width, width);
    w.norm(path + ".post_layer_norm", width);
}

// Published: 12 conformer layers of 1024.
void register_ear(TowerWriter& w) {
    constexpr std::int64_t kWidth = 1024;
    constexpr std::int64_t kHeadDim = 128;
    constexpr std::int64_t kOut = 1536;
    constexpr int kLayers = 12;
    const std::string start = "audio_model.subsample_conv_projection.";
    w.table(start + "layer0.conv", "Conv2d", std::int64_t{128 * 9});
    w.table(start + "layer0.norm", "LayerNorm", 128);
    w.table(start + "layer1.conv", "Conv2d", std::int64_t{32 * 128 * 9});
    w.table(start + "layer1.norm", "LayerNorm", 32);
    w.linear(start + "input_proj_linear", kWidth, kWidth);
    for (int i = 0; i < kLayers; ++i) {
        const std::string layer = fmt::format("audio_model.layers.{}.", i);
        register_feed_forward(w, layer + "feed_forward1", kWidth);
        w.table(layer + "self_attn", "Gemma4AudioAttention", kHeadDim);
        for (const std::string_view name : {"q_proj", "k_proj", "v_proj", "post"})
            w.clipped(fmt::format("{}self_attn.{}", layer, name), kWidth, kWidth);
        w.linear(layer + "self_attn.relative_k_proj", kWidth, kWidth);
        w.norm(layer + "norm_pre_attn", kWidth);
        w.norm(layer + "norm_post_attn", kWidth);
        w.norm(layer + "lconv1d.pre_layer_norm", kWidth);
        w.clipped(layer + "lconv1d.linear_start", kWidth, 2 * kWidth);
        w.table(layer + "lconv1d.depthwise_conv1d", "Conv1d", 5 * kWidth);
        w.norm(layer + "lconv1d.conv_norm", kWidth);
        w.clipped(layer + "lconv1d.linear_end", kWidth, kWidth);
        register_feed_forward(w, layer + "feed_forward2", kWidth);
        w.norm(layer + "norm_out", kWidth);
    }
    w.linear("audio_model.output_proj", kWidth, kOut, Bias::Yes);
}

// Rotated in the type of the tables: half of the channels at a time, in place.
Tensor turn(Tape& tape, Module module, const Tensor& x, const DecoderRope& rope) {
    Tensor out = ghost::combine(tape, "mul", module, {&x, &rope.cos}, x.shape(), x.type());
    const Tensor half = out.view(x.shape().with_last(x.shape().last() / 2));
    for (int i = 0; i < 2; ++i) {
        const Tensor product = ghost::unary(tape, "mul", module, half);
        ghost::binary_in_place(tape, "sub_", module, half, product);
    }
    return out;
}

}  // namespace

Gemma4Layer::Gemma4Layer(Registry& r, std::string_view path, const modelfile::Gemma4Config& c,
                         int index)
    : path_(r.path(path, "")),
      attention_(r.path(path, "self_attn")),
      window_(looks_at_all(c, index) ? 0 : c.sliding_window),
      shares_(takes_keys(c, index)),
      heads_(c.num_attention_heads),
      kv_heads_(heads_of_keys(c, index)),
      head_dim_(looks_at_all(c, index) ? c.global_head_dim : c.head_dim),
      q_(r, r.path(*attention_, "q_proj"), c.hidden_size, heads_ * head_dim_, Bias::No),
      k_(r, r.path(*attention_, "k_proj"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      v_(takes_keys_for_values(c, index)
             ? std::nullopt
             : std::optional<Linear>(std::in_place, r, r.path(*attention_, "v_proj"), c.hidden_size,
                                     kv_heads_ * head_dim_, Bias::No)),
      out_(r, r.path(*attention_, "o_proj"), heads_ * head_dim_, c.hidden_size, Bias::No),
      q_norm_(r, r.path(*attention_, "q_norm"), head_dim_, false),
      k_norm_(r, r.path(*attention_, "k_norm"), head_dim_, false),
      mlp_(r, fmt::format("{}.mlp", path), feed_forward(c, index)) {
    for (const std::string_view name : {"input_layernorm", "post_attention_layernorm",
                                        "pre_feedforward_layernorm", "post_feedforward_layernorm"})
        norms_.emplace_back(r, r.path(path, name), c.hidden_size, false);
    if (const std::int64_t own = c.hidden_size_per_layer_input; own > 0) {
        own_gate_.emplace(r, r.path(path, "per_layer_input_gate"), c.hidden_size, own, Bias::No);
        own_projection_.emplace(r, r.path(path, "per_layer_projection"), own, c.hidden_size,
                                Bias::No);
        own_norm_.emplace(r, r.path(path, "post_per_layer_input_norm"), c.hidden_size, false);
    }
    r.add_buffer(path_, "TransformerBlockGemma4", 1, ModuleStorage::AsNetwork, Saved::Yes);
}

std::int64_t Gemma4Layer::kept(std::int64_t tokens) const {
    return window_ > 0 ? std::min(tokens, window_ - 1) : tokens;
}

Gemma4Keys Gemma4Layer::make_keys(Tape& tape, const Tensor& x, const DecoderRope& rope,
                                  std::int64_t past) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Shape fresh{batch, kv_heads_, tokens, head_dim_};
    Tensor k = k_.forward(tape, x).view(fresh);
    Tensor v = v_ ? v_->forward(tape, x).view(fresh) : k;
    k = k_norm_.forward(tape, k);
    v = rms_norm(tape, attention_, v, Affine::No);
    k = turn(tape, attention_, k, rope);
    if (past == 0) return {.keys = std::move(k), .values = std::move(v)};
    // Joined with the cache in a new tensor.
    const Shape all{batch, kv_heads_, kept(past) + tokens, head_dim_};
    const auto joined = [&](const Tensor& part) {
        Tensor whole = tape.make(all, part.type(), "cat", attention_);
        tape.charge(OpClass::Copy, "cat", attention_, 0, 2 * whole.bytes());
        return whole;
    };
    k = joined(k);
    v = joined(v);
    return {.keys = std::move(k), .values = std::move(v)};
}

Tensor Gemma4Layer::look(Tape& tape, const Tensor& q, const Gemma4Keys& seen,
                         const Tensor& mask) const {
    const Shape& s = q.shape();
    const std::int64_t keys = seen.keys.shape()[2];
    // Repeated for every query head, by the layer or within the kernel that takes any width.
    const Shape wide{s[0], kv_heads_, heads_ / kv_heads_, keys, head_dim_};
    const Tensor k =
        ghost::clone(tape, attention_, seen.keys.view({s[0], kv_heads_, keys, head_dim_}), wide);
    const Tensor v =
        ghost::clone(tape, attention_, seen.values.view({s[0], kv_heads_, keys, head_dim_}), wide);
    const bool repeats_itself = window_ > 0 && keys >= window_;
    const bool flash = ghost::runs_flash(tape, q.type(), head_dim_, mask);
    return ghost::attention(
        tape, attention_, q, k, v,
        {.batch = s[0], .heads = heads_, .queries = s[2], .keys = keys, .head_dim = head_dim_},
        mask,
        repeats_itself || flash ? ghost::AttentionKernel::Default : ghost::AttentionKernel::Math);
}

Tensor Gemma4Layer::attend(Tape& tape, const Tensor& x, const Tensor& mask, const DecoderRope& rope,
                           std::int64_t past, Gemma4Keys& shared) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    Tensor q = q_.forward(tape, x).view({batch, heads_, tokens, head_dim_});
    q = q_norm_.forward(tape, q);
    if (!shares_) shared = make_keys(tape, x, rope, past);
    q = turn(tape, attention_, q, rope);
    const Tensor out = look(tape, q, shared, mask);
    return out_.forward(tape, out.view({batch, tokens, heads_ * head_dim_}));
}

Tensor Gemma4Layer::forward(Tape& tape, const Tensor& input, const Tensor& mask,
                            const DecoderRope& rope, const Tensor& own_input, std::int64_t past,
                            Gemma4Keys& shared) const {
    Tensor layer_mask = mask;
    if (window_ > 0 && input.shape()[1] > window_) {
        const Tensor far = ghost::create(tape, "full", path_, mask.shape(), mask.type());
        layer_mask = ghost::binary(tape, "add", path_, mask, far);
    }
    Tensor residual = input;
    Tensor x = norms_[0].forward(tape, input);
    x = attend(tape, x, layer_mask, rope, past, shared);
    x = norms_[1].forward(tape, x);
    x = ghost::binary(tape, "add", path_, residual, x);
    residual = x;
    x = norms_[2].forward(tape, x);
    x = mlp_.forward(tape, x);
    x = norms_[3].forward(tape, x);
    x = ghost::binary(tape, "add", path_, residual, x);
    if (!own_gate_) return ghost::unary(tape, "mul", path_, x);
    residual = x;
    x = own_gate_->forward(tape, x);
    x = ghost::unary(tape, "gelu", path_, x);
    x = ghost::binary(tape, "mul", path_, x, own_input);
    x = own_projection_->forward(tape, x);
    x = own_norm_->forward(tape, x);
    x = ghost::binary(tape, "add", path_, residual, x);
    return ghost::unary(tape, "mul", path_, x);
}

Gemma4Network::Gemma4Network(const modelfile::Gemma4Config& c)
    : TextNetwork("Gemma4Model"), config_(c), model_(registry_.path("transformer.model", "")) {
    const ModuleStorage table = c.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork;
    if (c.scaled_fp8) registry_.scale_linears();
    embed_tokens_.emplace(registry_, registry_.path(*model_, "embed_tokens"), c.vocab_size,
                          c.hidden_size, table);
    registry_.pack_linears(c.linear_millibits);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        layers_.emplace_back(registry_, fmt::format("{}.layers.{}", *model_, i), c, i);
    registry_.pack_linears(0);
    norm_.emplace(registry_, registry_.path(*model_, "norm"), c.hidden_size, false);
    if (c.unified) register_projections();
    const std::int64_t own = std::int64_t{c.num_hidden_layers} * c.hidden_size_per_layer_input;
    if (own == 0) return;
    own_embedding_.emplace(registry_, registry_.path(*model_, "embed_tokens_per_layer"),
                           c.vocab_size, own, table);
    own_model_projection_.emplace(registry_, registry_.path(*model_, "per_layer_model_projection"),
                                  c.hidden_size, own, Bias::No);
    own_norm_.emplace(registry_, registry_.path(*model_, "per_layer_projection_norm"),
                      c.hidden_size_per_layer_input, false);
    if (!c.unified) register_towers();
}

// Published: patches of 48 x 48 pixels, 1,120 positions for either axis, 640 samples a token.
void Gemma4Network::register_projections() {
    constexpr std::int64_t kPatch = std::int64_t{48} * 48 * 3;
    constexpr std::int64_t kPositions = 1120;
    constexpr std::int64_t kSamples = 640;
    const std::int64_t width = config_.hidden_size;
    TowerWriter w(registry_, "transformer");
    w.table("vision_model", "Gemma4UnifiedVisionEmbedder", 2 * kPositions * width);
    w.table("vision_model.patch_ln1", "LayerNorm", 2 * kPatch);
    w.linear("vision_model.patch_dense", kPatch, width, Bias::Yes);
    w.table("vision_model.patch_ln2", "LayerNorm", 2 * width);
    w.table("vision_model.pos_norm", "LayerNorm", 2 * width);
    w.linear("multi_modal_projector.embedding_projection", width, width);
    w.linear("audio_projector.embedding_projection", kSamples, width);
}

void Gemma4Network::register_towers() {
    constexpr std::int64_t kEyeWidth = 768;
    constexpr std::int64_t kEarWidth = 1536;
    TowerWriter w(registry_, "transformer");
    w.linear("multi_modal_projector.embedding_projection", kEyeWidth, config_.hidden_size);
    register_eye(w);
    register_ear(w);
    w.linear("audio_projector.embedding_projection", kEarWidth, config_.hidden_size);
}

std::vector<Tensor> Gemma4Network::own_inputs(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t own = config_.hidden_size_per_layer_input;
    const Shape parts{s[0], s[1], config_.num_hidden_layers, own};
    Tensor projected = own_model_projection_->forward(tape, x);
    projected = ghost::unary(tape, "mul", model_, projected);
    projected = own_norm_->forward(tape, projected.view(parts));
    const Tensor looked_up = [&] {
        const Tensor rows = tape.make(parts, x.type(), "embedding", model_);
        tape.charge(OpClass::Copy, "embedding", model_, 0, 2 * rows.bytes());
        return ghost::unary(tape, "mul", model_, rows);
    }();
    const Tensor sum = ghost::binary(tape, "add", model_, projected, looked_up);
    Tensor inputs = ghost::unary(tape, "mul", model_, sum);
    return {projected, looked_up, inputs};
}

Tensor Gemma4Network::run_layers(Tape& tape, Tensor x, std::int64_t past,
                                 const Tensor& attention_mask, States states, Left& left) const {
    const std::int64_t tokens = x.shape()[1];
    const Tensor positions = ghost::create(tape, "arange", model_, {tokens}, ElementType::Int64);
    const auto rope_of = [&](int head_dim) {
        DecoderRope rope = make_rope(tape, model_, positions, head_dim, Stretched::No);
        rope.cos = ghost::to_type(tape, model_, rope.cos, x.type());
        rope.sin = ghost::to_type(tape, model_, rope.sin, x.type());
        rope.negated_sin = {};
        return rope;
    };
    const DecoderRope far = rope_of(config_.global_head_dim);
    const DecoderRope near = rope_of(config_.head_dim);
    Tensor mask;
    if (attention_mask.defined()) mask = padding_mask(tape, model_, attention_mask, x.type());
    Tensor causal;  // until the end
    if (tokens > 1) {
        causal = ghost::create(tape, "zeros", model_, {past + tokens, past + tokens}, x.type());
        const Tensor hidden =
            ghost::create(tape, "ones_like", model_, causal.shape(), ElementType::Bool);
        ghost::binary_in_place(tape, "masked_fill_", model_, causal, hidden);
        mask = mask.defined() ? ghost::binary(tape, "add", model_, mask, causal) : causal;
    }
    std::vector<Tensor> own;
    if (own_norm_) own = own_inputs(tape, x);
    const Shape one{x.shape()[0], tokens, config_.hidden_size_per_layer_input};
    const auto keep = [&] {
        const Shape& s = x.shape();
        if (states == States::Keep)
            left.states.push_back(ghost::clone(tape, model_, x, {s[0], 1, s[1], s[2]}));
    };
    Gemma4Keys near_keys;
    Gemma4Keys far_keys;
    for (const Gemma4Layer& layer : layers_) {
        keep();
        const bool window = layer.looks_back_over_window();
        Gemma4Keys& keys = window ? near_keys : far_keys;
        const Tensor input = own.empty() ? Tensor{} : own.back().view(one);
        x = layer.forward(tape, x, mask, window ? near : far, input, past, keys);
        if (!layer.shares()) left.keys.push_back(keys);  // the next forward's cache
        // Where no text is written, only those that later layers take stay.
        if (states == States::Keep && config_.num_kv_shared_layers == 0) {
            left.keys.clear();
            keys = {};
        }
    }
    x = norm_->forward(tape, x);
    keep();
    return x;
}

// ComfyUI's wrapper asks for all states, whoever the text is for.
std::vector<Tensor> Gemma4Network::encode(Tape& tape, const TextCall& call) const {
    const EmbeddedPrompts prompts = embed_prompts(tape, root_, *embed_tokens_, call);
    Left left;
    const Tensor x =
        run_layers(tape, prompts.embeds, 0, prompts.attention_mask, States::Keep, left);
    const Tensor stacked = ghost::cat(tape, model_, left.states, 1);
    return {prompts.embeds, prompts.attention_mask, x, stacked};
}

void Gemma4Network::write(Tape& tape, const GenerateCall& call, const GenerateStep& step) const {
    const ElementType type = tape.compute();
    const Tensor prompt = tape.make({call.batch, call.prompt_tokens, config_.hidden_size},
                                    ElementType::Float32, "cat", root_);
    tape.charge(OpClass::Copy, "cat", root_, 0, 2 * prompt.bytes());
    // What the layers before kept, until those of this forward take its place.
    std::vector<Tensor> caches;
    for (const Gemma4Layer& layer : layers_) {
        if (layer.shares() || step.past == 0) continue;
        const Shape shape{call.batch, layer.kv_heads(), layer.kept(step.past), layer.head_dim()};
        for (int i = 0; i < 2; ++i) caches.push_back(tape.make(shape, type, "cat", model_));
    }
    Tensor x = tape.make({call.batch, step.tokens, config_.hidden_size}, type, "embedding", model_);
    tape.charge(OpClass::Copy, "embedding", model_, 0, 2 * x.bytes());
    Left left;
    x = run_layers(tape, std::move(x), step.past, {}, States::Drop, left);
    const ElementType stored =
        stored_type(tape, config_.scaled_fp8 ? ModuleStorage::Float16 : ModuleStorage::AsNetwork);
    const bool as_it_is = stored == ElementType::Float16 || stored == ElementType::BFloat16;
    const Tensor scores = score_words(tape, model_, x, config_.vocab_size, as_it_is);
    const Tensor bounded = [&] {
        const Tensor bent = [&] {
            const Tensor small = ghost::unary(tape, "div", model_, scores);
            return ghost::unary(tape, "tanh", model_, small);
        }();
        return ghost::unary(tape, "mul", model_, bent);
    }();
    choose_word(tape, model_, bounded);
}

Result<std::shared_ptr<const Gemma4Network>> build_gemma4(const modelfile::Gemma4Config& c) {
    const bool sound =
        within(c.vocab_size, 1, kVocabularyMax) && within(c.hidden_size, 1, kWidthMax) &&
        within(c.intermediate_size, 1, kWidthMax) && within(c.num_hidden_layers, 1, kDepthMax) &&
        within(c.num_attention_heads, 1, kWidthMax) &&
        within(c.num_key_value_heads, 1, c.num_attention_heads) &&
        c.num_attention_heads % c.num_key_value_heads == 0 && within(c.head_dim, 2, kWidthMax) &&
        within(c.global_head_dim, 2, kWidthMax) && c.head_dim % 2 == 0 &&
        c.global_head_dim % 2 == 0 && within(c.sliding_window, 2, 1 << 20) &&
        within(c.full_attention_every, 1, kDepthMax) &&
        within(c.hidden_size_per_layer_input, 0, kWidthMax) &&
        within(c.num_global_key_value_heads, 0, c.num_attention_heads) &&
        (c.num_global_key_value_heads == 0 ||
         c.num_attention_heads % c.num_global_key_value_heads == 0) &&
        within(c.linear_millibits, 0, kMillibitsMax) &&
        // The layers that share find one of either kind before them.
        within(c.num_kv_shared_layers, 0, c.num_hidden_layers - c.full_attention_every);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a Gemma 4 of {} layers of width {} with {} heads for {} keys "
                                "cannot be",
                                c.num_hidden_layers, c.hidden_size, c.num_attention_heads,
                                c.num_key_value_heads));
    return std::make_shared<const Gemma4Network>(c);
}

}  // namespace plimsoll::memory
