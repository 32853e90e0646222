// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuan_video.h"

#include "modelfile/networks/flux_config.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's plain flow schedule
constexpr int kRefinerBlocks = 2;
constexpr std::size_t kFrames = 2;  // [N, C, T, H, W]: the first dimension that is cut into patches

// The whole patches that cover `video`, dimension by dimension.
std::vector<std::int64_t> patch_grid(const Shape& video, const std::vector<int>& patch) {
    std::vector<std::int64_t> grid;
    for (std::size_t i = 0; i < patch.size(); ++i)
        grid.push_back((video[kFrames + i] + patch[i] - 1) / patch[i]);
    return grid;
}

Tensor embed_number(Tape& tape, Module module, const MlpEmbedder& embedder, const Tensor& number,
                    ElementType type) {
    Tensor waves = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", module, number);
        return timestep_embedding(tape, module, scaled, kTimestepWidth, number.type());
    }();
    waves = ghost::to_type(tape, module, waves, type);
    return embedder.forward(tape, waves);
}

}  // namespace

PatchEmbedding::PatchEmbedding(Registry& r, std::string_view path, std::int64_t channels,
                               std::int64_t hidden, std::vector<int> patch)
    : path_(r.path(path, "")),
      proj_(r.path(path, "proj")),
      channels_(channels),
      hidden_(hidden),
      patch_(std::move(patch)) {
    std::int64_t cells = 1;
    for (const int length : patch_) cells *= length;
    r.add(proj_, "Conv3d", channels * hidden * cells + hidden);
}

Tensor PatchEmbedding::forward(Tape& tape, const Tensor& video) const {
    const Shape& s = video.shape();
    const std::vector<std::int64_t> grid = patch_grid(s, patch_);
    Shape whole = s;
    std::int64_t tokens = 1;
    std::int64_t cells = 1;
    for (std::size_t i = 0; i < grid.size(); ++i) {
        whole = whole.with(kFrames + i, grid[i] * patch_[i]);
        tokens *= grid[i];
        cells *= patch_[i];
    }
    // A circular pad to whole patches: a copy even where nothing is missing.
    const Tensor padded = tape.make(whole, video.type(), "new_empty", path_);
    tape.charge(OpClass::Copy, "new_empty", path_, 0, 0, 0);
    ghost::binary_in_place(tape, "copy_", path_, padded, padded);

    const Tape::Cast bias = tape.cast_weight({hidden_}, proj_);
    const Tape::Cast weight = tape.cast_weight({hidden_, channels_ * cells}, proj_);
    Shape out_shape = whole.with(1, hidden_);
    for (std::size_t i = 0; i < grid.size(); ++i) out_shape = out_shape.with(kFrames + i, grid[i]);
    const Tensor out = tape.make(out_shape, video.type(), "convolution", proj_);
    const std::int64_t weights = channels_ * cells * hidden_;
    const std::int64_t bytes = ghost::element_bytes(video.type());
    constexpr std::int64_t kKernels = 2;  // the bias is added by a kernel of its own
    tape.charge(OpClass::Convolution, "convolution", proj_,
                ghost::saturating_product({2, s[0], tokens, weights}),
                padded.bytes() + (weights + hidden_) * bytes + 3 * out.bytes(), kKernels);
    return out.view({s[0], tokens, hidden_});
}

TextRefiner::TextRefiner(Registry& r, std::string_view path, std::int64_t in, std::int64_t hidden,
                         std::int64_t heads, std::int64_t mlp)
    : path_(r.path(path, "")),
      hidden_(hidden),
      heads_(heads),
      input_(r, r.path(path, "input_embedder"), in, hidden),
      time_(r, *r.path(path, "t_embedder"), kTimestepWidth, hidden),
      context_(r, *r.path(path, "c_embedder"), in, hidden) {
    for (int i = 0; i < kRefinerBlocks; ++i) {
        const std::string block = fmt::format("{}.individual_token_refiner.blocks.{}", path, i);
        const auto at = [&](std::string_view name) { return r.path(block, name); };
        Linear modulation(r, at("adaLN_modulation.1"), hidden, 2 * hidden);
        LayerNorm norm1(r, at("norm1"), hidden);
        Linear qkv(r, at("self_attn.qkv"), hidden, 3 * hidden);
        Linear proj(r, at("self_attn.proj"), hidden, hidden);
        LayerNorm norm2(r, at("norm2"), hidden);
        Linear mlp_in(r, at("mlp.0"), hidden, mlp);
        Linear mlp_out(r, at("mlp.2"), mlp, hidden);
        blocks_.push_back({at(""), at("adaLN_modulation.0"), std::move(modulation),
                           std::move(norm1), std::move(qkv), std::move(proj), std::move(norm2),
                           std::move(mlp_in), at("mlp.1"), std::move(mlp_out)});
    }
}

Tensor TextRefiner::forward(Tape& tape, const Tensor& text, const Tensor& timesteps) const {
    const Shape& s = text.shape();
    const Tensor time = embed_number(tape, path_, time_, timesteps, text.type());
    const Tensor condition = [&] {
        const Tensor mean = [&] {
            const Tensor sum = ghost::produce(tape, OpClass::Elementwise, "sum", path_, text,
                                              {s[0], s[2]}, text.type());
            return ghost::unary(tape, "div", path_, sum);
        }();
        const Tensor context = context_.forward(tape, mean);
        return ghost::binary(tape, "add", path_, time, context);
    }();
    const Tensor embedded = input_.forward(tape, text);
    Tensor x = embedded;
    for (const Block& block : blocks_) x = refine(tape, block, x, condition);
    return x;
}

Tensor TextRefiner::refine(Tape& tape, const Block& b, const Tensor& x,
                           const Tensor& condition) const {
    const Shape& s = x.shape();
    const Tensor gates = [&] {
        const Tensor active = ghost::unary(tape, "silu", b.silu, condition);
        return b.modulation.forward(tape, active);
    }();
    const Tensor gate = gates.view({s[0], 1, hidden_});
    const auto add_gated = [&](const Tensor& to, Tensor update) {
        const Tensor gated = ghost::binary(tape, "mul", b.path, update, gate);
        update = {};
        return ghost::binary(tape, "add", b.path, to, gated);
    };
    const Tensor normal = b.norm1.forward(tape, x);
    const Tensor qkv = b.qkv.forward(tape, normal);
    const std::int64_t head_dim = hidden_ / heads_;
    const Tensor heads = qkv.view({s[0], heads_, s[1], head_dim});
    const Tensor attended = ghost::attention(
        tape, b.path, heads, heads, heads,
        {.batch = s[0], .heads = heads_, .queries = s[1], .keys = s[1], .head_dim = head_dim});
    const Tensor sum = add_gated(x, b.proj.forward(tape, attended.view(s)));
    Tensor fed = [&] {
        const Tensor hidden = [&] {
            const Tensor in = [&] {
                const Tensor normal2 = b.norm2.forward(tape, sum);
                return b.mlp_in.forward(tape, normal2);
            }();
            return ghost::unary(tape, "silu", b.mlp_act, in);
        }();
        return b.mlp_out.forward(tape, hidden);
    }();
    return add_gated(sum, std::move(fed));
}

HunyuanVideoNetwork::HunyuanVideoNetwork(const modelfile::HunyuanVideoConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
              .qkv_bias = c.qkv_bias ? Bias::Yes : Bias::No},
      root_(registry_.path("", "")),
      pe_(registry_.path("pe_embedder", "")),
      img_in_(registry_, "img_in", c.in_channels, c.hidden_size, c.patch_size),
      time_in_(registry_, "time_in", kTimestepWidth, c.hidden_size),
      vector_in_(c.vec_in_dim > 0
                     ? std::optional<MlpEmbedder>(std::in_place, registry_, "vector_in",
                                                  c.vec_in_dim, c.hidden_size)
                     : std::nullopt),
      guidance_in_(c.guidance_embed
                       ? std::optional<MlpEmbedder>(std::in_place, registry_, "guidance_in",
                                                    kTimestepWidth, c.hidden_size)
                       : std::nullopt),
      txt_in_(registry_, "txt_in", c.context_in_dim, c.hidden_size, c.num_heads, widths_.mlp),
      double_blocks_([&] {
          std::vector<FluxDoubleBlock> blocks;
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("double_blocks.{}", i), widths_);
          return blocks;
      }()),
      single_blocks_([&] {
          std::vector<FluxSingleBlock> blocks;
          for (int i = 0; i < c.depth_single_blocks; ++i)
              blocks.emplace_back(registry_, fmt::format("single_blocks.{}", i), widths_);
          return blocks;
      }()),
      final_layer_(
          registry_, "final_layer", widths_,
          [&] {
              std::int64_t channels = c.out_channels;
              for (const int length : c.patch_size) channels *= length;
              return channels;
          }(),
          Modulated::ByTheBlock) {}

StepInputs HunyuanVideoNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_frames, call.latent_height,
                       call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    if (vector_in_) in.y = tape.input({wish.cond_batch, config_.vec_in_dim}, wish.type);
    if (guidance_in_) in.guidance = tape.input({wish.cond_batch}, wish.type);
    return in;
}

std::vector<ModuleEntry> HunyuanVideoNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor HunyuanVideoNetwork::embed_condition(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    Tensor vec = embed_number(tape, root_, time_in_, in.timesteps, type);
    if (vector_in_) vec = ghost::binary(tape, "add", root_, vec, vector_in_->forward(tape, in.y));
    if (guidance_in_)
        vec = ghost::binary(tape, "add", root_, vec,
                            embed_number(tape, root_, *guidance_in_, in.guidance, type));
    return vec;
}

Tensor HunyuanVideoNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const ElementType type = in.x.type();
    const std::vector<std::int64_t> grid = patch_grid(in.x.shape(), config_.patch_size);
    const auto axes = static_cast<std::int64_t>(grid.size());
    Shape cells{grid[0], grid[1], grid[2]};
    const std::int64_t tokens = cells.elements();
    const Tensor img_ids =
        ghost::create(tape, "zeros", root_, {grid[0], grid[1], grid[2], axes}, type);
    for (const std::int64_t length : grid) {
        const Tensor axis = [&] {
            const Tensor positions = ghost::create(tape, "linspace", root_, {length}, type);
            return ghost::combine(tape, "add", root_, {&positions, &img_ids}, cells, type);
        }();
        ghost::binary_in_place(tape, "copy_", root_, axis, axis);
    }
    const Tensor txt_ids =
        text_ids(tape, root_, batch, in.context.shape()[1], {.axes = axes, .type = type}, 0);
    const Tensor out = forward_tokens(tape, in, img_ids.view({batch, tokens, axes}), txt_ids);
    const std::vector<int>& p = config_.patch_size;
    return ghost::clone(tape, root_, out,
                        {batch, config_.out_channels, grid[0], p[0], grid[1], p[1], grid[2], p[2]})
        .view({batch, config_.out_channels, grid[0] * p[0], grid[1] * p[1], grid[2] * p[2]});
}

Tensor HunyuanVideoNetwork::forward_tokens(Tape& tape, const StepInputs& in, const Tensor& img_ids,
                                           const Tensor& txt_ids) const {
    Tensor img = img_in_.forward(tape, in.x);
    const std::int64_t tokens = img.shape()[1];
    const Tensor vec = embed_condition(tape, in);
    Tensor txt = txt_in_.forward(tape, in.context, in.timesteps);
    const Tensor ids = ghost::cat(tape, root_, std::array<Tensor, 2>{img_ids, txt_ids}, 1);
    const Tensor pe = rope_table(tape, pe_, ids, config_.axes_dim);
    const FluxCondition condition{vec, vec};
    for (const FluxDoubleBlock& block : double_blocks_)
        block.forward(tape, img, txt, condition, pe);
    {
        const std::array<Tensor, 2> both = {std::move(img), txt};
        img = ghost::cat(tape, root_, both, 1);
    }
    for (const FluxSingleBlock& block : single_blocks_) block.forward(tape, img, vec, pe);
    return final_layer_.forward(tape, img.view({img.shape()[0], tokens, config_.hidden_size}), vec);
}

Result<std::shared_ptr<const Denoiser>> build_hunyuan_video(
    const modelfile::HunyuanVideoConfig& c) {
    // Chosen: far above any published network.
    constexpr int kWidthMax = 1 << 16;
    constexpr int kPatchMax = 64;
    if (c.byt5 || c.meanflow || c.meanflow_sum || c.use_cond_type_embedding || c.vision_in_dim != 0)
        return fail(Errc::NotFound, "HunyuanImage and HunyuanVideo 1.5 are not simulated");
    bool sound = c.patch_size.size() == 3 && c.axes_dim.size() == 3 && c.vec_in_dim >= 0 &&
                 c.vec_in_dim <= kWidthMax;
    for (const int length : c.patch_size) sound = sound && length >= 1 && length <= kPatchMax;
    sound = sound && sound_flux(modelfile::FluxConfig{.in_channels = c.in_channels,
                                                      .out_channels = c.out_channels,
                                                      .hidden_size = c.hidden_size,
                                                      .num_heads = c.num_heads,
                                                      .mlp_ratio = c.mlp_ratio,
                                                      .depth = c.depth,
                                                      .depth_single_blocks = c.depth_single_blocks,
                                                      .context_in_dim = c.context_in_dim,
                                                      .axes_dim = c.axes_dim});
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("HunyuanVideo of width {} with {} heads and {} + {} blocks cannot "
                                "be",
                                c.hidden_size, c.num_heads, c.depth, c.depth_single_blocks));
    return std::make_shared<const HunyuanVideoNetwork>(c);
}

}  // namespace plimsoll::memory
