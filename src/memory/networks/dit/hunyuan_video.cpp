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
// Any number of steps up to 127 is one block of the allocator's.
constexpr std::int64_t kScheduleSteps = 20;
constexpr std::size_t kFirst =
    2;  // [N, C, (T,) H, W]: the first dimension that is cut into patches
constexpr std::int64_t kGlyphWidth = 1472;   // of ByT5-small
constexpr std::int64_t kGlyphHidden = 2048;  // of what maps it

// The whole patches that cover `video`, dimension by dimension.
std::vector<std::int64_t> patch_grid(const Shape& video, const std::vector<int>& patch) {
    std::vector<std::int64_t> grid;
    grid.reserve(patch.size());
    for (std::size_t i = 0; i < patch.size(); ++i)
        grid.push_back((video[kFirst + i] + patch[i] - 1) / patch[i]);
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
    r.add(proj_, patch_.size() == 3 ? "Conv3d" : "Conv2d", channels * hidden * cells + hidden);
}

Tensor PatchEmbedding::forward(Tape& tape, const Tensor& video) const {
    const Shape& s = video.shape();
    const std::vector<std::int64_t> grid = patch_grid(s, patch_);
    Shape whole = s;
    std::int64_t tokens = 1;
    std::int64_t cells = 1;
    for (std::size_t i = 0; i < grid.size(); ++i) {
        whole = whole.with(kFirst + i, grid[i] * patch_[i]);
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
    for (std::size_t i = 0; i < grid.size(); ++i) out_shape = out_shape.with(kFirst + i, grid[i]);
    const Tensor out = tape.make(out_shape, video.type(), "convolution", proj_);
    const std::int64_t weights = channels_ * cells * hidden_;
    const std::int64_t bytes = ghost::element_bytes(video.type());
    const std::int64_t bias_traffic = tape.options().casts_included ? 2 * out.bytes() : 0;
    constexpr std::int64_t kKernels = 2;  // the bias is added by a kernel of its own
    tape.charge(OpClass::Convolution, "convolution", proj_,
                ghost::saturating_product({2, s[0], tokens, weights}),
                padded.bytes() + (weights + hidden_) * bytes + out.bytes() + bias_traffic,
                kKernels);
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
    blocks_.reserve(kRefinerBlocks);
    for (int i = 0; i < kRefinerBlocks; ++i) {
        const std::string block = fmt::format("{}.individual_token_refiner.blocks.{}", path, i);
        const auto at = [&](std::string_view name) { return r.path(block, name); };
        const Linear modulation(r, at("adaLN_modulation.1"), hidden, 2 * hidden);
        const LayerNorm norm1(r, at("norm1"), hidden);
        const Linear qkv(r, at("self_attn.qkv"), hidden, 3 * hidden);
        const Linear proj(r, at("self_attn.proj"), hidden, hidden);
        const LayerNorm norm2(r, at("norm2"), hidden);
        const Linear mlp_in(r, at("mlp.0"), hidden, mlp);
        const Linear mlp_out(r, at("mlp.2"), mlp, hidden);
        blocks_.push_back({at(""), at("adaLN_modulation.0"), modulation, norm1, qkv, proj, norm2,
                           mlp_in, at("mlp.1"), mlp_out});
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

GlyphMapper::GlyphMapper(Registry& r, std::string_view path, std::int64_t hidden)
    : norm_(r, r.path(path, "layernorm"), kGlyphWidth),
      fc1_(r, r.path(path, "fc1"), kGlyphWidth, kGlyphHidden),
      act1_(r.path(path, "act_fn")),
      fc2_(r, r.path(path, "fc2"), kGlyphHidden, kGlyphHidden),
      act2_(r.path(path, "act_fn2")),
      fc3_(r, r.path(path, "fc3"), kGlyphHidden, hidden) {}

Tensor GlyphMapper::forward(Tape& tape, const Tensor& glyphs) const {
    Tensor x = norm_.forward(tape, glyphs);
    x = fc1_.forward(tape, x);
    x = ghost::unary(tape, "gelu", act1_, x);
    x = fc2_.forward(tape, x);
    x = ghost::unary(tape, "gelu", act2_, x);
    return fc3_.forward(tape, x);
}

VisionProjection::VisionProjection(Registry& r, std::string_view path, std::int64_t in,
                                   std::int64_t hidden)
    : norm_in_(r, r.path(path, "proj.0"), in),
      fc1_(r, r.path(path, "proj.1"), in, in),
      act_(r.path(path, "proj.2")),
      fc2_(r, r.path(path, "proj.3"), in, hidden),
      norm_out_(r, r.path(path, "proj.4"), hidden) {}

Tensor VisionProjection::forward(Tape& tape, const Tensor& tokens) const {
    Tensor x = norm_in_.forward(tape, tokens);
    x = fc1_.forward(tape, x);
    x = ghost::unary(tape, "gelu", act_, x);
    x = fc2_.forward(tape, x);
    return norm_out_.forward(tape, x);
}

KindEmbedding::KindEmbedding(Registry& r, std::string_view path, std::int64_t hidden)
    : path_(r.path(path, "")), hidden_(hidden) {
    constexpr std::int64_t kKinds = 3;  // text, glyphs, vision
    r.add(path_, "Embedding", kKinds * hidden, ModuleStorage::Float32);
}

Tensor KindEmbedding::forward(Tape& tape, Module owner, const Tensor& tokens,
                              std::string_view mark) const {
    const Shape& s = tokens.shape();
    Tensor kind = ghost::create(tape, mark, owner, {s[0], s[1]}, ElementType::Int64);
    if (mark == "mul") kind = ghost::unary(tape, mark, owner, kind);
    return ghost::produce(tape, OpClass::Copy, "embedding", path_, kind, {s[0], s[1], hidden_},
                          ElementType::Float32);
}

HunyuanVideoNetwork::HunyuanVideoNetwork(const modelfile::HunyuanVideoConfig& c,
                                         const HunyuanExtras& extras)
    : config_(c),
      extras_(extras),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
              .qkv_bias = c.qkv_bias ? Bias::Yes : Bias::No,
              .strided_img = true},
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
      double_blocks_(
          make_flux_blocks<FluxDoubleBlock>(registry_, "double_blocks", c.depth, widths_)),
      single_blocks_(make_flux_blocks<FluxSingleBlock>(registry_, "single_blocks",
                                                       c.depth_single_blocks, widths_)),
      byt5_in_(c.byt5
                   ? std::optional<GlyphMapper>(std::in_place, registry_, "byt5_in", c.hidden_size)
                   : std::nullopt),
      time_r_in_(c.meanflow ? std::optional<MlpEmbedder>(std::in_place, registry_, "time_r_in",
                                                         kTimestepWidth, c.hidden_size)
                            : std::nullopt),
      final_layer_(
          registry_, "final_layer", widths_,
          [&] {
              std::int64_t channels = c.out_channels;
              for (const int length : c.patch_size) channels *= length;
              return channels;
          }(),
          Modulated::ByTheBlock),
      vision_in_(c.vision_in_dim > 0
                     ? std::optional<VisionProjection>(std::in_place, registry_, "vision_in",
                                                       c.vision_in_dim, c.hidden_size)
                     : std::nullopt),
      kinds_(c.use_cond_type_embedding
                 ? std::optional<KindEmbedding>(std::in_place, registry_, "cond_type_embedding",
                                                c.hidden_size)
                 : std::nullopt) {}

StepInputs HunyuanVideoNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    // Beyond the latent: the image that is refined.
    const std::int64_t latent = config_.out_channels;
    const std::int64_t beside = config_.in_channels - latent;
    const auto cells = [&](std::int64_t channels) -> Shape {
        if (config_.patch_size.size() == 2)
            return {wish.batch, channels, call.latent_height, call.latent_width};
        return {wish.batch, channels, call.latent_frames, call.latent_height, call.latent_width};
    };
    StepInputs in;
    in.x = tape.input(cells(wish.joined ? latent + beside : latent), wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    if (vector_in_) in.y = tape.input({wish.cond_batch, config_.vec_in_dim}, wish.type);
    in.guidance = tape.input({wish.cond_batch}, wish.type);  // even where the network has no use
    if (beside > 0 && !wish.joined) in.concat = tape.input(cells(beside), wish.type);
    if (extras_.glyphs > 0)
        in.more.push_back(tape.input({wish.cond_batch, extras_.glyphs, kGlyphWidth}, wish.type));
    if (extras_.vision > 0)
        in.more.push_back(
            tape.input({wish.cond_batch, extras_.vision, config_.vision_in_dim}, wish.type));
    if (extras_.schedule)
        in.schedule = {tape.input({1}, ElementType::Float32),
                       tape.input({kScheduleSteps}, ElementType::Float32)};
    return in;
}

std::vector<ModuleEntry> HunyuanVideoNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

struct HunyuanVideoNetwork::Condition {
    Tensor vec;
    Tensor position;  // of the step in the schedule
    Tensor next;
};

HunyuanVideoNetwork::Condition HunyuanVideoNetwork::embed_condition(Tape& tape,
                                                                    const StepInputs& in) const {
    const ElementType type = in.x.type();
    Condition c;
    c.vec = embed_number(tape, root_, time_in_, in.timesteps, type);
    if (time_r_in_ && !in.schedule.empty()) {
        const Tensor& sigmas = in.schedule.back();
        {
            const Tensor same = ghost::produce(tape, OpClass::Elementwise, "eq", root_, sigmas,
                                               sigmas.shape(), ElementType::Bool);
            c.position = ghost::produce(tape, OpClass::Elementwise, "nonzero", root_, same, {1, 1},
                                        ElementType::Int64);
        }
        {
            const Tensor following = ghost::unary(tape, "add", root_, c.position);
        }
        c.next = embed_number(tape, root_, *time_r_in_, sigmas.view({1}), type);
        Tensor sum = ghost::binary(tape, "add", root_, c.vec, c.next);
        c.vec = config_.meanflow_sum ? std::move(sum) : ghost::unary(tape, "div", root_, sum);
    }
    if (vector_in_)
        c.vec = ghost::binary(tape, "add", root_, c.vec, vector_in_->forward(tape, in.y));
    if (guidance_in_)
        c.vec = ghost::binary(tape, "add", root_, c.vec,
                              embed_number(tape, root_, *guidance_in_, in.guidance, type));
    return c;
}

struct HunyuanVideoNetwork::Text {
    Tensor tokens;
    Tensor ids;
    // What stays in variables.
    Tensor kind;
    Tensor glyphs;
    Tensor glyph_ids;
    Tensor vision;
    Tensor vision_ids;
};

HunyuanVideoNetwork::Text HunyuanVideoNetwork::embed_text(Tape& tape, const StepInputs& in,
                                                          const Tensor& txt_ids) const {
    Text text;
    text.tokens = txt_in_.forward(tape, in.context, in.timesteps);
    text.ids = txt_ids;
    if (kinds_) {
        text.kind = kinds_->forward(tape, root_, text.tokens, "zeros_like");
        const Tensor kind = ghost::to_type(tape, root_, text.kind, text.tokens.type());
        text.tokens = ghost::binary(tape, "add", root_, text.tokens, kind);
    }
    std::size_t next = 0;
    if (byt5_in_ && extras_.glyphs > 0) add_glyphs(tape, in.more[next++], text);
    if (vision_in_ && extras_.vision > 0) add_vision(tape, in.more[next], text);
    return text;
}

void HunyuanVideoNetwork::add_glyphs(Tape& tape, const Tensor& glyphs, Text& text) const {
    text.glyphs = byt5_in_->forward(tape, glyphs);
    if (kinds_) {
        text.kind = kinds_->forward(tape, root_, text.glyphs, "ones_like");
        const Tensor kind = ghost::to_type(tape, root_, text.kind, text.glyphs.type());
        text.glyphs = ghost::binary(tape, "add", root_, text.glyphs, kind);
    }
    text.tokens = ghost::cat(tape, root_, std::array<Tensor, 2>{text.tokens, text.glyphs}, 1);
    text.glyph_ids = text_ids(tape, root_, text.glyphs.shape()[0], text.glyphs.shape()[1],
                              {.axes = text.ids.shape()[2], .type = text.ids.type()}, 0);
    text.ids = ghost::cat(tape, root_, std::array<Tensor, 2>{text.ids, text.glyph_ids}, 1);
}

void HunyuanVideoNetwork::add_vision(Tape& tape, const Tensor& vision, Text& text) const {
    text.vision = vision_in_->forward(tape, vision);
    if (kinds_) {
        text.kind = kinds_->forward(tape, root_, text.vision, "mul");
        // Unlike the others', in the embedding's type.
        text.vision = ghost::combine(tape, "add", root_, {&text.vision, &text.kind},
                                     text.kind.shape(), text.kind.type());
    }
    const Tensor narrow = ghost::to_type(tape, root_, text.vision, text.tokens.type());
    text.tokens = ghost::cat(tape, root_, std::array<Tensor, 2>{narrow, text.tokens}, 1);
    text.vision_ids = text_ids(tape, root_, text.vision.shape()[0], text.vision.shape()[1],
                               {.axes = text.ids.shape()[2], .type = text.ids.type()}, 0);
    text.ids = ghost::cat(tape, root_, std::array<Tensor, 2>{text.ids, text.vision_ids}, 1);
}

Tensor HunyuanVideoNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const ElementType type = in.x.type();
    const std::vector<int>& patch = config_.patch_size;
    const std::vector<std::int64_t> grid = patch_grid(in.x.shape(), patch);
    const auto axes = static_cast<std::int64_t>(grid.size());
    const bool image = grid.size() == 2;
    const Shape cells = image ? Shape{grid[0], grid[1]} : Shape{grid[0], grid[1], grid[2]};
    const Shape positions =
        image ? Shape{grid[0], grid[1], axes} : Shape{grid[0], grid[1], grid[2], axes};
    const Tensor img_ids = ghost::create(tape, "zeros", root_, positions, type);
    for (const std::int64_t length : grid) {
        const Tensor axis = [&] {
            const Tensor line = ghost::create(tape, "linspace", root_, {length}, type);
            return ghost::combine(tape, "add", root_, {&line, &img_ids}, cells, type);
        }();
        ghost::binary_in_place(tape, "copy_", root_, axis, axis);
    }
    const Tensor txt_ids =
        text_ids(tape, root_, batch, in.context.shape()[1], {.axes = axes, .type = type}, 0);
    const Tensor out =
        forward_tokens(tape, in, img_ids.view({batch, cells.elements(), axes}), txt_ids);
    Shape whole = in.x.shape().with(1, config_.out_channels);
    std::int64_t patch_cells = 1;
    for (std::size_t i = 0; i < grid.size(); ++i) {
        whole = whole.with(kFirst + i, grid[i] * patch[i]);
        patch_cells *= patch[i];
    }
    return patch_cells == 1 ? out.view(whole) : ghost::clone(tape, root_, out, whole);
}

Tensor HunyuanVideoNetwork::forward_tokens(Tape& tape, const StepInputs& in, const Tensor& img_ids,
                                           const Tensor& txt_ids) const {
    Tensor img = img_in_.forward(tape, in.x);
    const std::int64_t tokens = img.shape()[1];
    const Condition condition = embed_condition(tape, in);
    const Tensor& vec = condition.vec;
    Text text = embed_text(tape, in, txt_ids);
    const Tensor ids = ghost::cat(tape, root_, std::array<Tensor, 2>{img_ids, text.ids}, 1);
    const Tensor pe = rope_table(tape, pe_, ids, config_.axes_dim);
    for (const FluxDoubleBlock& block : double_blocks_)
        block.forward(tape, img, text.tokens, {vec, vec}, pe);
    {
        const std::array<Tensor, 2> both = {std::move(img), text.tokens};
        img = ghost::cat(tape, root_, both, 1);
    }
    for (const FluxSingleBlock& block : single_blocks_) block.forward(tape, img, vec, pe);
    return final_layer_.forward(tape, img.view({img.shape()[0], tokens, config_.hidden_size}), vec);
}

Result<std::shared_ptr<const Denoiser>> build_hunyuan_video(const modelfile::HunyuanVideoConfig& c,
                                                            const HunyuanExtras& extras) {
    bool sound = (c.patch_size.size() == 2 || c.patch_size.size() == 3) &&
                 c.axes_dim.size() == c.patch_size.size() && (c.byt5 || extras.glyphs == 0) &&
                 (c.vision_in_dim > 0 || extras.vision == 0) &&
                 within(c.vec_in_dim, 0, kWidthMax) && within(c.vision_in_dim, 0, kWidthMax);
    for (const int length : c.patch_size) sound = sound && within(length, 1, kPatchMax);
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
    return std::make_shared<const HunyuanVideoNetwork>(c, extras);
}

}  // namespace plimsoll::memory
