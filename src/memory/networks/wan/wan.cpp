// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"
#include "memory/networks/wan/wan_animate.h"
#include "memory/networks/wan/wan_animate2.h"
#include "memory/networks/wan/wan_humo.h"
#include "memory/networks/wan/wan_s2v.h"
#include "memory/networks/wan/wan_scail.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kSigmas = 1000;      // of ComfyUI's flow schedule
constexpr std::int64_t kImageTokens = 257;  // of CLIP ViT-H, with its class token
constexpr std::int64_t kImageWidth = 1280;
constexpr std::int64_t kModulations = 6;
constexpr std::int64_t kPixelsPerCell = 8;

// A circular pad to whole patches: a copy even where nothing is missing.
Tensor pad_video(Tape& tape, Module module, const Tensor& x, const std::array<int, 3>& patch) {
    Shape padded = x.shape();
    for (std::size_t i = 0; i < patch.size(); ++i) {
        const std::int64_t p = patch[i];
        padded = padded.with(i + 2, (padded[i + 2] + p - 1) / p * p);
    }
    Tensor out = tape.make(padded, x.type(), "new_empty", module);
    tape.charge(OpClass::Copy, "new_empty", module, 0, 0, 0);
    ghost::binary_in_place(tape, "copy_", module, x, x);
    for (std::size_t i = 0; i < patch.size(); ++i) {  // the missing ones are copied axis by axis
        const std::int64_t missing = padded[i + 2] - x.shape()[i + 2];
        if (missing == 0) continue;
        const std::int64_t bytes = out.bytes() / padded[i + 2] * missing;
        tape.charge(OpClass::Copy, "copy_", module, 0, 3 * bytes);
    }
    return out;
}

// [T, H, W, 3], written axis by axis.
Tensor position_ids(Tape& tape, Module module, const Extent3& grid, ElementType type) {
    const Shape cells{grid.frames, grid.rows, grid.columns};
    Tensor ids =
        ghost::create(tape, "zeros", module, {grid.frames, grid.rows, grid.columns, 3}, type);
    for (const std::int64_t length : {grid.frames, grid.rows, grid.columns}) {
        const Tensor axis = [&] {
            const Tensor positions = ghost::create(tape, "linspace", module, {length}, type);
            const Tensor zeros = ids.view(cells);
            return ghost::combine(tape, "add", module, {&zeros, &positions}, cells, type);
        }();
        ghost::binary_in_place(tape, "copy_", module, axis, axis);
    }
    return ids.view({1, grid.volume(), 3});
}

// Sinusoids [N, width] of the timesteps; frequencies come from the processor.
Tensor sinusoids(Tape& tape, Module module, const Tensor& t, std::int64_t width) {
    Tensor frequencies = ghost::create(tape, "_to_copy", module, {width / 2}, ElementType::Float32);
    for (const std::string_view op : {"div", "neg", "pow"})
        frequencies = ghost::unary(tape, op, module, frequencies);
    const Tensor angles = ghost::combine(tape, "mul", module, {&t, &frequencies},
                                         {t.elements(), width / 2}, ElementType::Float32);
    frequencies = {};
    const std::array<Tensor, 2> waves = {ghost::unary(tape, "cos", module, angles),
                                         ghost::unary(tape, "sin", module, angles)};
    return ghost::cat(tape, module, waves, 1);
}

// The network's own class of block, and what a block of it attends to besides text.
std::string_view block_class(std::string_view model_type) {
    if (model_type == "humo") return "WanAttentionBlockAudio";
    return model_type == "animate2" ? "WanAnimate2Block" : "WanAttentionBlock";
}

WanWidths block_widths(const modelfile::WanConfig& c) {
    constexpr std::array<std::string_view, 5> kWithImage = {"i2v", "camera", "scail", "animate",
                                                            "animate2"};
    const bool image =
        std::find(kWithImage.begin(), kWithImage.end(), c.model_type) != kWithImage.end();
    return {.dim = c.dim,
            .ffn = c.ffn_dim,
            .heads = c.num_heads,
            .qk_norm = c.qk_norm,
            .cross_attn_norm = c.cross_attn_norm,
            .image = image,
            .audio = c.model_type == "humo" ? kHumoAudioWidth : 0};
}

}  // namespace

Conv3dShape patch_shape(const modelfile::WanConfig& c) {
    const Extent3 patch{c.patch_size[0], c.patch_size[1], c.patch_size[2]};
    return {.kernel = patch, .stride = patch};
}

VaceBlock::VaceBlock(Registry& r, std::string_view name, const WanWidths& w, bool first)
    : path(r.path(name, "")),
      block(r, name, "VaceWanAttentionBlock", w),
      before_proj(
          first ? std::optional<Linear>(std::in_place, r, r.path(name, "before_proj"), w.dim, w.dim)
                : std::nullopt),
      after_proj(r, r.path(name, "after_proj"), w.dim, w.dim) {}

CameraAdapter::CameraAdapter(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                             std::int64_t patch)
    : path_(r.path(path, "")),
      unshuffle_(r.path(path, "pixel_unshuffle")),
      block_(r.path(path, "residual_blocks.0")),
      conv_(r, r.path(path, "conv"), in * kPixelsPerCell * kPixelsPerCell, out,
            ConvShape{patch, patch, 0}),
      conv1_(r, r.path(path, "residual_blocks.0.conv1"), out, out),
      relu_(r.path(path, "residual_blocks.0.relu")),
      conv2_(r, r.path(path, "residual_blocks.0.conv2"), out, out) {}

Tensor CameraAdapter::forward(Tape& tape, const Tensor& path) const {
    const Shape& s = path.shape();
    Tensor x = ghost::clone(tape, path_, path, {s[0] * s[2], s[1], s[3], s[4]});
    const Tensor cells = ghost::clone(tape, unshuffle_, x,
                                      {s[0] * s[2], s[1] * kPixelsPerCell * kPixelsPerCell,
                                       s[3] / kPixelsPerCell, s[4] / kPixelsPerCell});
    const Tensor start = conv_.forward(tape, cells);
    Tensor out = conv1_.forward(tape, start);
    out = ghost::unary(tape, "relu", relu_, out);
    out = conv2_.forward(tape, out);
    ghost::binary_in_place(tape, "add_", block_, out, start);
    const Shape& o = out.shape();
    return out.view({s[0], o[1], s[2], o[2], o[3]});
}

WanNetwork::WanNetwork(const modelfile::WanConfig& c)
    : config_(c),
      widths_(block_widths(c)),
      root_(registry_.path("", "")),
      rope_(registry_.path("rope_embedder", "")),
      patch_embedding_(registry_, registry_.path("patch_embedding", ""), c.in_dim, c.dim,
                       patch_shape(c), ModuleStorage::Float32),
      text_in_(registry_, registry_.path("text_embedding", "0"), c.text_dim, c.dim),
      text_gelu_(registry_.path("text_embedding", "1")),
      text_out_(registry_, registry_.path("text_embedding", "2"), c.dim, c.dim),
      time_in_(registry_, registry_.path("time_embedding", "0"), c.freq_dim, c.dim),
      time_silu_(registry_.path("time_embedding", "1")),
      time_out_(registry_, registry_.path("time_embedding", "2"), c.dim, c.dim),
      projection_silu_(registry_.path("time_projection", "0")),
      time_projection_(registry_, registry_.path("time_projection", "1"), c.dim,
                       kModulations * c.dim),
      blocks_([&] {
          std::vector<WanBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              blocks.emplace_back(registry_, fmt::format("blocks.{}", i), block_class(c.model_type),
                                  widths_);
          return blocks;
      }()),
      head_([&] {
          const Module path = registry_.path("head", "");
          registry_.add_own_parameters(path, "Head", 2 * std::int64_t{c.dim},
                                       ModuleStorage::AsNetwork);
          return path;
      }()),
      head_norm_(registry_, registry_.path("head", "norm"), c.dim, Affine::No),
      head_linear_(registry_, registry_.path("head", "head"), c.dim,
                   c.out_dim * patch_shape(c).kernel.volume()) {
    if (widths_.image) {
        LayerNorm norm_in(registry_, registry_.path("img_emb.proj", "0"), kImageWidth);
        Linear in(registry_, registry_.path("img_emb.proj", "1"), kImageWidth, kImageWidth);
        Linear out(registry_, registry_.path("img_emb.proj", "3"), kImageWidth, c.dim);
        LayerNorm norm_out(registry_, registry_.path("img_emb.proj", "4"), c.dim);
        image_.emplace(norm_in, in, registry_.path("img_emb.proj", "2"), out, norm_out);
    }
    if (c.in_dim_ref_conv > 0) {
        const std::int64_t patch = c.patch_size[1];
        ref_conv_.emplace(registry_, registry_.path("ref_conv", ""), c.in_dim_ref_conv, c.dim,
                          ConvShape{patch, patch, 0});
    }
    if (c.model_type == "camera" || c.model_type == "camera_2.2")
        camera_.emplace(registry_, "control_adapter", c.in_dim_control_adapter, c.dim,
                        c.patch_size[1]);
    if (c.model_type != "vace") return;
    for (int i = 0; i < c.vace_layers; ++i)
        vace_blocks_.emplace_back(registry_, fmt::format("vace_blocks.{}", i), widths_, i == 0);
    vace_patch_embedding_.emplace(registry_, registry_.path("vace_patch_embedding", ""),
                                  c.vace_in_dim, c.dim, patch_shape(c), ModuleStorage::Float32);
}

Tensor WanNetwork::latent_input(Tape& tape, const InputWish& wish, std::int64_t channels,
                                std::int64_t frames) const {
    const StepCall& call = wish.call;
    return tape.input({wish.batch, channels, frames > 0 ? frames : call.latent_frames,
                       call.latent_height, call.latent_width},
                      wish.type);
}

StepInputs WanNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    const auto video = [&](std::int64_t channels) { return latent_input(tape, wish, channels); };
    const std::int64_t more = config_.in_dim - config_.out_dim;  // mask and image latent
    StepInputs in;
    in.x = video(wish.joined ? config_.in_dim : config_.out_dim);
    in.timesteps = tape.input(
        call.timestep_per_frame ? Shape{wish.batch, call.latent_frames} : Shape{wish.batch},
        ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.text_dim}, wish.type);
    if (more > 0 && !wish.joined) in.concat = video(more);
    if (image_)
        in.more.push_back(tape.input({wish.cond_batch, kImageTokens, kImageWidth}, wish.type));
    if (vace_patch_embedding_)
        in.more.push_back(tape.input({wish.cond_batch, 1, config_.vace_in_dim, call.latent_frames,
                                      call.latent_height, call.latent_width},
                                     wish.type));
    if (camera_)
        in.more.push_back(
            tape.input({wish.cond_batch, config_.in_dim_control_adapter, call.latent_frames,
                        call.latent_height * kPixelsPerCell, call.latent_width * kPixelsPerCell},
                       wish.type));
    if (ref_conv_)
        in.references.push_back(tape.input(
            {wish.cond_batch, config_.in_dim_ref_conv, call.latent_height, call.latent_width},
            wish.type));
    else if (takes_context())
        for (const LatentExtent& of : call.references)
            in.references.push_back(tape.input(
                {wish.cond_batch, config_.in_dim, of.frames, of.height, of.width}, wish.type));
    return in;
}

std::vector<ModuleEntry> WanNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Extent3 WanNetwork::grid_of(const Tensor& latent) const {
    const Shape& s = latent.shape();
    return {s[2] / config_.patch_size[0], s[3] / config_.patch_size[1],
            s[4] / config_.patch_size[2]};
}

Tensor WanNetwork::padded(Tape& tape, const Tensor& x) const {
    return pad_video(tape, root_, x, config_.patch_size);
}

Tensor WanNetwork::embed_positions(Tape& tape, const Extent3& grid, ElementType type) const {
    const int head = config_.dim / config_.num_heads;
    const int spatial = 2 * (head / 6);
    const std::array<int, 3> axes = {head - 2 * spatial, spatial, spatial};
    const Tensor ids = position_ids(tape, root_, grid, type);
    return rope_table(tape, rope_, ids, axes);
}

// In fp32, whatever the network's type; laid out as convolutions write: channel by channel.
Tensor WanNetwork::embed_patches(Tape& tape, const Conv3d& embedding, const Tensor& x) const {
    const Tensor wide = [&] {
        const Tensor in = ghost::to_type(tape, root_, x, ElementType::Float32);
        return embedding.forward(tape, in);
    }();
    const Tensor out = ghost::to_type(tape, root_, wide, x.type());
    const Shape& s = out.shape();
    return out.view({s[0], s[2] * s[3] * s[4], s[1]});
}

WanNetwork::Timestep WanNetwork::embed_timestep(Tape& tape, const Tensor& t,
                                                ElementType type) const {
    const std::int64_t batch = t.shape()[0];
    const std::int64_t frames = t.elements() / batch;
    const std::int64_t dim = config_.dim;
    Timestep timestep;
    timestep.embedding = [&] {
        Tensor waves = sinusoids(tape, root_, t, config_.freq_dim);
        waves = ghost::to_type(tape, root_, waves, type);
        const Tensor hidden = [&] {
            const Tensor in = time_in_.forward(tape, waves);
            return ghost::unary(tape, "silu", time_silu_, in);
        }();
        return time_out_.forward(tape, hidden).view({batch, frames, dim});
    }();
    const Tensor active = ghost::unary(tape, "silu", projection_silu_, timestep.embedding);
    timestep.modulation =
        time_projection_.forward(tape, active).view({batch, frames, kModulations, dim});
    return timestep;
}

Tensor WanNetwork::embed_text(Tape& tape, const Tensor& context) const {
    const Tensor hidden = [&] {
        const Tensor in = text_in_.forward(tape, context);
        return ghost::unary(tape, "gelu", text_gelu_, in);
    }();
    return text_out_.forward(tape, hidden);
}

Tensor WanNetwork::embed_image(Tape& tape, const Tensor& image) const {
    Tensor x = image_->norm_in.forward(tape, image);
    x = image_->in.forward(tape, x);
    x = ghost::unary(tape, "gelu", image_->gelu, x);
    x = image_->out.forward(tape, x);
    return image_->norm_out.forward(tape, x);
}

Tensor WanNetwork::embed_context(Tape& tape, const Tensor& text, const Tensor& image,
                                 WanConditions& given) const {
    given.context = embed_text(tape, text);
    if (!image_) return {};
    Tensor encoded = embed_image(tape, image);
    given.image_tokens = encoded.shape()[1];
    given.context = join_tokens(tape, encoded, given.context);
    return encoded;
}

Tensor WanNetwork::join_tokens(Tape& tape, const Tensor& first, const Tensor& second) const {
    return ghost::cat(tape, root_, std::array<Tensor, 2>{first, second}, 1);
}

void WanNetwork::run_blocks(Tape& tape, WanTokens& x, const WanConditions& given) const {
    for (const WanBlock& block : blocks_) x = block.forward(tape, x, given);
}

// The control branch runs beside the main one, a block of it after every few blocks.
void WanNetwork::run_vace(Tape& tape, WanTokens& x, const WanConditions& given,
                          const Tensor& control) const {
    const Shape& s = control.shape();
    WanTokens c{embed_patches(tape, *vace_patch_embedding_,
                              control.view({s[0] * s[1], s[2], s[3], s[4], s[5]})),
                true};
    const WanTokens original = x;
    const std::size_t every = blocks_.size() / vace_blocks_.size();
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        x = blocks_[i].forward(tape, x, given);
        const std::size_t index = i / every;
        if (i % every != 0 || index >= vace_blocks_.size()) continue;
        const VaceBlock& vace = vace_blocks_[index];
        Tensor skip;
        {
            WanTokens inner = c;
            if (vace.before_proj) {
                Tensor projected = vace.before_proj->forward_batched(tape, c.values);
                inner = {ghost::binary(tape, "add", vace.path, projected, original.values), false};
            }
            inner = vace.block.forward(tape, inner, given);
            skip = vace.after_proj.forward(tape, inner.values);
            c = std::move(inner);
        }
        const Tensor scaled = ghost::unary(tape, "mul", root_, skip);
        ghost::binary_in_place(tape, "add_", root_, x.values, scaled);
    }
}

// Videos and images to go by (Bernini), padded; their positions go behind the video's in `rope`.
std::vector<Tensor> WanNetwork::place_contexts(Tape& tape, const StepInputs& in,
                                               Tensor& rope) const {
    std::vector<Tensor> latents;
    if (!takes_context()) return latents;
    for (const Tensor& latent : in.references) latents.push_back(padded(tape, latent));
    for (const Tensor& latent : latents) {
        const Tensor more = embed_positions(tape, grid_of(latent), in.x.type());
        rope = join_tokens(tape, rope, more);
    }
    return latents;
}

// As tokens like the video's own, behind them.
void WanNetwork::append_contexts(Tape& tape, const std::vector<Tensor>& latents,
                                 WanTokens& x) const {
    for (const Tensor& latent : latents) {
        const Tensor embedded = embed_patches(tape, patch_embedding_, latent);
        x = {join_tokens(tape, x.values, embedded), false};
    }
}

Tensor WanNetwork::forward_head(Tape& tape, const WanTokens& x, const Tensor& e) const {
    const Shape& s = e.shape();
    const Tensor modulation = add_modulation(tape, head_, e.view({s[0], s[1], 1, s[2]}), 2);
    const Tensor in = modulated_norm(tape, head_, head_norm_, x, modulation);
    return head_linear_.forward(tape, in);
}

Tensor WanNetwork::unpatched(Tape& tape, const Tensor& tokens, const Extent3& grid) const {
    const std::int64_t batch = tokens.shape()[0];
    const auto& p = config_.patch_size;
    const Tensor own = tokens.view({batch, grid.volume(), tokens.shape().last()});
    return ghost::clone(
        tape, root_, own,
        {batch, config_.out_dim, grid.frames, p[0], grid.rows, p[1], grid.columns, p[2]});
}

Tensor WanNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Extent3 grid = grid_of(latent);
    Extent3 positions = grid;
    if (ref_conv_) ++positions.frames;
    WanConditions given;
    given.rope = embed_positions(tape, positions, type);
    const std::vector<Tensor> contexts = place_contexts(tape, in, given.rope);
    WanTokens x{embed_patches(tape, patch_embedding_, latent), true};
    if (camera_) {
        const Tensor path = camera_->forward(tape, in.more.back());
        x.values = ghost::binary(tape, "add", root_, x.values.view(path.shape()), path)
                       .view(x.values.shape());
    }
    const Timestep timestep = embed_timestep(tape, in.timesteps, type);
    given.timestep = timestep.modulation;
    Tensor reference;
    if (ref_conv_) {
        const Tensor out = ref_conv_->forward(tape, in.references.front());
        const Shape& s = out.shape();
        reference = out.view({s[0], s[2] * s[3], s[1]});
        x = {join_tokens(tape, reference, x.values), false};
    }
    append_contexts(tape, contexts, x);
    // A variable of the forward's own: it lives on.
    const Tensor image =
        embed_context(tape, in.context, image_ ? in.more.front() : Tensor(), given);
    if (vace_patch_embedding_)
        run_vace(tape, x, given, in.more.front());
    else
        run_blocks(tape, x, given);
    x.values = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, x.values, grid);
}

namespace {

Result<void> check_wan_config(const modelfile::WanConfig& c) {
    constexpr std::array<std::string_view, 10> kTypes = {
        "t2v",   "i2v",  "camera", "camera_2.2", "vace",
        "scail", "humo", "s2v",    "animate",    "animate2"};
    const bool vace = c.model_type == "vace";
    const bool sound =
        std::find(kTypes.begin(), kTypes.end(), c.model_type) != kTypes.end() &&
        within(c.dim, 1, kWidthMax) && within(c.ffn_dim, 1, 8 * kWidthMax) &&
        within(c.num_heads, 1, c.dim) && c.dim % c.num_heads == 0 && c.dim / c.num_heads % 2 == 0 &&
        c.dim / c.num_heads >= 6 && within(c.num_layers, 1, kDepthMax) &&
        within(c.out_dim, 1, kWidthMax) && within(c.in_dim, c.out_dim, kWidthMax) &&
        within(c.freq_dim, 2, kWidthMax) && c.freq_dim % 2 == 0 &&
        within(c.text_dim, 1, kWidthMax) && within(c.in_dim_ref_conv, 0, kWidthMax) &&
        within(c.patch_size[0], 1, kPatchMax) && within(c.patch_size[1], 1, kPatchMax) &&
        c.patch_size[1] == c.patch_size[2] &&
        (!vace || (within(c.vace_layers, 1, c.num_layers) && within(c.vace_in_dim, 1, kWidthMax)));
    if (sound) return {};
    return fail(Errc::InvalidInput,
                fmt::format("Wan {:?} of width {} with {} heads, {} blocks and {} channels "
                            "cannot be",
                            c.model_type, c.dim, c.num_heads, c.num_layers, c.in_dim));
}

}  // namespace

Result<std::shared_ptr<const Denoiser>> build_wan(const modelfile::WanConfig& c) {
    TRY_DO(check_wan_config(c));
    if (c.model_type == "scail") return build_wan_scail(c);
    if (c.model_type == "humo") return build_wan_humo(c);
    if (c.model_type == "s2v") return build_wan_s2v(c);
    if (c.model_type == "animate") return build_wan_animate(c);
    if (c.model_type == "animate2") return build_wan_animate2(c);
    return std::make_shared<const WanNetwork>(c);
}

}  // namespace plimsoll::memory
