// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_scail.h"

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

WanScailNetwork::WanScailNetwork(const modelfile::WanConfig& c)
    : WanNetwork(c),
      pose_embedding_(registry_, registry_.path("patch_embedding_pose", ""), c.in_dim, c.dim,
                      patch_shape(c), ModuleStorage::Float32) {}

StepInputs WanScailNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    StepInputs in = WanNetwork::make_inputs(tape, wish);
    const auto half = [](std::int64_t cells) { return std::max<std::int64_t>(cells / 2, 1); };
    in.more.push_back(tape.input({wish.batch, config().in_dim, wish.call.latent_frames,
                                  half(wish.call.latent_height), half(wish.call.latent_width)},
                                 wish.type));
    in.more.push_back(latent_input(tape, wish, config().in_dim, 1));
    return in;
}

Tensor WanScailNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Tensor poses = padded(tape, in.more[1]);
    const Tensor reference = padded(tape, in.more[2]);
    Extent3 grid = grid_of(latent);
    grid.frames += grid_of(reference).frames;
    WanConditions given;
    given.rope = [&] {
        const Tensor own = embed_positions(tape, grid, type);
        const Tensor of_poses = embed_positions(tape, grid_of(poses), type);
        return join_tokens(tape, own, of_poses);
    }();
    WanTokens x;
    x.values = [&] {
        const Tensor tokens = [&] {
            const Tensor frames =
                ghost::cat(tape, root(), std::array<Tensor, 2>{reference, latent}, 2);
            return embed_patches(tape, patch_embedding(), frames);
        }();
        return join_tokens(tape, tokens, embed_patches(tape, pose_embedding_, poses));
    }();
    const Timestep timestep = embed_timestep(tape, in.timesteps, type);
    given.timestep = timestep.modulation;
    const Tensor image = embed_context(tape, in.context, in.more[0], given);
    run_blocks(tape, x, given);
    x.values = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, x.values, grid);
}

Result<std::shared_ptr<const Denoiser>> build_wan_scail(const modelfile::WanConfig& config) {
    return std::make_shared<const WanScailNetwork>(config);
}

}  // namespace plimsoll::memory
