// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/ernie.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/dit/flux_blocks.h"
#include "memory/networks/dit/split_half_rope.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::ErnieConfig;

namespace {

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
constexpr int kModulations = 6;           // shift, scale and gate around attention and feed-forward
constexpr std::int64_t kAxes = 3;

}  // namespace

ErnieBlock::ErnieBlock(Registry& r, std::string_view path, const ErnieConfig& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      attention_norm_(r, r.path(path, "adaLN_sa_ln"), c.hidden_size),
      attention_(r.path(path, "self_attention")),
      to_q_(r, r.path(path, "self_attention.to_q"), c.hidden_size, c.hidden_size, Bias::No),
      to_k_(r, r.path(path, "self_attention.to_k"), c.hidden_size, c.hidden_size, Bias::No),
      to_v_(r, r.path(path, "self_attention.to_v"), c.hidden_size, c.hidden_size, Bias::No),
      norm_q_(r, r.path(path, "self_attention.norm_q"), c.hidden_size / c.num_attention_heads),
      norm_k_(r, r.path(path, "self_attention.norm_k"), c.hidden_size / c.num_attention_heads),
      to_out_(r, r.path(path, "self_attention.to_out.0"), c.hidden_size, c.hidden_size, Bias::No),
      mlp_norm_(r, r.path(path, "adaLN_mlp_ln"), c.hidden_size),
      mlp_(r.path(path, "mlp")),
      gate_proj_(r, r.path(path, "mlp.gate_proj"), c.hidden_size, c.ffn_hidden_size, Bias::No),
      up_proj_(r, r.path(path, "mlp.up_proj"), c.hidden_size, c.ffn_hidden_size, Bias::No),
      fc2_(r, r.path(path, "mlp.linear_fc2"), c.ffn_hidden_size, c.hidden_size, Bias::No) {}

// The projections live on beside what is made of them.
Tensor ErnieBlock::attend(Tape& tape, const Tensor& x, const Tensor& table) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const std::int64_t head_dim = x.shape().last() / heads_;
    const Shape heads{batch, tokens, heads_, head_dim};
    Tensor flat_q = to_q_.forward(tape, x).view(heads);
    Tensor flat_k = to_k_.forward(tape, x).view(heads);
    const Tensor v = to_v_.forward(tape, x).view(heads);
    Tensor q = norm_q_.forward(tape, flat_q);
    Tensor k = norm_k_.forward(tape, flat_k);
    q = apply_rope_split_half(tape, attention_, q, table);
    k = apply_rope_split_half(tape, attention_, k, table);
    flat_q = q;
    flat_k = k;
    const Tensor attended = ghost::attention(
        tape, attention_, q, k, v,
        {.batch = batch, .heads = heads_, .queries = tokens, .keys = tokens, .head_dim = head_dim});
    return to_out_.forward(tape, attended.view(x.shape()));
}

Tensor ErnieBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor gated = [&] {
        const Tensor up = up_proj_.forward(tape, x);
        const Tensor gate = [&] {
            const Tensor raw = gate_proj_.forward(tape, x);
            return ghost::unary(tape, "gelu", mlp_, raw);
        }();
        return ghost::binary(tape, "mul", mlp_, up, gate);
    }();
    return fc2_.forward(tape, gated);
}

// The modulated input and attention's output are variables of the whole function.
Tensor ErnieBlock::forward(Tape& tape, const Tensor& x, const Tensor& table,
                           const Tensor& part) const {
    const auto prepare = [&](const RmsNorm& norm, const Tensor& y) {
        const Tensor normal = norm.forward(tape, y);
        const Tensor product = [&] {
            const Tensor factor = ghost::unary(tape, "add", path_, part);
            return ghost::binary(tape, "mul", path_, normal, factor);
        }();
        return ghost::binary(tape, "add", path_, product, part);
    };
    const auto add_gated = [&](const Tensor& base, const Tensor& update) {
        const Tensor gated = ghost::binary(tape, "mul", path_, update, part);
        return ghost::binary(tape, "add", path_, base, gated);
    };
    Tensor in = prepare(attention_norm_, x);
    const Tensor attended = attend(tape, in, table);
    const Tensor middle = add_gated(x, attended);
    in = prepare(mlp_norm_, middle);
    const Tensor gated = [&] {
        const Tensor fed = feed_forward(tape, in);
        return ghost::binary(tape, "mul", path_, fed, part);
    }();
    return ghost::binary(tape, "add", path_, middle, gated);
}

ErnieNetwork::ErnieNetwork(const ErnieConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      x_embedder_(registry_, registry_.path("x_embedder", "proj"), c.in_channels, c.hidden_size,
                  {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0}),
      x_embedder_path_(registry_.path("x_embedder", "")),
      text_proj_(c.text_in_dim != c.hidden_size
                     ? std::optional<Linear>(std::in_place, registry_,
                                             registry_.path("text_proj", ""), c.text_in_dim,
                                             c.hidden_size, Bias::No)
                     : std::nullopt),
      time_proj_(registry_.path("time_proj", "")),
      time_in_(registry_, registry_.path("time_embedding", "linear_1"), c.hidden_size,
               c.hidden_size),
      time_act_(registry_.path("time_embedding", "act")),
      time_out_(registry_, registry_.path("time_embedding", "linear_2"), c.hidden_size,
                c.hidden_size),
      pe_(registry_.path("pos_embed", "")),
      modulation_act_(registry_.path("adaLN_modulation", "0")),
      modulation_(registry_, registry_.path("adaLN_modulation", "1"), c.hidden_size,
                  std::int64_t{kModulations} * c.hidden_size),
      layers_([&] {
          std::vector<ErnieBlock> layers;
          layers.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              layers.emplace_back(registry_, fmt::format("layers.{}", i), c);
          return layers;
      }()),
      final_(registry_.path("final_norm", "")),
      final_norm_(registry_, registry_.path("final_norm", "norm"), c.hidden_size, Affine::No),
      final_modulation_(registry_, registry_.path("final_norm", "linear"), c.hidden_size,
                        2 * std::int64_t{c.hidden_size}),
      final_linear_(registry_, registry_.path("final_linear", ""), c.hidden_size,
                    std::int64_t{c.out_channels} * c.patch_size * c.patch_size) {}

StepInputs ErnieNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_in_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> ErnieNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor ErnieNetwork::position_table(Tape& tape, std::int64_t batch, std::int64_t text_tokens,
                                    std::int64_t rows, std::int64_t columns) const {
    const PositionIds positions{.axes = kAxes, .type = ElementType::Float32};
    const Tensor text = text_ids(tape, root_, batch, text_tokens, positions, 1);
    const Tensor image =
        image_ids(tape, root_, batch, rows, columns, positions, ImageIndex::Written);
    const Tensor ids = ghost::cat(tape, root_, std::array<Tensor, 2>{image, text}, 1);
    return rope_table(tape, pe_, ids, config_.rope_axes_dim);
}

Tensor ErnieNetwork::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor modulation = final_modulation_.forward(tape, time);
    const Tensor part = modulation.view({x.shape()[0], 1, x.shape().last()});
    const Tensor normal = final_norm_.forward(tape, x);
    return modulate(tape, final_, normal, part, part);
}

Tensor ErnieNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t width = config_.hidden_size;
    const std::int64_t rows = in.x.shape()[2] / config_.patch_size;
    const std::int64_t columns = in.x.shape()[3] / config_.patch_size;
    const Tensor img = [&] {
        const Tensor cells = x_embedder_.forward(tape, in.x);
        return ghost::clone(tape, x_embedder_path_, cells, {batch, rows * columns, width});
    }();
    const Tensor txt = text_proj_ ? text_proj_->forward(tape, in.context) : in.context;
    Tensor x = ghost::cat(tape, root_, std::array<Tensor, 2>{img, txt}, 1);
    const Tensor table = position_table(tape, batch, txt.shape()[1], rows, columns);
    const Tensor waves = [&] {
        const Tensor wide =
            timestep_embedding(tape, time_proj_, in.timesteps, width, ElementType::Float32);
        return ghost::to_type(tape, root_, wide, in.x.type());
    }();
    const Tensor time = [&] {
        const Tensor hidden = [&] {
            const Tensor first = time_in_.forward(tape, waves);
            return ghost::unary(tape, "silu", time_act_, first);
        }();
        return time_out_.forward(tape, hidden);
    }();
    // Parts of one row are contiguous as they are; of several each is copied.
    const std::vector<Tensor> parts = [&] {
        const Tensor all = [&] {
            const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
            return modulation_.forward(tape, active);
        }();
        std::vector<Tensor> copies;
        copies.reserve(kModulations);
        for (int i = 0; i < kModulations; ++i) {
            const Tensor part = all.view({batch, 1, width});
            copies.push_back(batch == 1 ? part : ghost::clone(tape, root_, part, part.shape()));
        }
        return copies;
    }();
    for (const ErnieBlock& layer : layers_) x = layer.forward(tape, x, table, parts.front());
    x = forward_final(tape, x, time);
    const Tensor out = final_linear_.forward(tape, x);
    return ghost::clone(
               tape, root_, out.view({batch, rows * columns, out.shape().last()}),
               {batch, config_.out_channels, rows, config_.patch_size, columns, config_.patch_size})
        .view({batch, config_.out_channels, in.x.shape()[2], in.x.shape()[3]});
}

Result<std::shared_ptr<const Denoiser>> build_ernie(const ErnieConfig& c) {
    const bool sound =
        within(c.hidden_size, 2, kWidthMax) && c.hidden_size % 2 == 0 &&
        within(c.num_attention_heads, 1, c.hidden_size) &&
        c.hidden_size % c.num_attention_heads == 0 && within(c.num_layers, 0, kDepthMax) &&
        within(c.ffn_hidden_size, 1, kWidthMax) && within(c.in_channels, 1, kWidthMax) &&
        within(c.out_channels, 1, kWidthMax) && within(c.patch_size, 1, kPatchMax) &&
        within(c.text_in_dim, 1, kWidthMax) && c.rope_axes_dim.size() == kAxes &&
        rotated_channels(c.rope_axes_dim) == c.hidden_size / c.num_attention_heads;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("ERNIE-Image of width {} with {} heads, {} layers and {} channels "
                                "cannot be",
                                c.hidden_size, c.num_attention_heads, c.num_layers, c.in_channels));
    return std::make_shared<const ErnieNetwork>(c);
}

}  // namespace plimsoll::memory
