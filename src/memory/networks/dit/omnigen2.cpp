// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/omnigen2.h"

#include "memory/networks/dit/boogu_block.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::OmniGen2Config;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kTimeWidthMax = 1024;  // of the timestep's vector
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's plain flow schedule
constexpr std::int64_t kReferencesMax = 5;    // each has an embedding of its own
constexpr std::int64_t kMlpRatio = 4;
constexpr int kModulations = 4;  // scale and gate around attention and feed-forward

std::int64_t feed_forward_width(const OmniGen2Config& c) {
    const std::int64_t width = kMlpRatio * c.hidden_size;
    return (width + c.multiple_of - 1) / c.multiple_of * c.multiple_of;
}

}  // namespace

std::int64_t omnigen2_time_width(const OmniGen2Config& c) {
    return std::min<std::int64_t>(c.hidden_size, kTimeWidthMax);
}

OmniGen2Attention::OmniGen2Attention(Registry& r, std::string_view path, const OmniGen2Config& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_kv_heads),
      head_dim_(c.hidden_size / c.num_attention_heads),
      to_q_(r, r.path(path, "to_q"), c.hidden_size, heads_ * head_dim_, Bias::No),
      to_k_(r, r.path(path, "to_k"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      to_v_(r, r.path(path, "to_v"), c.hidden_size, kv_heads_ * head_dim_, Bias::No),
      norm_q_(r, r.path(path, "norm_q"), head_dim_),
      norm_k_(r, r.path(path, "norm_k"), head_dim_),
      to_out_(r, r.path(path, "to_out.0"), heads_ * head_dim_, c.hidden_size, Bias::No) {}

Tensor OmniGen2Attention::forward(Tape& tape, const Tensor& x, const Tensor& table) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Shape narrow{batch, tokens, kv_heads_, head_dim_};
    Tensor q = to_q_.forward(tape, x).view({batch, tokens, heads_, head_dim_});
    Tensor k = to_k_.forward(tape, x).view(narrow);
    Tensor v = to_v_.forward(tape, x).view(narrow);
    q = norm_q_.forward(tape, q);
    k = norm_k_.forward(tape, k);
    // Since 0.33.0 rotated as Flux does, and the kernel shares keys and values among the heads.
    const bool newer = since_033(tape);
    const auto rotated = [&](const Tensor& t) {
        return newer ? apply_rope(tape, path_, t, table) : apply_rope_narrow(tape, path_, t, table);
    };
    q = rotated(q);
    k = rotated(k);
    if (!newer && kv_heads_ < heads_) {
        const auto repeated = [&](const Tensor& t) {
            return ghost::clone(tape, path_, t,
                                {batch, kv_heads_, heads_ / kv_heads_, tokens, head_dim_});
        };
        k = repeated(k);
        v = repeated(v);
    }
    const Tensor attended = ghost::attention(tape, path_, q, k, v,
                                             {.batch = batch,
                                              .heads = heads_,
                                              .queries = tokens,
                                              .keys = tokens,
                                              .head_dim = head_dim_});
    return to_out_.forward(tape, attended.view({batch, tokens, heads_ * head_dim_}));
}

OmniGen2FeedForward::OmniGen2FeedForward(Registry& r, std::string_view path,
                                         const OmniGen2Config& c)
    : path_(r.path(path, "")),
      linear_1_(r, r.path(path, "linear_1"), c.hidden_size, feed_forward_width(c), Bias::No),
      linear_2_(r, r.path(path, "linear_2"), feed_forward_width(c), c.hidden_size, Bias::No),
      linear_3_(r, r.path(path, "linear_3"), c.hidden_size, feed_forward_width(c), Bias::No) {}

OmniGen2Block::OmniGen2Block(Registry& r, std::string_view path, const OmniGen2Config& c,
                             Modulated modulated)
    : path_(r.path(path, "")),
      width_(c.hidden_size),
      attn_(r, *r.path(path, "attn"), c),
      feed_forward_(r, *r.path(path, "feed_forward"), c),
      modulator_(r.path(path, "norm1")),
      modulation_act_(r.path(path, "norm1.silu")),
      modulation_(modulated == Modulated::Yes
                      ? std::optional<Linear>(std::in_place, r, r.path(path, "norm1.linear"),
                                              omnigen2_time_width(c),
                                              std::int64_t{kModulations} * c.hidden_size)
                      : std::nullopt),
      norm1_(r, r.path(path, modulated == Modulated::Yes ? "norm1.norm" : "norm1"), c.hidden_size),
      ffn_norm1_(r, r.path(path, "ffn_norm1"), c.hidden_size),
      norm2_(r, r.path(path, "norm2"), c.hidden_size),
      ffn_norm2_(r, r.path(path, "ffn_norm2"), c.hidden_size) {}

// Both halves live until the function returns; since 0.33.0 the gate is applied in place.
Tensor OmniGen2FeedForward::forward(Tape& tape, const Tensor& x) const {
    const Tensor first = linear_1_.forward(tape, x);
    const Tensor third = linear_3_.forward(tape, x);
    if (since_033(tape)) {
        ghost::unary_in_place(tape, "silu_", path_, first);
        ghost::binary_in_place(tape, "mul_", path_, first, third);
        return linear_2_.forward(tape, first);
    }
    const Tensor gated = [&] {
        const Tensor active = ghost::unary(tape, "silu", path_, first);
        return ghost::binary(tape, "mul", path_, active, third);
    }();
    return linear_2_.forward(tape, gated);
}

// Attention's input and output and the feed-forward's output are variables of the whole function.
Tensor OmniGen2Block::forward(Tape& tape, const Tensor& x, const Tensor& table,
                              const Tensor& time) const {
    if (modulation_) return forward_modulated(tape, x, table, time);
    const Tensor normal = norm1_.forward(tape, x);
    const Tensor attended = attn_.forward(tape, normal, table);
    const auto add_normal = [&](const Tensor& base, const RmsNorm& norm, const Tensor& update) {
        const Tensor normal_update = norm.forward(tape, update);
        return ghost::binary(tape, "add", path_, base, normal_update);
    };
    const Tensor middle = add_normal(x, norm2_, attended);
    const Tensor fed = [&] {
        const Tensor in = ffn_norm1_.forward(tape, middle);
        return feed_forward_.forward(tape, in);
    }();
    return add_normal(middle, ffn_norm2_, fed);
}

Tensor OmniGen2Block::forward_modulated(Tape& tape, const Tensor& x, const Tensor& table,
                                        const Tensor& time) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
        return modulation_->forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, width_});
    const auto prepare = [&](const RmsNorm& norm, Module module, const Tensor& y) {
        const Tensor normal = norm.forward(tape, y);
        return scaled(tape, module, normal, part);
    };
    const auto add_gated = [&](const Tensor& base, const RmsNorm& norm, const Tensor& update) {
        const Tensor gated = [&] {
            const Tensor gate = ghost::unary(tape, "tanh", path_, part);
            const Tensor normal = norm.forward(tape, update);
            return ghost::binary(tape, "mul", path_, normal, gate);
        }();
        return ghost::binary(tape, "add", path_, base, gated);
    };
    const Tensor modulated = prepare(norm1_, modulator_, x);
    const Tensor attended = attn_.forward(tape, modulated, table);
    const Tensor middle = add_gated(x, norm2_, attended);
    const Tensor fed = [&] {
        const Tensor in = prepare(ffn_norm1_, path_, middle);
        return feed_forward_.forward(tape, in);
    }();
    return add_gated(middle, ffn_norm2_, fed);
}

namespace {

std::vector<OmniGen2Block> make_blocks(Registry& r, std::string_view name, int count,
                                       const OmniGen2Config& c,
                                       OmniGen2Block::Modulated modulated) {
    std::vector<OmniGen2Block> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}", name, i), c, modulated);
    return blocks;
}

}  // namespace

OmniGen2Network::OmniGen2Network(const OmniGen2Config& c, std::optional<int> double_layers)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          registry_.add_own_parameters(
              root, double_layers ? "BooguTransformer2DModel" : "OmniGen2Transformer2DModel",
              kReferencesMax * c.hidden_size, ModuleStorage::AsNetwork);
          return root;
      }()),
      rope_(registry_.path("rope_embedder", "")),
      rope_axes_(registry_.path("rope_embedder", "rope_embedder")),
      x_embedder_(registry_, registry_.path("x_embedder", ""),
                  std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.hidden_size),
      reference_embedder_(registry_, registry_.path("ref_image_patch_embedder", ""),
                          std::int64_t{c.in_channels} * c.patch_size * c.patch_size, c.hidden_size),
      condition_(registry_.path("time_caption_embed", "")),
      time_proj_(registry_.path("time_caption_embed", "time_proj")),
      time_in_(registry_, registry_.path("time_caption_embed", "timestep_embedder.linear_1"),
               kTimestepWidth, omnigen2_time_width(c)),
      time_act_(registry_.path("time_caption_embed", "timestep_embedder.act")),
      time_out_(registry_, registry_.path("time_caption_embed", "timestep_embedder.linear_2"),
                omnigen2_time_width(c), omnigen2_time_width(c)),
      text_norm_(registry_, registry_.path("time_caption_embed", "caption_embedder.0"),
                 c.text_feat_dim),
      text_in_(registry_, registry_.path("time_caption_embed", "caption_embedder.1"),
               c.text_feat_dim, c.hidden_size),
      noise_refiner_(make_blocks(registry_, "noise_refiner", c.num_refiner_layers, c,
                                 OmniGen2Block::Modulated::Yes)),
      reference_refiner_(make_blocks(registry_, "ref_image_refiner", c.num_refiner_layers, c,
                                     OmniGen2Block::Modulated::Yes)),
      context_refiner_(make_blocks(registry_, "context_refiner", c.num_refiner_layers, c,
                                   OmniGen2Block::Modulated::No)),
      double_layers_([&] {
          std::vector<BooguDoubleBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(double_layers.value_or(0)));
          for (int i = 0; i < double_layers.value_or(0); ++i)
              blocks.emplace_back(registry_, fmt::format("double_stream_layers.{}", i), c);
          return blocks;
      }()),
      layers_(make_blocks(registry_, double_layers ? "single_stream_layers" : "layers",
                          c.num_layers, c, OmniGen2Block::Modulated::Yes)),
      final_(registry_.path("norm_out", "")),
      final_act_(registry_.path("norm_out", "silu")),
      final_modulation_(registry_, registry_.path("norm_out", "linear_1"), omnigen2_time_width(c),
                        c.hidden_size),
      final_norm_(registry_, registry_.path("norm_out", "norm"), c.hidden_size, Affine::No),
      final_linear_(registry_, registry_.path("norm_out", "linear_2"), c.hidden_size,
                    std::int64_t{c.in_channels} * c.patch_size * c.patch_size) {}

OmniGen2Network::~OmniGen2Network() = default;

StepInputs OmniGen2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_feat_dim}, wish.type);
    for (const LatentExtent& reference : call.references)
        in.references.push_back(tape.input(
            {wish.cond_batch, config_.in_channels, reference.height, reference.width}, wish.type));
    return in;
}

std::vector<ModuleEntry> OmniGen2Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

OmniGen2Network::Condition OmniGen2Network::embed_condition(Tape& tape, const Tensor& timesteps,
                                                            const Tensor& context) const {
    Condition condition;
    const Tensor waves = [&] {
        const Tensor wide = scaled_timestep_embedding(tape, time_proj_, timesteps, kTimestepWidth);
        return ghost::to_type(tape, condition_, wide, context.type());
    }();
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_act_, first);
    }();
    condition.time = time_out_.forward(tape, hidden);
    const Tensor normal = text_norm_.forward(tape, context);
    condition.text = text_in_.forward(tape, normal);
    return condition;
}

OmniGen2Network::References OmniGen2Network::flatten_references(
    Tape& tape, const std::vector<Tensor>& latents) const {
    References references;
    std::vector<Tensor> padded;
    for (const Tensor& latent : latents) {
        padded.push_back(pad_to_patches(tape, root_, latent, config_.patch_size));
        const Shape& s = padded.back().shape();
        references.grids.push_back({.height = static_cast<int>(s[2] / config_.patch_size),
                                    .width = static_cast<int>(s[3] / config_.patch_size)});
    }
    std::vector<Tensor> tokens;
    tokens.reserve(padded.size());
    for (const Tensor& image : padded)
        tokens.push_back(to_tokens(tape, root_, image, config_.patch_size));
    if (!tokens.empty()) references.tokens = ghost::cat(tape, root_, tokens, 1);
    return references;
}

namespace {

void write(Tape& tape, Module module, const Tensor& into, const Tensor& from) {
    tape.charge(OpClass::Copy, "copy_", module, 0, into.bytes() + from.bytes());
}

// Row and column of each token of a grid; the grid's own shift is written beside them.
struct GridIds {
    Tensor rows;
    Tensor columns;
};
void write_grid(Tape& tape, Module module, const LatentExtent& grid, GridIds& ids) {
    const auto positions = [&](std::int64_t length) {
        const Tensor steps = ghost::create(tape, "arange", module, {length}, ElementType::Int32);
        return ghost::produce(tape, OpClass::Copy, "clone", module, steps,
                              {grid.height, grid.width}, steps.type());
    };
    ids.rows = positions(grid.height);
    ids.columns = positions(grid.width);
    {
        const Tensor shift = ghost::create(tape, "scalar_tensor", module, {1}, ElementType::Int32);
        write(tape, module, ids.rows, shift);
    }
    write(tape, module, ids.rows, ids.rows);
    write(tape, module, ids.columns, ids.columns);
}

std::int64_t token_count(const std::vector<LatentExtent>& grids) {
    std::int64_t tokens = 0;
    for (const LatentExtent& grid : grids) tokens += std::int64_t{grid.height} * grid.width;
    return tokens;
}

}  // namespace

OmniGen2Network::Tables OmniGen2Network::position_tables(
    Tape& tape, std::int64_t batch, std::int64_t text_tokens,
    const std::vector<LatentExtent>& references, const LatentExtent& image) const {
    const std::int64_t image_tokens = token_count({image});
    const std::int64_t reference_tokens = token_count(references);
    const std::int64_t all_tokens = text_tokens + reference_tokens + image_tokens;
    const Tensor ids =
        ghost::create(tape, "zeros", rope_, {batch, all_tokens, 3}, ElementType::Int32);
    GridIds last;  // the loop's variables outlive it
    for (std::int64_t i = 0; i < batch; ++i) {
        {
            const Tensor steps =
                ghost::create(tape, "arange", rope_, {text_tokens}, ElementType::Int32);
            write(tape, rope_, ids.view({text_tokens, 3}), steps);
        }
        for (const LatentExtent& reference : references) write_grid(tape, rope_, reference, last);
        write_grid(tape, rope_, image, last);
    }
    Tables tables;
    tables.all = rope_table(tape, rope_axes_, ids, config_.axes_dim_rope);
    const auto table_for = [&](std::int64_t tokens) {
        return ghost::create(tape, "zeros", rope_, tables.all.shape().with(1, tokens),
                             tables.all.type());
    };
    tables.text = table_for(text_tokens);
    tables.references = table_for(reference_tokens);
    tables.image = table_for(image_tokens);
    for (std::int64_t i = 0; i < batch; ++i)
        for (const Tensor* table : {&tables.text, &tables.references, &tables.image}) {
            const Tensor one = table->view(table->shape().with(0, 1));
            write(tape, rope_, one, one);
        }
    return tables;
}

Tensor OmniGen2Network::refine_images(Tape& tape, const Tensor& image, const References& references,
                                      const Tables& tables, const Tensor& time) const {
    Tensor img = x_embedder_.forward(tape, image);
    Tensor refs;
    Tensor index_embedding;
    if (references.tokens.defined()) {
        refs = reference_embedder_.forward(tape, references.tokens);
        if (tape.casts_weights())
            index_embedding = ghost::create(tape, "_to_copy", root_,
                                            {kReferencesMax, config_.hidden_size}, img.type());
        for (std::int64_t i = 0; i < img.shape()[0]; ++i)
            for (const LatentExtent& grid : references.grids) {
                const Tensor own = refs.view({token_count({grid}), config_.hidden_size});
                const Tensor marked = ghost::unary(tape, "add", root_, own);
                write(tape, root_, own, marked);
            }
    }
    for (const OmniGen2Block& block : noise_refiner_)
        img = block.forward(tape, img, tables.image, time);
    if (!refs.defined()) return img;
    for (const OmniGen2Block& block : reference_refiner_)
        refs = block.forward(tape, refs, tables.references, time);
    return ghost::cat(tape, root_, std::array<Tensor, 2>{refs, img}, 1);
}

Tensor OmniGen2Network::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t patch = config_.patch_size;
    Tensor hidden = pad_to_patches(tape, root_, in.x, patch);
    const LatentExtent grid{.height = static_cast<int>(hidden.shape()[2] / patch),
                            .width = static_cast<int>(hidden.shape()[3] / patch)};
    const Tensor timesteps = ghost::unary(tape, "rsub", root_, in.timesteps);
    Condition condition = embed_condition(tape, timesteps, in.context);
    const References references = flatten_references(tape, in.references);
    hidden = to_tokens(tape, root_, hidden, patch);
    const std::int64_t image_tokens = hidden.shape()[1];
    const Tables tables =
        position_tables(tape, batch, in.context.shape()[1], references.grids, grid);
    for (const OmniGen2Block& block : context_refiner_)
        condition.text = block.forward(tape, condition.text, tables.text, {});
    Tensor images = refine_images(tape, hidden, references, tables, condition.time);
    for (const BooguDoubleBlock& block : double_layers_)
        block.forward(tape, images, condition.text, tables.all, condition.time);
    hidden = ghost::cat(tape, root_, std::array<Tensor, 2>{condition.text, images}, 1);
    for (const OmniGen2Block& block : layers_)
        hidden = block.forward(tape, hidden, tables.all, condition.time);
    hidden = forward_final(tape, hidden, condition.time);
    const Tensor own = hidden.view({batch, image_tokens, hidden.shape().last()});
    const Tensor output =
        from_tokens(tape, root_, own, config_.in_channels, grid.height, grid.width, patch);
    return ghost::unary(tape, "neg", root_, output.view(in.x.shape()));
}

Tensor OmniGen2Network::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_act_, time);
        return final_modulation_.forward(tape, active);
    }();
    const Tensor modulated = [&] {
        const Tensor normal = final_norm_.forward(tape, x);
        return scaled(tape, final_, normal, modulation.view({x.shape()[0], 1, x.shape().last()}));
    }();
    return final_linear_.forward(tape, modulated);
}

namespace {

Result<void> check_omnigen2(const OmniGen2Config& c) {
    const bool sound = within(c.patch_size, 1, kPatchMax) && within(c.in_channels, 1, kWidthMax) &&
                       within(c.hidden_size, 1, kWidthMax) && within(c.num_layers, 0, kDepthMax) &&
                       within(c.num_refiner_layers, 0, kDepthMax) &&
                       within(c.num_attention_heads, 1, c.hidden_size) &&
                       c.hidden_size % c.num_attention_heads == 0 &&
                       within(c.num_kv_heads, 1, c.num_attention_heads) &&
                       c.num_attention_heads % c.num_kv_heads == 0 &&
                       within(c.multiple_of, 1, kWidthMax) &&
                       within(c.text_feat_dim, 1, kWidthMax) && c.axes_dim_rope.size() == 3 &&
                       rotated_channels(c.axes_dim_rope) == c.hidden_size / c.num_attention_heads;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("OmniGen2 of width {} with {} heads over {}, {} layers and patches "
                                "of {} cannot be",
                                c.hidden_size, c.num_attention_heads, c.num_kv_heads, c.num_layers,
                                c.patch_size));
    return {};
}

}  // namespace

Result<std::shared_ptr<const Denoiser>> build_omnigen2(const OmniGen2Config& c) {
    TRY_DO(check_omnigen2(c));
    return std::make_shared<const OmniGen2Network>(c);
}

Result<std::shared_ptr<const Denoiser>> build_boogu(const OmniGen2Config& c, int double_layers) {
    TRY_DO(check_omnigen2(c));
    if (!within(double_layers, 0, kDepthMax))
        return fail(Errc::InvalidInput,
                    fmt::format("Boogu with {} layers of two streams cannot be", double_layers));
    return std::make_shared<const OmniGen2Network>(c, double_layers);
}

}  // namespace plimsoll::memory
