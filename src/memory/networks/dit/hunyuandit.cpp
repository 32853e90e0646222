// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuandit.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kPooledWidth = 1024;
constexpr std::int64_t kPoolerHeads = 8;
constexpr std::int64_t kExtraRatio = 4;  // of the hidden layer for the pooled text
constexpr std::int64_t kT5Ratio = 4;
constexpr std::int64_t kSigmas = 2000;    // of ComfyUI's discrete schedule, and their logarithms
constexpr std::int64_t kMetaNumbers = 6;  // sizes of the image, which 1.2 is given but leaves alone
constexpr std::int64_t kTextTokensMax = 1 << 16;

}  // namespace

HunyuanDitAttention::HunyuanDitAttention(Registry& r, std::string_view path,
                                         const HunyuanDitWidths& w, Source source)
    : path_(r.path(path, "")),
      widths_(w),
      q_(source == Source::Itself ? Linear(r, r.path(path, "Wqkv"), w.hidden, 3 * w.hidden)
                                  : Linear(r, r.path(path, "q_proj"), w.hidden, w.hidden)),
      kv_(source == Source::Text ? std::optional<Linear>(std::in_place, r, r.path(path, "kv_proj"),
                                                         w.text, 2 * w.hidden)
                                 : std::nullopt),
      q_norm_(r, r.path(path, "q_norm"), w.head_dim()),
      k_norm_(r, r.path(path, "k_norm"), w.head_dim()),
      out_(r, r.path(path, "out_proj"), w.hidden, w.hidden) {}

// x * cos + (pairs swapped, one negated) * sin; the tables are in the network's own type.
Tensor HunyuanDitAttention::rotate(Tape& tape, const Tensor& x) const {
    const Tensor straight = ghost::unary(tape, "mul", path_, x);
    const Tensor crossed = [&] {
        const Tensor turned = [&] {
            const Tensor half = x.view(x.shape().with_last(x.shape().last() / 2));
            const Tensor negated = ghost::unary(tape, "neg", path_, half);
            return ghost::combine(tape, "stack", path_, {&negated, &half}, x.shape(), x.type());
        }();
        return ghost::unary(tape, "mul", path_, turned);
    }();
    return ghost::binary(tape, "add", path_, straight, crossed);
}

// The queries lie head by head, and so does flash attention's result, which is copied.
Tensor HunyuanDitAttention::attend(Tape& tape, const Tensor& q, const Tensor& k,
                                   const Tensor& v) const {
    const std::int64_t batch = q.shape()[0];
    const std::int64_t queries = q.elements() / batch / widths_.hidden;
    const Shape joined{batch, queries, widths_.hidden};
    Tensor out = ghost::attention(tape, path_, q, k, v,
                                  {.batch = batch,
                                   .heads = widths_.heads,
                                   .queries = queries,
                                   .keys = k.elements() / batch / widths_.hidden,
                                   .head_dim = widths_.head_dim()});
    if (runs_flash(tape, q.type(), widths_.head_dim()))
        out = ghost::clone(tape, path_, out, joined);
    return out_.forward(tape, out.view(joined));
}

Tensor HunyuanDitAttention::forward(Tape& tape, const Tensor& x, const Tensor& text) const {
    const std::int64_t batch = x.shape()[0];
    const auto by_head = [&](const Tensor& t) {
        return Shape{batch, widths_.heads, t.shape()[1], widths_.head_dim()};
    };
    const Tensor projected = q_.forward(tape, x);
    if (!kv_) {
        const Tensor part = projected.view(by_head(x));
        Tensor q = q_norm_.forward_strided(tape, part);
        Tensor k = k_norm_.forward_strided(tape, part);
        Tensor rotated_q = rotate(tape, q);
        Tensor rotated_k = rotate(tape, k);
        q = std::move(rotated_q);
        k = std::move(rotated_k);
        return attend(tape, q, k, part);
    }
    const Tensor kv = kv_->forward(tape, text);
    const Tensor part = kv.view(by_head(text));
    Tensor q = q_norm_.forward(tape, projected.view(by_head(x)));
    Tensor k = k_norm_.forward_strided(tape, part);
    q = rotate(tape, q);
    q = ghost::clone(tape, path_, q, q.shape());
    k = ghost::clone(tape, path_, k, k.shape());
    const Tensor v = ghost::clone(tape, path_, part, part.shape());
    return attend(tape, q, k, v);
}

HunyuanDitBlock::HunyuanDitBlock(Registry& r, std::string_view path, const HunyuanDitWidths& w,
                                 Half half)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "norm1"), w.hidden),
      attn1_(r, *r.path(path, "attn1"), w, HunyuanDitAttention::Source::Itself),
      norm2_(r, r.path(path, "norm2"), w.hidden),
      mlp_in_(r, r.path(path, "mlp.fc1"), w.hidden, w.mlp),
      mlp_act_(r.path(path, "mlp.act")),
      mlp_out_(r, r.path(path, "mlp.fc2"), w.mlp, w.hidden),
      modulation_act_(r.path(path, "default_modulation.0")),
      modulation_(r, r.path(path, "default_modulation.1"), w.hidden, w.hidden),
      attn2_(r, *r.path(path, "attn2"), w, HunyuanDitAttention::Source::Text),
      norm3_(r, r.path(path, "norm3"), w.hidden) {
    if (half == Half::First) return;
    skip_norm_.emplace(r, r.path(path, "skip_norm"), 2 * w.hidden);
    skip_linear_.emplace(r, r.path(path, "skip_linear"), 2 * w.hidden, w.hidden);
}

// The patches come transposed from their convolution, and all that is added to them is laid out as
// they are, up to the first skip connection.
Tensor HunyuanDitBlock::normal(Tape& tape, const LayerNorm& norm, const Tensor& x) const {
    return skip_linear_ ? norm.forward(tape, x) : norm.forward_strided(tape, x);
}

// The inputs of both attentions live in variables to the end of the block.
Tensor HunyuanDitBlock::forward(Tape& tape, const Tensor& callers_x, const Tensor& condition,
                                const Tensor& text, const Tensor& skip) const {
    Tensor x = callers_x;
    Tensor joined;
    if (skip_linear_) {
        joined = ghost::cat(tape, path_, std::array<Tensor, 2>{x, skip}, 2);
        joined = skip_norm_->forward(tape, joined);
        x = skip_linear_->forward(tape, joined);
    }
    const Tensor shift = [&] {
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, condition);
        return modulation_.forward(tape, active);
    }();
    const auto add = [&](const Tensor& update) {
        x = ghost::binary(tape, "add", path_, x, update);
    };
    const Tensor shifted = [&] {
        const Tensor in = normal(tape, norm1_, x);
        return ghost::binary(tape, "add", path_, in, shift);
    }();
    add(attn1_.forward(tape, shifted, {}));
    const Tensor crossed = normal(tape, norm3_, x);
    add(attn2_.forward(tape, crossed, text));
    const Tensor mlp_input = normal(tape, norm2_, x);
    add([&] {
        const Tensor hidden = [&] {
            const Tensor first = mlp_in_.forward(tape, mlp_input);
            return ghost::unary(tape, "gelu", mlp_act_, first);
        }();
        return mlp_out_.forward(tape, hidden);
    }());
    return x;
}

HunyuanDitPooler::HunyuanDitPooler(Registry& r, std::string_view path, std::int64_t tokens,
                                   std::int64_t width)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "AttentionPool", (tokens + 1) * width,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      tokens_(tokens),
      width_(width),
      k_(r, r.path(path, "k_proj"), width, width),
      q_(r, r.path(path, "q_proj"), width, width),
      v_(r, r.path(path, "v_proj"), width, width),
      out_(r, r.path(path, "c_proj"), width, kPooledWidth) {}

// Token by token, their mean in front; the mean alone asks.
Tensor HunyuanDitPooler::forward(Tape& tape, const Tensor& tokens) const {
    const std::int64_t batch = tokens.shape()[0];
    const Tensor x = [&] {
        const Tensor by_token = tokens.view({tokens_, batch, width_});
        const Tensor joined = [&] {
            const Tensor mean = ghost::produce(tape, OpClass::Normalization, "mean", path_,
                                               by_token, {1, batch, width_}, tokens.type());
            return ghost::cat(tape, path_, std::array<Tensor, 2>{mean, by_token}, 0);
        }();
        const Tape::Cast positions = tape.clone_weight({tokens_ + 1, width_}, path_);
        return ghost::unary(tape, "add", path_, joined);
    }();
    const Tensor q = q_.forward(tape, x.view({1, batch, width_}));
    const Tensor k = k_.forward(tape, x);
    const Tensor v = v_.forward(tape, x);
    const Tensor pooled = ghost::attention(tape, path_, q, k, v,
                                           {.batch = batch,
                                            .heads = kPoolerHeads,
                                            .queries = 1,
                                            .keys = tokens_ + 1,
                                            .head_dim = width_ / kPoolerHeads});
    return out_.forward(tape, pooled.view({batch, width_}));
}

HunyuanDitNetwork::HunyuanDitNetwork(const modelfile::HunyuanDitConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
              .text = c.text_states_dim},
      root_([&] {
          const Module own = registry_.path("", "");
          registry_.add_own_parameters(
              own, "HunYuanDiT", (std::int64_t{c.text_len} + c.text_len_t5) * c.text_states_dim,
              ModuleStorage::AsNetwork);
          return own;
      }()),
      t5_in_(registry_, registry_.path("mlp_t5", "0"), c.text_states_dim_t5,
             kT5Ratio * c.text_states_dim_t5),
      t5_act_(registry_.path("mlp_t5", "1")),
      t5_out_(registry_, registry_.path("mlp_t5", "2"), kT5Ratio * c.text_states_dim_t5,
              c.text_states_dim),
      pooler_(registry_, "pooler", c.text_len_t5, c.text_states_dim_t5),
      x_embedder_(registry_.path("x_embedder", "")),
      patch_proj_(registry_, registry_.path("x_embedder", "proj"), c.in_channels, c.hidden_size,
                  {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0}),
      t_embedder_(registry_, "t_embedder", kTimestepWidth, c.hidden_size, Bias::Yes,
                  kSequentialMlp),
      extra_in_(registry_, registry_.path("extra_embedder", "0"), kPooledWidth,
                kExtraRatio * c.hidden_size),
      extra_act_(registry_.path("extra_embedder", "1")),
      extra_out_(registry_, registry_.path("extra_embedder", "2"), kExtraRatio * c.hidden_size,
                 c.hidden_size),
      blocks_([&] {
          std::vector<HunyuanDitBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(
                  registry_, fmt::format("blocks.{}", i), widths_,
                  i > c.depth / 2 ? HunyuanDitBlock::Half::Second : HunyuanDitBlock::Half::First);
          return blocks;
      }()),
      final_(registry_.path("final_layer", "")),
      // Mean and deviation are learned.
      final_linear_(registry_, registry_.path("final_layer", "linear"), c.hidden_size,
                    std::int64_t{2} * c.in_channels * c.patch_size * c.patch_size),
      final_act_(registry_.path("final_layer", "adaLN_modulation.0")),
      final_modulation_(registry_, registry_.path("final_layer", "adaLN_modulation.1"),
                        c.hidden_size, 2 * std::int64_t{c.hidden_size}),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), c.hidden_size,
                  Affine::No) {}

StepInputs HunyuanDitNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context =
        tape.input({wish.cond_batch, config_.text_len, config_.text_states_dim}, wish.type);
    const auto more = [&](const Shape& shape) { in.more.push_back(tape.input(shape, wish.type)); };
    more({wish.cond_batch, config_.text_len});
    more({wish.cond_batch, config_.text_len_t5, config_.text_states_dim_t5});
    more({wish.cond_batch, config_.text_len_t5});
    more({wish.cond_batch, kMetaNumbers});
    return in;
}

std::vector<ModuleEntry> HunyuanDitNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// What the masks hide is replaced by a learned padding, in place.
HunyuanDitNetwork::Texts HunyuanDitNetwork::embed_texts(Tape& tape, const StepInputs& in) const {
    Texts texts;
    texts.mask = ghost::to_type(tape, root_, in.more[0], ElementType::Bool);
    texts.mask_t5 = ghost::to_type(tape, root_, in.more[2], ElementType::Bool);
    const Shape& s = in.more[1].shape();
    texts.t5 = [&] {
        const Tensor hidden = [&] {
            const Tensor first = t5_in_.forward(tape, in.more[1]);
            return ghost::unary(tape, "silu", t5_act_, first);
        }();
        return t5_out_.forward(tape, hidden).view({s[0], s[1], config_.text_states_dim});
    }();
    const auto pad = [&](const Tensor& text, const Tensor& mask) {
        const Tensor chosen =
            ghost::combine(tape, "where", root_, {&mask, &text}, text.shape(), text.type());
        ghost::binary_in_place(tape, "copy_", root_, text, chosen);
    };
    pad(in.context, texts.mask);
    pad(texts.t5, texts.mask_t5);
    texts.all = ghost::cat(tape, root_, std::array<Tensor, 2>{in.context, texts.t5}, 1);
    return texts;
}

Tensor HunyuanDitNetwork::run_blocks(Tape& tape, Tensor x, const Tensor& condition,
                                     const Tensor& text) const {
    std::vector<Tensor> skips;
    const std::size_t middle = blocks_.size() / 2;
    Tensor skip;  // the loop's variables outlive it
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        if (i > middle) {
            skip = std::move(skips.back());
            skips.pop_back();
            x = blocks_[i].forward(tape, x, condition, text, skip);
        } else {
            x = blocks_[i].forward(tape, x, condition, text, {});
        }
        if (i + 1 < middle) skips.push_back(x);
    }
    return forward_final(tape, x, condition);
}

Tensor HunyuanDitNetwork::forward_final(Tape& tape, const Tensor& x,
                                        const Tensor& condition) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_act_, condition);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, widths_.hidden});
    const Tensor in = [&] {
        const Tensor product = [&] {
            const Tensor normal = final_norm_.forward(tape, x);
            return scaled(tape, final_, normal, part);
        }();
        return ghost::binary(tape, "add", final_, product, part);
    }();
    return final_linear_.forward(tape, in);
}

Tensor HunyuanDitNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const std::int64_t patch = config_.patch_size;
    const Tape::Cast padding = tape.clone_weight(
        {std::int64_t{config_.text_len} + config_.text_len_t5, config_.text_states_dim}, root_);
    const Texts texts = embed_texts(tape, in);
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t rows = (in.x.shape()[2] + patch / 2) / patch;
    const std::int64_t columns = (in.x.shape()[3] + patch / 2) / patch;
    // The tables of positions, computed elsewhere and moved here.
    const Shape table{rows * columns, widths_.head_dim()};
    const Tensor cos = ghost::create(tape, "_to_copy", root_, table, type);
    const Tensor sin = ghost::create(tape, "_to_copy", root_, table, type);

    const Tensor time = [&] {
        Tensor waves = timestep_embedding(tape, t_embedder_.path(), in.timesteps, kTimestepWidth);
        waves = ghost::to_type(tape, t_embedder_.path(), waves, type);
        return t_embedder_.forward(tape, waves);
    }();
    Tensor x = [&] {
        const Tensor padded = pad_to_patches(tape, x_embedder_, in.x, patch);
        return patch_proj_.forward(tape, padded).view({batch, rows * columns, widths_.hidden});
    }();
    const Tensor pooled = pooler_.forward(tape, in.more[1]);
    const Tensor condition = [&] {
        const Tensor extra = [&] {
            const Tensor hidden = [&] {
                const Tensor first = extra_in_.forward(tape, pooled);
                return ghost::unary(tape, "silu", extra_act_, first);
            }();
            return extra_out_.forward(tape, hidden);
        }();
        return ghost::binary(tape, "add", root_, time, extra);
    }();
    const Tensor out = run_blocks(tape, std::move(x), condition, texts.all);
    return from_tokens(tape, root_, out, 2 * std::int64_t{config_.in_channels}, rows, columns,
                       patch)
        .view(in.x.shape());  // without the deviations
}

Result<std::shared_ptr<const Denoiser>> build_hunyuandit(const modelfile::HunyuanDitConfig& c) {
    const bool sound =
        within(c.patch_size, 2, kPatchMax) && within(c.in_channels, 1, kWidthMax) &&
        within(c.hidden_size, 1, kWidthMax) && within(c.num_heads, 1, c.hidden_size) &&
        c.hidden_size % c.num_heads == 0 && c.hidden_size / c.num_heads % 8 == 0 &&
        within(c.depth, 4, kDepthMax) && c.depth % 2 == 0 && c.mlp_ratio > 0 &&
        c.mlp_ratio <= kMlpRatioMax && within(c.text_states_dim, 1, kWidthMax) &&
        within(c.text_states_dim_t5, kPoolerHeads, kWidthMax) &&
        c.text_states_dim_t5 % kPoolerHeads == 0 && within(c.text_len, 1, kTextTokensMax) &&
        within(c.text_len_t5, 1, kTextTokensMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Hunyuan-DiT with {} blocks, {} heads of {} in all and patches of "
                                "{} cannot be",
                                c.depth, c.num_heads, c.hidden_size, c.patch_size));
    return std::make_shared<const HunyuanDitNetwork>(c);
}

}  // namespace plimsoll::memory
