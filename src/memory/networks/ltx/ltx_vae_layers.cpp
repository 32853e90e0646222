// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vae_layers.h"

#include "memory/networks/dit/dit_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kKernel = 3;
constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSets = 4;             // shift and scale of both norms

std::int64_t frames_of(const Tensor& x) {
    return x.shape()[2];
}

// Joins what there is: undefined where both are empty.
Tensor cat_frames(Tape& tape, Module module, const Tensor& a, const Tensor& b) {
    const bool has_a = a.defined() && frames_of(a) > 0;
    const bool has_b = b.defined() && frames_of(b) > 0;
    if (has_a && has_b) return ghost::cat(tape, module, std::array<Tensor, 2>{a, b}, 2);
    if (has_a) return a;
    return has_b ? b : Tensor();
}

// Adds, in place, what was kept and then the new residuals to as many frames as there are. What is
// left is kept for the next chunk.
Tensor exchange(Tape& tape, Module module, const Tensor& into, Tensor kept, Tensor fresh) {
    if (into.defined()) {
        std::int64_t open = frames_of(into);
        const auto add = [&](const Tensor& source, std::int64_t frames) {
            ghost::binary_in_place(tape, "add_", module, ltx_frames(into, frames),
                                   ltx_frames(source, frames));
        };
        if (kept.defined()) {
            const std::int64_t lead = std::min(open, frames_of(kept));
            add(kept, lead);
            kept = ltx_frames(kept, frames_of(kept) - lead);
            open -= lead;
        }
        open = std::min(open, frames_of(fresh));
        add(fresh, open);
        fresh = ltx_frames(fresh, frames_of(fresh) - open);
    }
    return cat_frames(tape, module, kept, fresh);
}

}  // namespace

Tensor ltx_frames(const Tensor& x, std::int64_t frames) {
    return x.view(x.shape().with(2, frames));
}

// Root mean square over the channels.
Tensor ltx_pixel_norm(Tape& tape, Module module, const Tensor& x) {
    Tensor size = [&] {
        const Tensor squares = ghost::unary(tape, "pow", module, x);
        return ghost::produce(tape, OpClass::Normalization, "mean", module, squares,
                              x.shape().with(1, 1), x.type());
    }();
    size = ghost::unary(tape, "add", module, size);
    size = ghost::unary(tape, "sqrt", module, size);
    return ghost::combine(tape, "div", module, {&x, &size}, x.shape(), x.type());
}

LtxConv::LtxConv(Registry& r, std::string_view path, const Shape& s)
    : shape_(s),
      path_(r.path(path, "")),
      conv_(r, r.path(path, "conv"), s.in, s.out,
            {.kernel = {kKernel, kKernel, kKernel}, .stride = s.stride, .padding = {0, 1, 1}}) {}

Tensor LtxConv::repeat_frame(Tape& tape, const Tensor& x, std::int64_t times) const {
    return ghost::produce(tape, OpClass::Copy, "repeat", path_, ltx_frames(x, 1),
                          x.shape().with(2, times), x.type());
}

Tensor LtxConv::convolve(Tape& tape, const Tensor& x) const {
    if (shape_.padding == LtxPadding::Zeros) return conv_.forward(tape, x);
    const auto& s = x.shape();
    const Tensor padded = ghost::produce(tape, OpClass::Copy, "reflection_pad3d", conv_.path(), x,
                                         {s[0], s[1], s[2], s[3] + 2, s[4] + 2}, x.type());
    return conv_.forward(tape, padded, ConvCall{});
}

Tensor LtxConv::forward(Tape& tape, const Tensor& x, LtxVaeStream* stream) const {
    if (stream != nullptr) return forward_chunk(tape, x, stream->of(this));
    const Tensor first = repeat_frame(tape, x, shape_.causal ? kKernel - 1 : kKernel / 2);
    std::vector<Tensor> pieces = {first, x};
    if (!shape_.causal) pieces.push_back(repeat_frame(tape, x, kKernel / 2));
    const Tensor joined = ghost::cat(tape, path_, pieces, 2);
    return convolve(tape, joined);
}

Tensor LtxConv::forward_chunk(Tape& tape, const Tensor& x, LtxVaeState& state) const {
    Tensor joined;
    {
        Tensor front = state.cached;
        if (!front.defined()) {
            if (frames_of(x) == 0) return x;
            front = repeat_frame(tape, x, shape_.causal ? kKernel - 1 : kKernel / 2);
        }
        std::vector<Tensor> pieces = {front, x};
        if (state.ended && !shape_.causal) pieces.push_back(repeat_frame(tape, x, kKernel / 2));
        std::int64_t length = 0;
        for (const Tensor& piece : pieces) length += frames_of(piece);
        const std::int64_t stride = shape_.stride.frames;
        const std::int64_t over = ((length - kKernel) % stride + stride) % stride;
        const std::int64_t kept = kKernel - stride + over;
        bool keep = !state.ended;
        if (keep && frames_of(x) >= kept) {
            keep = false;
            state.cached = ltx_frames(x, kept);
        }
        joined = ghost::cat(tape, path_, pieces, 2);
        if (keep)
            state.cached = ltx_frames(joined, kept);
        else if (state.ended)
            state.cached = {};
    }
    return frames_of(joined) >= kKernel ? convolve(tape, joined) : ltx_frames(joined, 0);
}

LtxVaeTimestep::LtxVaeTimestep(Registry& r, std::string_view path, std::int64_t width)
    : proj_(r.path(path, "time_proj")),
      path_(r.path(path, "")),
      in_(r, r.path(path, "timestep_embedder.linear_1"), kTimestepWidth, width),
      act_(r.path(path, "timestep_embedder.act")),
      out_(r, r.path(path, "timestep_embedder.linear_2"), width, width) {}

Tensor LtxVaeTimestep::forward(Tape& tape, const Tensor& timestep) const {
    const Tensor cast = [&] {
        const Tensor wide = ghost::to_type(tape, proj_, timestep, ElementType::Float32);
        const Tensor waves = scaled_timestep_embedding(tape, proj_, wide, kTimestepWidth);
        return ghost::to_type(tape, path_, waves, timestep.type());
    }();
    Tensor hidden = in_.forward(tape, cast);
    hidden = ghost::unary(tape, "silu", act_, hidden);
    return out_.forward(tape, hidden);
}

LtxVaeResidual::LtxVaeResidual(Registry& r, std::string_view path, std::int64_t in,
                               std::int64_t out, bool inject_noise, const LtxVaeOptions& o)
    : in_(in),
      noise_(inject_noise),
      path_([&] {
          const Module own = r.path(path, "");
          const std::int64_t scales = inject_noise ? 2 * in : 0;
          const std::int64_t table = o.timestep_conditioning ? kSets * in : 0;
          if (scales + table > 0)
              r.add_own_parameters(own, "ResnetBlock3D", scales + table, ModuleStorage::AsNetwork);
          if (o.zero_tables && !o.timestep_conditioning)
              r.add_buffer(own, "ResnetBlock3D", kSets * in, ModuleStorage::AsNetwork, Saved::No);
          return own;
      }()),
      norm1_(r.path(path, "norm1")),
      act_(r.path(path, "non_linearity")),
      conv1_(r, *r.path(path, "conv1"),
             {.in = in, .out = out, .padding = o.padding, .causal = o.causal}),
      norm2_(r.path(path, "norm2")),
      conv2_(r, *r.path(path, "conv2"),
             {.in = out, .out = out, .padding = o.padding, .causal = o.causal}) {
    if (in == out) return;
    conv_shortcut_.emplace(r, r.path(path, "conv_shortcut"), in, out, Conv3dShape{});
    norm3_.emplace(r, r.path(path, "norm3.norm"), in);
}

// The same noise for all frames, scaled for each channel.
Tensor LtxVaeResidual::add_noise(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const Tensor noise = ghost::create(tape, "randn", path_, {s[3], s[4]}, x.type());
    const Tensor scaled = ltx_with_own(tape, "mul", path_, noise, in_, {in_, s[3], s[4]});
    return ghost::combine(tape, "add", path_, {&x, &scaled}, s, x.type());
}

Tensor LtxVaeResidual::shortcut(Tape& tape, const Tensor& x) const {
    if (!conv_shortcut_) return x;
    const auto& s = x.shape();
    const Tensor normal = norm3_->forward_strided(tape, x.view({s[0], s[2], s[3], s[4], s[1]}));
    return conv_shortcut_->forward(tape, normal.view(s));
}

Tensor LtxVaeResidual::forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                               LtxVaeStream* stream) const {
    Tensor modulation;
    Tensor h = ltx_pixel_norm(tape, norm1_, x);
    if (timestep.defined()) {
        const Tape::Cast cast = tape.cast_weight({kSets, in_}, path_);
        modulation = ltx_with_own(tape, "add", path_, timestep, kSets * in_,
                                  {timestep.shape()[0], kSets, in_});
    }
    const auto activate = [&] {
        if (modulation.defined()) {
            const Tensor part = modulation.view({modulation.shape()[0], in_, 1, 1, 1});
            const Tensor scaled = [&] {
                const Tensor factor = ghost::unary(tape, "add", path_, part);
                return ghost::combine(tape, "mul", path_, {&h, &factor}, h.shape(), h.type());
            }();
            h = ghost::combine(tape, "add", path_, {&scaled, &part}, h.shape(), h.type());
        }
        h = ghost::unary(tape, "silu", act_, h);
    };
    activate();
    h = conv1_.forward(tape, h, stream);
    if (noise_) h = add_noise(tape, h);
    h = ltx_pixel_norm(tape, norm2_, h);
    activate();
    h = conv2_.forward(tape, h, stream);
    if (noise_) h = add_noise(tape, h);
    const Tensor direct = shortcut(tape, x);
    if (stream == nullptr) return ghost::binary(tape, "add", path_, direct, h);
    LtxVaeState& state = stream->of(this);
    state.cached = exchange(tape, path_, h, state.cached, direct);
    return h;
}

void LtxVaeResidual::end(LtxVaeStream& stream) const {
    conv1_.end(stream);
    conv2_.end(stream);
}

LtxVaeResiduals::LtxVaeResiduals(Registry& r, std::string_view path, std::int64_t width,
                                 const modelfile::LtxVaeBlock& block, const LtxVaeOptions& o) {
    if (o.timestep_conditioning)
        time_embedder_.emplace(r, *r.path(path, "time_embedder"), kSets * width);
    blocks_.reserve(static_cast<std::size_t>(block.num_layers));
    for (int i = 0; i < block.num_layers; ++i)
        blocks_.emplace_back(r, fmt::format("{}.res_blocks.{}", path, i), width, width,
                             block.inject_noise, o);
}

Tensor LtxVaeResiduals::forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                                LtxVaeStream* stream) const {
    Tensor embedded;
    if (time_embedder_) embedded = time_embedder_->forward(tape, timestep);
    Tensor h = x;
    for (const LtxVaeResidual& block : blocks_) h = block.forward(tape, h, embedded, stream);
    return h;
}

void LtxVaeResiduals::end(LtxVaeStream& stream) const {
    for (const LtxVaeResidual& block : blocks_) block.end(stream);
}

LtxVaeDownsample::LtxVaeDownsample(Registry& r, std::string_view path, std::int64_t in,
                                   std::int64_t out, const Extent3& stride, const LtxVaeOptions& o)
    : path_(r.path(path, "")),
      out_(out),
      stride_(stride),
      conv_(r, *r.path(path, "conv"),
            {.in = in, .out = out / stride.volume(), .padding = o.padding, .causal = o.causal}) {}

Tensor LtxVaeDownsample::to_depth(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const Shape moved{s[0], s[1] * stride_.volume(), s[2] / stride_.frames, s[3] / stride_.rows,
                      s[4] / stride_.columns};
    // Nothing changes places where two frames become channels of one.
    const bool in_place = moved[2] == 1 && stride_.rows * stride_.columns == 1;
    if (in_place || x.elements() == 0) return x.view(moved);
    const Shape whole{moved[0],        s[1],     stride_.frames, stride_.rows,
                      stride_.columns, moved[2], moved[3],       moved[4]};
    return ghost::clone(tape, path_, x, whole).view(moved);
}

Tensor LtxVaeDownsample::mean_shortcut(Tape& tape, const Tensor& x) const {
    const Tensor deep = to_depth(tape, x);
    return ghost::produce(tape, OpClass::Normalization, "mean", path_, deep,
                          deep.shape().with(1, out_), x.type());
}

Tensor LtxVaeDownsample::forward(Tape& tape, const Tensor& given, LtxVaeStream* stream) const {
    LtxVaeState once;
    LtxVaeState& state = stream != nullptr ? stream->of(this) : once;
    Tensor x = given;
    if (state.cached_input.defined()) {
        x = cat_frames(tape, path_, state.cached_input, x);
        state.cached_input = {};
    }
    if (stride_.frames == 2 && state.first_output) {
        x = ghost::cat(tape, path_, std::array<Tensor, 2>{ltx_frames(x, 1), x}, 2);
        state.first_output = false;
    }
    if (frames_of(x) < stride_.frames) {
        state.cached_input = x;
        return {};
    }
    const Tensor direct = mean_shortcut(tape, x);
    x = conv_.forward(tape, x, stream);
    if (stream != nullptr && stride_.frames == 2 && frames_of(x) == 1) {
        if (state.cached_output.defined()) {
            x = cat_frames(tape, path_, state.cached_output, x);
            state.cached_output = {};
        } else {
            state.cached_output = x;
            x = {};
        }
    }
    if (x.defined()) x = to_depth(tape, x);
    if (stream == nullptr) return ghost::binary(tape, "add", path_, x, direct);
    state.cached = exchange(tape, path_, x, state.cached, direct);
    return x;
}

LtxVaeUpsample::LtxVaeUpsample(Registry& r, std::string_view path, std::int64_t in,
                               const modelfile::LtxVaeBlock& b, const LtxVaeOptions& o)
    : path_(r.path(path, "")),
      stride_{b.stride_frames, b.stride_cells, b.stride_cells},
      out_(in / b.multiplier),
      residual_(b.residual),
      conv_(r, *r.path(path, "conv"),
            {.in = in,
             .out = stride_.volume() * in / b.multiplier,
             .padding = o.padding,
             .causal = o.causal}) {}

Tensor LtxVaeUpsample::to_space(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const std::int64_t channels = s[1] / stride_.volume();
    const Shape moved{s[0], channels, s[2] * stride_.frames, s[3] * stride_.rows,
                      s[4] * stride_.columns};
    // Nothing changes places where channels of one frame become two.
    const bool in_place = s[2] == 1 && stride_.rows * stride_.columns == 1;
    if (in_place || x.elements() == 0) return x.view(moved);
    return ghost::clone(
               tape, path_, x,
               {s[0], channels, s[2], stride_.frames, s[3], stride_.rows, s[4], stride_.columns})
        .view(moved);
}

// The input's channels dealt out over the new frames, rows and columns, as often as needed.
Tensor LtxVaeUpsample::repeat_shortcut(Tape& tape, const Tensor& x) const {
    const Tensor spread = to_space(tape, x);
    return ghost::produce(tape, OpClass::Copy, "repeat", path_, spread,
                          spread.shape().with(1, out_), x.type());
}

Tensor LtxVaeUpsample::forward(Tape& tape, const Tensor& x, LtxVaeStream* stream) const {
    const auto without_first = [&](const Tensor& y, bool& first) {
        if (stride_.frames != 2 || frames_of(y) == 0 || !first) return y;
        first = false;
        return ltx_frames(y, frames_of(y) - 1);
    };
    LtxVaeState once;
    LtxVaeState& state = stream != nullptr ? stream->of(this) : once;
    Tensor direct;
    const auto make_direct = [&] {
        direct = repeat_shortcut(tape, x);
        direct = without_first(direct, state.first_residual);
    };
    if (stream == nullptr && residual_) make_direct();
    Tensor y = conv_.forward(tape, x, stream);
    y = to_space(tape, y);
    y = without_first(y, state.first_output);
    if (!residual_) return y;
    if (stream == nullptr) return ghost::binary(tape, "add", path_, y, direct);
    make_direct();
    if (frames_of(y) == 0) y = {};
    state.cached = exchange(tape, path_, y, state.cached, direct);
    return y;
}

Tensor ltx_forward_layer(Tape& tape, const LtxVaeLayer& layer, const Tensor& x,
                         const Tensor& timestep, LtxVaeStream* stream) {
    if (const auto* residuals = std::get_if<LtxVaeResiduals>(&layer))
        return residuals->forward(tape, x, timestep, stream);
    if (const auto* residual = std::get_if<LtxVaeResidual>(&layer))
        return residual->forward(tape, x, {}, stream);
    if (const auto* conv = std::get_if<LtxConv>(&layer)) return conv->forward(tape, x, stream);
    if (const auto* down = std::get_if<LtxVaeDownsample>(&layer))
        return down->forward(tape, x, stream);
    return std::get<LtxVaeUpsample>(layer).forward(tape, x, stream);
}

void ltx_end_layer(const LtxVaeLayer& layer, LtxVaeStream& stream) {
    std::visit([&](const auto& one) { one.end(stream); }, layer);
}

}  // namespace plimsoll::memory
