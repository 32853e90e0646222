// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/mmdit.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kHeadDim = 64;
constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's flow schedule
// Shift, scale and gate around the attention and the feed forward; the last block's text has no
// gates and no feed forward; a second attention has a set of its own.
constexpr std::int64_t kModulations = 6;
constexpr std::int64_t kModulationsPreOnly = 2;
constexpr std::int64_t kModulationsSelfAttn = 9;
constexpr std::int64_t kModulationsFinal = 2;
constexpr std::int64_t kTableMax = 4096;

// One of the equal parts that a modulation is cut into: a view.
Tensor part(const Tensor& modulation, std::int64_t width) {
    return modulation.view({modulation.shape()[0], 1, width});
}

}  // namespace

namespace {

Tensor normalised(Tape& tape, const LayerNorm& norm, const Tensor& x, MmditLayout layout) {
    return layout == MmditLayout::Contiguous ? norm.forward(tape, x)
                                             : norm.forward_strided(tape, x);
}

// How image tokens come to the block at `index`.
MmditLayout image_layout(const std::vector<int>& self_attn_layers, int index) {
    const bool stacked = std::any_of(self_attn_layers.begin(), self_attn_layers.end(),
                                     [&](int layer) { return layer >= 0 && layer < index; });
    return stacked ? MmditLayout::Contiguous : MmditLayout::ChannelsFirst;
}

}  // namespace

MmditAttention::MmditAttention(Registry& r, std::string_view path, const MmditWidths& w,
                               bool pre_only)
    : widths_(w),
      qkv_(r, r.path(path, "qkv"), w.hidden, 3 * w.hidden),
      proj_(pre_only ? std::nullopt
                     : std::optional<Linear>(std::in_place, r, r.path(path, "proj"), w.hidden,
                                             w.hidden)) {
    if (!w.qk_norm) return;
    q_norm_.emplace(r, r.path(path, "ln_q"), kHeadDim, Affine::Yes, NormClass::Plain);
    k_norm_.emplace(r, r.path(path, "ln_k"), kHeadDim, Affine::Yes, NormClass::Plain);
}

MmditQkv MmditAttention::before(Tape& tape, const Tensor& x) const {
    const Tensor qkv = qkv_.forward(tape, x);
    const Shape tokens = x.shape();
    const Shape heads{tokens[0], tokens[1], widths_.heads, kHeadDim};
    MmditQkv out{.q = qkv.view(tokens), .k = qkv.view(tokens), .v = qkv.view(heads)};
    if (q_norm_) out.q = q_norm_->forward(tape, out.v).view(tokens);
    if (k_norm_) out.k = k_norm_->forward(tape, out.v).view(tokens);
    return out;
}

MmditStream::MmditStream(Registry& r, std::string_view path, const MmditWidths& w, const Kind& kind)
    : widths_(w),
      kind_(kind),
      norm1_(r, r.path(path, "norm1"), w.hidden, Affine::No),
      attn_(r, *r.path(path, "attn"), w, kind.pre_only),
      attn2_(kind.self_attn
                 ? std::optional<MmditAttention>(std::in_place, r, *r.path(path, "attn2"), w, false)
                 : std::nullopt),
      norm2_(r, r.path(path, "norm2"), w.hidden, Affine::No),
      mlp_in_(kind.pre_only ? std::nullopt
                            : std::optional<Linear>(std::in_place, r, r.path(path, "mlp.fc1"),
                                                    w.hidden, w.mlp)),
      mlp_act_(r.path(path, "mlp.act")),
      mlp_out_(kind.pre_only ? std::nullopt
                             : std::optional<Linear>(std::in_place, r, r.path(path, "mlp.fc2"),
                                                     w.mlp, w.hidden)),
      silu_(r.path(path, "adaLN_modulation.0")),
      modulation_(r, r.path(path, "adaLN_modulation.1"), w.hidden,
                  (kind.pre_only    ? kModulationsPreOnly
                   : kind.self_attn ? kModulationsSelfAttn
                                    : kModulations) *
                      w.hidden) {}

MmditStream::Prepared MmditStream::before(Tape& tape, Module block, const Tensor& x,
                                          const Tensor& c) const {
    Prepared out;
    {
        const Tensor active = ghost::unary(tape, "silu", silu_, c);
        out.modulation = modulation_.forward(tape, active);
    }
    const Tensor shift = part(out.modulation, widths_.hidden);
    Tensor normal = normalised(tape, norm1_, x, kind_.layout);
    Tensor modulated = modulate(tape, block, normal, shift, shift);
    if (!attn2_) normal = {};
    out.qkv = attn_.before(tape, modulated);
    modulated = {};
    if (attn2_) out.own = attn2_->before(tape, modulate(tape, block, normal, shift, shift));
    if (kind_.pre_only) out.modulation = {};
    return out;
}

Tensor MmditStream::feed_forward(Tape& tape, Module block, const Tensor& x,
                                 const Tensor& modulation) const {
    const Tensor shift = part(modulation, widths_.hidden);
    const Tensor modulated = [&] {
        const MmditLayout layout = kind_.self_attn ? MmditLayout::Contiguous : kind_.layout;
        const Tensor normal = normalised(tape, norm2_, x, layout);
        return modulate(tape, block, normal, shift, shift);
    }();
    const Tensor hidden = [&] {
        const Tensor in = mlp_in_->forward(tape, modulated);
        return ghost::unary(tape, "gelu", mlp_act_, in);
    }();
    return mlp_out_->forward(tape, hidden);
}

Tensor MmditStream::after(Tape& tape, Module block, Tensor x, const Tensor& attn,
                          const Tensor& own_attn, const Tensor& modulation) const {
    const Tensor gate = part(modulation, widths_.hidden);
    const auto gated = [&](const Tensor& update) {
        return ghost::binary(tape, "mul", block, update, gate);
    };
    const auto add = [&](Tensor update) {
        const Tensor scaled = gated(update);
        update = {};
        x = ghost::binary(tape, "add", block, x, scaled);
    };
    if (!attn2_) {
        add(kind_.alone ? attn_.after(tape, attn) : attn_.after_joint(tape, attn));
        add(feed_forward(tape, block, x, modulation));
        return x;
    }
    // Both attentions' results live on beside the tokens that they were added to.
    const Tensor joint = attn_.after_joint(tape, attn);
    const Tensor own = attn2_->after(tape, own_attn);
    x = [&] {
        const Tensor joint_scaled = gated(joint);
        const Tensor own_scaled = gated(own);
        const Shape& s = x.shape();
        const Tensor stack = ghost::combine(tape, "stack", block, {&x, &joint_scaled, &own_scaled},
                                            {3, s[0], s[1], s[2]}, x.type());
        return ghost::produce(tape, OpClass::Elementwise, "sum", block, stack, s, x.type());
    }();
    add(feed_forward(tape, block, x, modulation));
    return x;
}

MmditBlock::MmditBlock(Registry& r, std::string_view path, const MmditWidths& w, bool last,
                       const MmditStream::Kind& image)
    : path_(r.path(path, "")),
      widths_(w),
      context_(r, *r.path(path, "context_block"), w, {.pre_only = last}),
      x_(r, *r.path(path, "x_block"), w, image) {}

void MmditBlock::forward(Tape& tape, Tensor& context, Tensor& x, const Tensor& c) const {
    const MmditStream::Prepared text = context_.before(tape, path_, context, c);
    const MmditStream::Prepared image = x_.before(tape, path_, x, c);
    const auto attend = [&](const MmditQkv& qkv) {
        const Shape& s = qkv.v.shape();
        const Tensor out = ghost::attention(
            tape, path_, qkv.q, qkv.k, qkv.v,
            {.batch = s[0], .heads = s[2], .queries = s[1], .keys = s[1], .head_dim = s[3]});
        return out.view({s[0], s[1], widths_.hidden});
    };
    const auto join = [&](const Tensor& first, const Tensor& second) {
        return ghost::cat(tape, path_, std::array<Tensor, 2>{first, second}, 1);
    };
    const MmditQkv both{.q = join(text.qkv.q, image.qkv.q),
                        .k = join(text.qkv.k, image.qkv.k),
                        .v = join(text.qkv.v, image.qkv.v)};
    const Tensor attn = attend(both);
    const auto rows = [&](const Tensor& of) { return attn.view(of.shape()); };
    Tensor new_context;
    if (!context_.kind().pre_only)
        new_context = context_.after(tape, path_, context, rows(context), {}, text.modulation);
    const Tensor own_attn = x_.kind().self_attn ? attend(image.own) : Tensor();
    const Tensor new_x = x_.after(tape, path_, x, rows(x), own_attn, image.modulation);
    context = new_context;
    x = new_x;
}

MmditNetwork::MmditNetwork(const modelfile::MmditConfig& c)
    : config_(c),
      widths_{
          .hidden = kHeadDim * c.depth,
          .heads = c.depth,
          .mlp = static_cast<std::int64_t>(static_cast<double>(kHeadDim * c.depth) * c.mlp_ratio),
          .qk_norm = !c.qk_norm.empty()},
      root_([&] {
          const Module root = registry_.path("", "");
          registry_.add_buffer(root, "OpenAISignatureMMDITWrapper",
                               widths_.hidden * c.pos_embed_max_size * c.pos_embed_max_size,
                               ModuleStorage::AsNetwork, Saved::Yes);
          return root;
      }()),
      x_embedder_(registry_.path("x_embedder", "")),
      patch_proj_(registry_, registry_.path("x_embedder", "proj"), c.in_channels, widths_.hidden,
                  {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0}),
      t_embedder_(registry_, "t_embedder", kTimestepWidth, widths_.hidden, Bias::Yes,
                  kSequentialMlp),
      y_embedder_(c.adm_in_channels > 0
                      ? std::optional<MlpEmbedder>(std::in_place, registry_, "y_embedder",
                                                   c.adm_in_channels, widths_.hidden, Bias::Yes,
                                                   kSequentialMlp)
                      : std::nullopt),
      context_embedder_(registry_, registry_.path("context_embedder", ""),
                        c.context_embedder_config.params.in_features, widths_.hidden),
      blocks_([&] {
          const std::vector<int>& self = c.x_block_self_attn_layers;
          std::vector<MmditBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(
                  registry_, fmt::format("joint_blocks.{}", i), widths_, i + 1 == c.depth,
                  MmditStream::Kind{
                      .self_attn = std::find(self.begin(), self.end(), i) != self.end(),
                      .layout = image_layout(self, i)});
          return blocks;
      }()),
      final_layout_(image_layout(c.x_block_self_attn_layers, c.depth)),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), widths_.hidden,
                  Affine::No),
      final_linear_(registry_, registry_.path("final_layer", "linear"), widths_.hidden,
                    std::int64_t{c.in_channels} * c.patch_size * c.patch_size),
      final_silu_(registry_.path("final_layer", "adaLN_modulation.0")),
      final_modulation_(registry_, registry_.path("final_layer", "adaLN_modulation.1"),
                        widths_.hidden, kModulationsFinal * widths_.hidden) {}

StepInputs MmditNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input(
        {wish.cond_batch, call.tokens, config_.context_embedder_config.params.in_features},
        wish.type);
    if (y_embedder_) in.y = tape.input({wish.cond_batch, config_.adm_in_channels}, wish.type);
    return in;
}

std::vector<ModuleEntry> MmditNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor MmditNetwork::embed_patches(Tape& tape, const Tensor& latent) const {
    const Tensor patches = [&] {
        const Tensor padded = pad_to_patches(tape, x_embedder_, latent, config_.patch_size);
        return patch_proj_.forward(tape, padded);
    }();
    const std::int64_t rows = patches.shape()[2];
    const std::int64_t columns = patches.shape()[3];
    const Shape tokens{patches.shape()[0], rows * columns, widths_.hidden};
    const Tensor positions = [&] {
        // Whole rows of the table are a view; a crop is copied, and then again for its type.
        Tape::Cast crop;
        if (columns < config_.pos_embed_max_size)
            crop = tape.clone_weight({rows, columns, widths_.hidden}, root_);
        const Tensor copy = tape.make(tokens.with(0, 1), latent.type(), "_to_copy", root_);
        tape.charge(OpClass::Copy, "_to_copy", root_, 0,
                    copy.elements() * element_bytes(tape.options().storage) + copy.bytes());
        return copy;
    }();
    return ghost::binary(tape, "add", root_, patches.view(tokens), positions);
}

Tensor MmditNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t patch = config_.patch_size;
    Tensor x = embed_patches(tape, in.x);
    Tensor c = [&] {
        Tensor waves = timestep_embedding(tape, t_embedder_.path(), in.timesteps, kTimestepWidth);
        waves = ghost::to_type(tape, t_embedder_.path(), waves, in.x.type());
        return t_embedder_.forward(tape, waves);
    }();
    Tensor y;
    if (y_embedder_ && in.y.defined()) {
        y = y_embedder_->forward(tape, in.y);
        c = ghost::binary(tape, "add", root_, c, y);
    }
    const Tensor context = context_embedder_.forward(tape, in.context);
    x = forward_blocks(tape, x, context, c, in.control);
    const std::int64_t rows = (in.x.shape()[2] + patch - 1) / patch;
    const std::int64_t columns = (in.x.shape()[3] + patch - 1) / patch;
    return from_tokens(tape, root_, x, config_.in_channels, rows, columns, patch);
}

// The embedded patches and texts live on in the caller's frame.
Tensor MmditNetwork::forward_blocks(Tape& tape, Tensor x, const Tensor& embedded, const Tensor& c,
                                    const ControlTensors* control) const {
    Tensor context = embedded;
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        blocks_[i].forward(tape, context, x, c);
        add_control(tape, root_, control, i, blocks_.size(), x);
    }
    return forward_final(tape, x, c);
}

Tensor MmditNetwork::forward_final(Tape& tape, const Tensor& x, const Tensor& c) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_silu_, c);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor modulated = [&] {
        const Tensor normal = normalised(tape, final_norm_, x, final_layout_);
        const Tensor shift = part(modulation, widths_.hidden);
        return modulate(tape, final_, normal, shift, shift);
    }();
    return final_linear_.forward(tape, modulated);
}

Result<std::shared_ptr<const MmditNetwork>> build_mmdit(const modelfile::MmditConfig& c) {
    const bool sound = within(c.in_channels, 1, kWidthMax) && within(c.patch_size, 1, kPatchMax) &&
                       within(c.depth, 1, kDepthMax) && c.mlp_ratio > 0 &&
                       c.mlp_ratio <= kMlpRatioMax && within(c.adm_in_channels, 0, kWidthMax) &&
                       within(c.context_embedder_config.params.in_features, 1, kWidthMax) &&
                       within(c.pos_embed_max_size, 1, kTableMax) &&
                       (c.qk_norm.empty() || c.qk_norm == "rms");
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("MMDiT of {} blocks with patches of {}, {} x {} positions and "
                                "norm {:?} cannot be",
                                c.depth, c.patch_size, c.pos_embed_max_size, c.pos_embed_max_size,
                                c.qk_norm));
    return std::make_shared<const MmditNetwork>(c);
}

}  // namespace plimsoll::memory
