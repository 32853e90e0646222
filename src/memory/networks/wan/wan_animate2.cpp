// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_animate2.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {
constexpr std::int64_t kMaskChannels = 4;
}

StepInputs WanAnimate2Network::make_inputs(Tape& tape, const InputWish& wish) const {
    StepInputs in = WanNetwork::make_inputs(tape, wish);
    in.more.push_back(latent_input(tape, wish, config().out_dim, wish.call.latent_frames - 1));
    in.more.push_back(tape.input(in.more.front().shape(), wish.type));
    in.more.push_back(tape.input(in.context.shape(), wish.type));
    return in;
}

// The latent twice, between them a mask that says that every frame is known.
Tensor WanAnimate2Network::embed_driving(Tape& tape, const Tensor& latent) const {
    const Tensor joined = [&] {
        const Tensor known = ghost::create_like(tape, "ones_like", root(),
                                                latent.view(latent.shape().with(1, kMaskChannels)));
        return ghost::cat(tape, root(), std::array<Tensor, 3>{latent, known, latent}, 1);
    }();
    return embed_patches(tape, patch_embedding(), joined);
}

// Room for the video's own keys and values and those of one frame, and for what was attended.
WanAnimate2Network::Buffers WanAnimate2Network::take_buffers(Tape& tape, const Tensor& x,
                                                             std::int64_t frame) const {
    const Shape& s = x.shape();
    const std::int64_t heads = widths().heads;
    const auto take = [&](const Shape& shape) {
        tape.charge(OpClass::Copy, "new_empty", root(), 0, 0, 0);
        return tape.make(shape, x.type(), "new_empty", root());
    };
    const Shape keys{s[0], s[1] + frame, heads, s[2] / heads};
    Buffers buffers;
    buffers.k = take(keys);
    buffers.v = take(keys);
    buffers.out = take(s);
    return buffers;
}

WanTokens WanAnimate2Network::contiguous(Tape& tape, const WanTokens& x) const {
    if (!x.transposed) return x;
    return {ghost::clone(tape, root(), x.values, x.values.shape()), false};
}

WanTokens WanAnimate2Network::drive(Tape& tape, const WanBlock& block, const WanTokens& input,
                                    const WanConditions& given, Keys& keys) const {
    const Tensor sets = block.modulation(tape, root(), given);
    WanTokens x = contiguous(tape, input);
    WanSelfAttention::Projected own;
    x.values = [&] {
        const WanSelfAttention& attention = block.self_attention();
        const Tensor in = block.attention_input(tape, root(), x, sets);
        own = attention.project(tape, root(), in, given.rope);
        const Tensor out = attention.attend(tape, root(), own);
        const Tensor update = attention.project_out(tape, out);
        own.q = {};
        return block.add_gated(tape, root(), x.values, update, sets);
    }();
    WanTokens result{block.finish(tape, root(), x, sets, given), false};
    keys = {std::move(own.k), std::move(own.v)};
    return result;
}

Tensor WanAnimate2Network::attend(Tape& tape, const WanBlock& block, const Tensor& in,
                                  const WanConditions& given, const Keys& keys,
                                  const Buffers& buffers) const {
    const WanSelfAttention& attention = block.self_attention();
    const WanSelfAttention::Projected own = attention.project(tape, root(), in, given.rope);
    const auto copy = [&](const Tensor& from) {
        ghost::binary_in_place(tape, "copy_", root(), from, from);
    };
    copy(own.k);
    copy(own.v);
    const Shape& all = own.q.shape();
    const std::int64_t frame = buffers.k.shape()[1] - all[1];
    const Tensor one = own.q.view(all.with(1, frame));
    for (std::int64_t i = 0; i < all[1] / frame; ++i) {
        const bool reference = i == 0;  // driven by no frame
        if (!reference) {
            copy(keys.k.view(one.shape()));
            copy(keys.v.view(one.shape()));
        }
        copy(attention.attend(tape, root(),
                              {one, reference ? own.k : buffers.k, reference ? own.v : buffers.v}));
    }
    return attention.project_out(tape, buffers.out);
}

WanTokens WanAnimate2Network::generate(Tape& tape, const WanBlock& block, const WanTokens& input,
                                       const WanConditions& given, const Keys& keys,
                                       const Buffers& buffers) const {
    const Tensor sets = block.modulation(tape, root(), given);
    WanTokens x = contiguous(tape, input);
    x.values = [&] {
        const Tensor update = [&] {
            const Tensor in = block.attention_input(tape, root(), x, sets);
            return attend(tape, block, in, given, keys, buffers);
        }();
        return block.add_gated(tape, root(), x.values, update, sets);
    }();
    return {block.finish(tape, root(), x, sets, given), false};
}

Tensor WanAnimate2Network::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Extent3 grid = grid_of(latent);
    WanConditions given;
    given.rope = embed_positions(tape, grid, type);
    const Tensor driving = padded(tape, in.more[1]);
    WanConditions given_driving;
    given_driving.rope = embed_positions(tape, grid_of(driving), type);
    WanTokens x{embed_patches(tape, patch_embedding(), latent), true};
    WanTokens y{embed_driving(tape, driving), true};
    const Timestep timestep = embed_timestep(tape, in.timesteps, type);
    given.timestep = timestep.modulation;
    const Tensor start = ghost::create_like(tape, "ones_like", root(), in.timesteps);
    const Timestep timestep_driving = embed_timestep(tape, start, type);
    given_driving.timestep = timestep_driving.modulation;
    embed_context(tape, in.context, in.more[0], given);
    embed_context(tape, in.more[3], in.more[2], given_driving);
    const Buffers buffers = take_buffers(tape, x.values, grid.rows * grid.columns);
    Keys keys;
    for (const WanBlock& block : blocks()) {
        Keys next;
        y = drive(tape, block, y, given_driving, next);
        keys = std::move(next);
        x = generate(tape, block, x, given, keys, buffers);
    }
    const Tensor out = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, out, grid);
}

Result<std::shared_ptr<const Denoiser>> build_wan_animate2(const modelfile::WanConfig& c) {
    if (c.in_dim != 2 * c.out_dim + kMaskChannels)
        return fail(Errc::InvalidInput, fmt::format("Wan-Animate-2 takes {} channels, not {}",
                                                    2 * c.out_dim + kMaskChannels, c.in_dim));
    return std::make_shared<const WanAnimate2Network>(c);
}

}  // namespace plimsoll::memory
