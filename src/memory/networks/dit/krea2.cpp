// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/krea2.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Krea2Config;

namespace {

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
constexpr int kFusionBlocks = 2;          // over the layers of a token, and over the tokens
constexpr std::int64_t kMlpMultiple = 128;
constexpr std::int64_t kModulations = 6;  // scale, shift and gate around attention and feed-forward
constexpr std::int64_t kLastModulations = 2;
constexpr int kMultiplierMax = 64;

std::int64_t mlp_width(std::int64_t features, std::int64_t multiplier) {
    const std::int64_t width = 2 * features / 3 * multiplier;
    return (width + kMlpMultiple - 1) / kMlpMultiple * kMlpMultiple;
}

std::array<int, 3> rope_axes(const Krea2Config& c) {
    const int head_dim = c.features / c.heads;
    const int side = 6 * (head_dim / 16);
    return {head_dim - 2 * side, side, side};
}

}  // namespace

Krea2Norm::Krea2Norm(Registry& r, Module path, std::int64_t width) : path_(path), width_(width) {
    r.add_own_parameters(path, "RMSNorm", width, ModuleStorage::AsNetwork);
}

// The norm is PyTorch's own function on an fp32 copy, which the recorded builds run step by step.
Tensor Krea2Norm::forward(Tape& tape, const Tensor& x) const {
    const Tensor weight = [&] {
        const Tensor wide = tape.make({width_}, ElementType::Float32, "_to_copy", path_);
        tape.charge(OpClass::Copy, "_to_copy", path_, 0,
                    width_ * ghost::element_bytes(tape.options().storage) + wide.bytes());
        return ghost::unary(tape, "add", path_, wide);
    }();
    const Tensor normal = [&] {
        const Tensor wide = ghost::to_type(tape, path_, x, ElementType::Float32);
        return rms_norm_by_steps(tape, path_, wide, Affine::Yes);
    }();
    return ghost::to_type(tape, path_, normal, x.type());
}

Krea2Attention::Krea2Attention(Registry& r, std::string_view path, const Krea2Widths& w)
    : path_(r.path(path, "")),
      widths_(w),
      wq_(r, r.path(path, "wq"), w.features, w.features, w.bias),
      wk_(r, r.path(path, "wk"), w.features, w.features / w.heads * w.kv_heads, w.bias),
      wv_(r, r.path(path, "wv"), w.features, w.features / w.heads * w.kv_heads, w.bias),
      gate_(r, r.path(path, "gate"), w.features, w.features, w.bias),
      q_norm_(r, r.path(path, "qknorm.qnorm"), w.features / w.heads),
      k_norm_(r, r.path(path, "qknorm.knorm"), w.features / w.heads),
      wo_(r, r.path(path, "wo"), w.features, w.features, w.bias) {}

// Heads are views of token by token, which norm, rotation and attention keep to.
Tensor Krea2Attention::forward(Tape& tape, const Tensor& x, const Tensor& table) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const std::int64_t head_dim = widths_.features / widths_.heads;
    const Shape narrow{batch, tokens, widths_.kv_heads, head_dim};
    Tensor q = wq_.forward(tape, x).view({batch, tokens, widths_.heads, head_dim});
    Tensor k = wk_.forward(tape, x).view(narrow);
    Tensor v = wv_.forward(tape, x).view(narrow);
    const Tensor gate = gate_.forward(tape, x);
    {
        Tensor normal_q = q_norm_.forward(tape, q);
        k = k_norm_.forward(tape, k);
        q = std::move(normal_q);
    }
    if (table.defined()) {
        Rotated rotated = apply_rope(tape, path_, q, k, table);
        q = std::move(rotated.q);
        k = std::move(rotated.k);
    }
    if (widths_.kv_heads != widths_.heads) {
        const auto repeated = [&](const Tensor& t) {
            return ghost::clone(
                tape, path_, t,
                {batch, tokens, widths_.kv_heads, widths_.heads / widths_.kv_heads, head_dim});
        };
        k = repeated(k);
        v = repeated(v);
    }
    const Tensor attended = ghost::attention(tape, path_, q, k, v,
                                             {.batch = batch,
                                              .heads = widths_.heads,
                                              .queries = tokens,
                                              .keys = tokens,
                                              .head_dim = head_dim});
    const Tensor gated = [&] {
        const Tensor open = ghost::unary(tape, "sigmoid", path_, gate);
        return ghost::binary(tape, "mul", path_, attended.view(x.shape()), open);
    }();
    return wo_.forward(tape, gated);
}

Krea2Layer::Krea2Layer(Registry& r, std::string_view path, const Krea2Widths& w)
    : path_(r.path(path, "")),
      pre_norm_(r, r.path(path, "prenorm"), w.features),
      post_norm_(r, r.path(path, "postnorm"), w.features),
      attn_(r, *r.path(path, "attn"), w),
      mlp_(r.path(path, "mlp")),
      mlp_gate_(r, r.path(path, "mlp.gate"), w.features, w.mlp, w.bias),
      mlp_up_(r, r.path(path, "mlp.up"), w.features, w.mlp, w.bias),
      mlp_down_(r, r.path(path, "mlp.down"), w.mlp, w.features, w.bias) {}

Tensor Krea2Layer::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor active = [&] {
        const Tensor gate = mlp_gate_.forward(tape, x);
        return ghost::unary(tape, "silu", mlp_, gate);
    }();
    {
        const Tensor up = mlp_up_.forward(tape, x);
        ghost::binary_in_place(tape, "mul_", mlp_, active, up);
    }
    return mlp_down_.forward(tape, active);
}

Tensor Krea2Layer::forward(Tape& tape, const Tensor& x) const {
    const Tensor middle = [&] {
        const Tensor update = [&] {
            const Tensor normal = pre_norm_.forward(tape, x);
            return attn_.forward(tape, normal, {});
        }();
        return ghost::binary(tape, "add", path_, x, update);
    }();
    const Tensor update = [&] {
        const Tensor normal = post_norm_.forward(tape, middle);
        return feed_forward(tape, normal);
    }();
    return ghost::binary(tape, "add", path_, middle, update);
}

namespace {

// (1 + scale) * norm(x) + shift, step by step.
Tensor modulated(Tape& tape, Module module, const Krea2Norm& norm, const Tensor& x,
                 const Tensor& part) {
    const Tensor product = [&] {
        const Tensor factor = ghost::unary(tape, "add", module, part);
        const Tensor normal = norm.forward(tape, x);
        return ghost::binary(tape, "mul", module, normal, factor);
    }();
    return ghost::binary(tape, "add", module, product, part);
}

}  // namespace

// In place: the tokens before `own` by one part of the modulation, those of references by another.
void Krea2Layer::scale_split(Tape& tape, const Tensor& x, const Tensor& part, std::int64_t own,
                             Shifted shifted) const {
    for (const std::int64_t tokens : {own, x.shape()[1] - own}) {
        const Tensor rows = x.view(x.shape().with(1, tokens));
        if (shifted == Shifted::No) {
            ghost::binary_in_place(tape, "mul_", path_, rows, part);
            continue;
        }
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        ghost::binary_in_place(tape, "mul_", path_, rows, factor);
        ghost::binary_in_place(tape, "add_", path_, rows, part);
    }
}

Tensor Krea2Layer::forward_split(Tape& tape, const Tensor& x, const Tensor& modulation,
                                 const Tensor& table, std::int64_t own) const {
    const Tensor part = modulation.view({x.shape()[0], 1, x.shape().last()});
    const auto add_update = [&](const Tensor& base, const Krea2Norm& norm, auto update) {
        const Tensor change = [&] {
            const Tensor in = norm.forward(tape, base);
            scale_split(tape, in, part, own, Shifted::Yes);
            return update(in);
        }();
        scale_split(tape, change, part, own, Shifted::No);
        return ghost::binary(tape, "add", path_, base, change);
    };
    const Tensor middle =
        add_update(x, pre_norm_, [&](const Tensor& in) { return attn_.forward(tape, in, table); });
    return add_update(middle, post_norm_, [&](const Tensor& in) { return feed_forward(tape, in); });
}

Tensor Krea2Layer::forward_modulated(Tape& tape, const Tensor& x, const Tensor& modulation,
                                     const Tensor& table) const {
    const Tensor part = modulation.view({x.shape()[0], 1, x.shape().last()});
    const auto add_gated = [&](const Tensor& base, auto update) {
        const Tensor gated = [&] {
            const Tensor raw = update();
            return ghost::binary(tape, "mul", path_, raw, part);
        }();
        return ghost::binary(tape, "add", path_, base, gated);
    };
    const Tensor middle = add_gated(x, [&] {
        const Tensor in = modulated(tape, path_, pre_norm_, x, part);
        return attn_.forward(tape, in, table);
    });
    return add_gated(middle, [&] {
        const Tensor in = modulated(tape, path_, post_norm_, middle, part);
        return feed_forward(tape, in);
    });
}

Krea2Modulation::Krea2Modulation(Registry& r, Module path, std::string_view class_name,
                                 std::int64_t elements)
    : path_(path), elements_(elements) {
    r.add_own_parameters(path, class_name, elements, ModuleStorage::AsNetwork);
}

Tensor Krea2Modulation::forward(Tape& tape, const Tensor& vec) const {
    const Tape::Cast table = tape.cast_weight({elements_}, path_);
    const Shape shape{vec.shape()[0], 1, elements_};
    Tensor out = tape.make(shape, vec.type(), "add", path_);
    tape.charge(OpClass::Elementwise, "add", path_, 0,
                vec.bytes() + elements_ * ghost::element_bytes(vec.type()) + out.bytes());
    return out;
}

Krea2Network::Krea2Network(const Krea2Config& c)
    : config_(c),
      widths_{.features = c.features,
              .heads = c.heads,
              .kv_heads = c.kvheads,
              .mlp = mlp_width(c.features, c.multiplier),
              .bias = c.bias ? Bias::Yes : Bias::No},
      text_widths_{.features = c.txtdim,
                   .heads = c.txtheads,
                   .kv_heads = c.txtkvheads,
                   .mlp = mlp_width(c.txtdim, c.multiplier),
                   .bias = widths_.bias},
      root_(registry_.path("", "")),
      pe_(registry_.path("pe_embedder", "")),
      first_(registry_, registry_.path("first", ""), std::int64_t{c.channels} * c.patch * c.patch,
             c.features),
      blocks_([&] {
          std::vector<Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.layers));
          for (int i = 0; i < c.layers; ++i) {
              const std::string path = fmt::format("blocks.{}", i);
              Krea2Modulation mod(registry_, registry_.path(path, "mod"), "DoubleSharedModulation",
                                  kModulations * c.features);
              blocks.push_back({mod, Krea2Layer(registry_, path, widths_)});
          }
          return blocks;
      }()),
      time_in_(registry_, registry_.path("tmlp", "0"), c.tdim, c.features),
      time_act_(registry_.path("tmlp", "1")),
      time_out_(registry_, registry_.path("tmlp", "2"), c.features, c.features),
      fusion_(registry_.path("txtfusion", "")),
      layerwise_blocks_([&] {
          std::vector<Krea2Layer> blocks;
          blocks.reserve(kFusionBlocks);
          for (int i = 0; i < kFusionBlocks; ++i)
              blocks.emplace_back(registry_, fmt::format("txtfusion.layerwise_blocks.{}", i),
                                  text_widths_);
          return blocks;
      }()),
      projector_(registry_, registry_.path("txtfusion", "projector"), c.txtlayers, 1, Bias::No),
      refiner_blocks_([&] {
          std::vector<Krea2Layer> blocks;
          blocks.reserve(kFusionBlocks);
          for (int i = 0; i < kFusionBlocks; ++i)
              blocks.emplace_back(registry_, fmt::format("txtfusion.refiner_blocks.{}", i),
                                  text_widths_);
          return blocks;
      }()),
      text_norm_(registry_, registry_.path("txtmlp", "0"), c.txtdim),
      text_in_(registry_, registry_.path("txtmlp", "1"), c.txtdim, c.features),
      text_act_(registry_.path("txtmlp", "2")),
      text_out_(registry_, registry_.path("txtmlp", "3"), c.features, c.features),
      last_(registry_.path("last", "")),
      last_norm_(registry_, registry_.path("last", "norm"), c.features),
      last_linear_(registry_, registry_.path("last", "linear"), c.features,
                   std::int64_t{c.channels} * c.patch * c.patch),
      last_modulation_(registry_, registry_.path("last", "modulation"), "SimpleModulation",
                       kLastModulations * c.features),
      time_proj_act_(registry_.path("tproj", "0")),
      time_proj_(registry_, registry_.path("tproj", "1"), c.features, kModulations * c.features) {}

StepInputs Krea2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.channels, 1, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context =
        tape.input({wish.cond_batch, call.tokens, std::int64_t{config_.txtlayers} * config_.txtdim},
                   wish.type);
    in.reference_method = call.reference_method;
    for (const LatentExtent& reference : call.references)
        in.references.push_back(tape.input(
            {wish.cond_batch, config_.channels, 1, reference.height, reference.width}, wish.type));
    return in;
}

std::vector<ModuleEntry> Krea2Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Krea2Network::Image Krea2Network::process(Tape& tape, const Tensor& latent) const {
    const Shape& s = latent.shape();
    const Tensor padded =
        pad_to_patches(tape, root_, latent.view({s[0], s[1], s[3], s[4]}), config_.patch);
    Image image;
    image.rows = padded.shape()[2] / config_.patch;
    image.columns = padded.shape()[3] / config_.patch;
    image.tokens = to_tokens(tape, root_, padded, config_.patch);
    const Tensor ids =
        ghost::create(tape, "zeros", root_, {image.rows, image.columns, 3}, ElementType::Float32);
    const Tensor axis = ids.view({image.rows, image.columns});
    const auto write = [&](const Tensor& positions) {
        ghost::binary_in_place(tape, "copy_", root_, axis, positions);
    };
    write(ghost::create(tape, "scalar_tensor", root_, {1}, ElementType::Float32));  // which image
    for (const std::int64_t length : {image.rows, image.columns}) {
        write(ghost::create(tape, "arange", root_, {length}, ElementType::Float32));
    }
    image.positions = ghost::produce(tape, OpClass::Copy, "repeat", root_, ids,
                                     {s[0], image.rows * image.columns, 3}, ids.type());
    return image;
}

// The tokens of reference images behind the image's own. Not without being told how.
std::int64_t Krea2Network::append_references(Tape& tape, const StepInputs& in, Image& image) const {
    const std::int64_t own = image.tokens.shape()[1];
    if (in.references.empty() || in.reference_method == ReferenceMethod::Usual) return own;
    std::vector<Tensor> tokens{image.tokens};
    std::vector<Tensor> positions{image.positions};
    for (const Tensor& latent : in.references) {
        Image reference = process(tape, latent);
        tokens.push_back(std::move(reference.tokens));
        positions.push_back(std::move(reference.positions));
    }
    image.tokens = ghost::cat(tape, root_, tokens, 1);
    image.positions = ghost::cat(tape, root_, positions, 1);
    return own;
}

Tensor Krea2Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    Tensor waves = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", root_, timesteps);
        return timestep_embedding(tape, root_, scaled, config_.tdim, timesteps.type());
    }();
    waves = ghost::to_type(tape, root_, waves, type);
    waves = waves.view({timesteps.elements(), 1, config_.tdim});
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "gelu", time_act_, first);
    }();
    return time_out_.forward(tape, hidden);
}

// First over the layers of each token, then over the tokens of one sequence.
Tensor Krea2Network::fuse_text(Tape& tape, const Tensor& context) const {
    const std::int64_t batch = context.shape()[0];
    const std::int64_t tokens = context.shape()[1];
    Tensor x = context.view({batch * tokens, config_.txtlayers, config_.txtdim});
    for (const Krea2Layer& block : layerwise_blocks_) x = block.forward(tape, x);
    // Layers last, which are not next to each other in memory.
    x = projector_.forward_batched(tape, x.view({batch, tokens, config_.txtdim, config_.txtlayers}))
            .view({batch, tokens, config_.txtdim});
    for (const Krea2Layer& block : refiner_blocks_) x = block.forward(tape, x);
    return x;
}

Tensor Krea2Network::embed_text(Tape& tape, const Tensor& context) const {
    Tensor hidden = text_norm_.forward(tape, context);
    hidden = text_in_.forward(tape, hidden);
    hidden = ghost::unary(tape, "gelu", text_act_, hidden);
    return text_out_.forward(tape, hidden);
}

Tensor Krea2Network::forward_last(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor modulation = last_modulation_.forward(tape, time);
    const Tensor in =
        modulated(tape, last_, last_norm_, x, modulation.view({x.shape()[0], 1, x.shape().last()}));
    return last_linear_.forward(tape, in);
}

Tensor Krea2Network::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    Image image = process(tape, in.x);
    const std::int64_t image_tokens = append_references(tape, in, image);
    const bool split = image.tokens.shape()[1] > image_tokens &&
                       in.reference_method == ReferenceMethod::IndexTimestepZero;
    image.tokens = first_.forward(tape, image.tokens);
    const Tensor time = embed_time(tape, in.timesteps, in.x.type());
    const auto project = [&](const Tensor& embedded) {
        const Tensor active = ghost::unary(tape, "gelu", time_proj_act_, embedded);
        return time_proj_.forward(tape, active);
    };
    Tensor vec = project(time);
    Tensor time_zero;  // of the references; lives on
    if (split) {
        const Tensor zeros = ghost::create_like(tape, "zeros_like", root_, in.timesteps);
        time_zero = embed_time(tape, zeros, in.x.type());
        vec = ghost::cat(tape, root_, std::array<Tensor, 2>{vec, project(time_zero)}, 0);
    }
    Tensor text = fuse_text(tape, in.context);
    text = embed_text(tape, text);
    const std::int64_t text_tokens = text.shape()[1];
    Tensor text_positions =
        ghost::create(tape, "zeros", root_, {batch, text_tokens, 3}, ElementType::Float32);
    Tensor x = ghost::cat(tape, root_, std::array<Tensor, 2>{text, image.tokens}, 1);
    text = image.tokens = {};
    Tensor positions =
        ghost::cat(tape, root_, std::array<Tensor, 2>{text_positions, image.positions}, 1);
    text_positions = image.positions = {};
    const Tensor table = rope_table(tape, pe_, positions, rope_axes(config_));
    positions = {};

    for (const Block& block : blocks_) {
        const Tensor modulation = block.mod.forward(tape, vec);
        x = split
                ? block.layer.forward_split(tape, x, modulation, table, text_tokens + image_tokens)
                : block.layer.forward_modulated(tape, x, modulation, table);
    }
    const Tensor out = forward_last(tape, x, time);
    x = {};
    return from_tokens(tape, root_, out.view({batch, image_tokens, out.shape().last()}),
                       config_.channels, image.rows, image.columns, config_.patch);
}

Result<std::shared_ptr<const Denoiser>> build_krea2(const Krea2Config& c) {
    const auto sound_heads = [](int width, int heads, int kv_heads) {
        return within(width, 1, kWidthMax) && within(heads, 1, width) && width % heads == 0 &&
               within(kv_heads, 1, heads) && heads % kv_heads == 0;
    };
    const bool sound = sound_heads(c.features, c.heads, c.kvheads) &&
                       sound_heads(c.txtdim, c.txtheads, c.txtkvheads) &&
                       within(c.tdim, 2, kWidthMax) && c.tdim % 2 == 0 &&
                       within(c.multiplier, 1, kMultiplierMax) && within(c.layers, 0, kDepthMax) &&
                       within(c.patch, 1, kPatchMax) && within(c.channels, 1, kWidthMax) &&
                       within(c.txtlayers, 1, kDepthMax) &&
                       rotated_channels(rope_axes(c)) == c.features / c.heads;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Krea 2 of width {} with {} heads over {}, {} blocks and text of "
                                "{} layers of {} cannot be",
                                c.features, c.heads, c.kvheads, c.layers, c.txtlayers, c.txtdim));
    return std::make_shared<const Krea2Network>(c);
}

}  // namespace plimsoll::memory
