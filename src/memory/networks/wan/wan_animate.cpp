// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_animate.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {
constexpr std::int64_t kPoseChannels = 16;
constexpr std::size_t kBlocksPerFace = 5;
constexpr std::int64_t kPicturesTogether = 8;
constexpr std::int64_t kPicturesPerCell = 4;
constexpr std::int64_t kColours = 3;
}  // namespace

WanAnimateNetwork::WanAnimateNetwork(const modelfile::WanConfig& c)
    : WanNetwork(c),
      pose_embedding_(registry_, registry_.path("pose_patch_embedding", ""), kPoseChannels, c.dim,
                      patch_shape(c)),
      motion_(registry_, "motion_encoder"),
      face_blocks_([&] {
          std::vector<FaceBlock> blocks;
          const std::int64_t dim = c.dim;
          const std::int64_t head = dim / c.num_heads;
          for (std::size_t i = 0; i < static_cast<std::size_t>(c.num_layers) / kBlocksPerFace;
               ++i) {
              const Module own = registry_.path("face_adapter", fmt::format("fuser_blocks.{}", i));
              const auto path = [&](std::string_view name) { return registry_.path(*own, name); };
              blocks.push_back(
                  {.path = own,
                   .kv = Linear(registry_, path("linear1_kv"), dim, 2 * dim),
                   .q = Linear(registry_, path("linear1_q"), dim, dim),
                   .out = Linear(registry_, path("linear2"), dim, dim),
                   .q_norm = RmsNorm(registry_, path("q_norm"), head),
                   .k_norm = RmsNorm(registry_, path("k_norm"), head),
                   .norm_tokens = LayerNorm(registry_, path("pre_norm_feat"), dim, Affine::No),
                   .norm_motion = LayerNorm(registry_, path("pre_norm_motion"), dim, Affine::No)});
          }
          return blocks;
      }()),
      face_(registry_, "face_encoder", c.dim) {}

StepInputs WanAnimateNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    StepInputs in = WanNetwork::make_inputs(tape, wish);
    const std::int64_t frames = wish.call.latent_frames - 1;
    in.more.push_back(latent_input(tape, wish, kPoseChannels, frames));
    in.more.push_back(tape.input({wish.batch, kColours, (frames - 1) * kPicturesPerCell + 1,
                                  FaceMotionEncoder::kSide, FaceMotionEncoder::kSide},
                                 wish.type));
    return in;
}

// The motion of each latent frame: [N, frames, tokens, dim]. Nothing moves in the first.
Tensor WanAnimateNetwork::embed_face(Tape& tape, const Tensor& pictures,
                                     std::int64_t frames) const {
    const Shape& s = pictures.shape();
    const Shape one_by_one{s[0] * s[2], s[1], s[3], s[4]};
    // A view of one video, which its convolution copies part by part; a copy of several.
    const bool copied = s[0] > 1 && s[2] > 1;
    const Tensor all =
        copied ? ghost::clone(tape, root(), pictures, one_by_one) : pictures.view(one_by_one);
    const InputLayout layout = copied || s[2] == 1 ? InputLayout::Contiguous : InputLayout::Copied;
    std::vector<Tensor> parts;
    for (std::int64_t done = 0; done < one_by_one[0]; done += kPicturesTogether) {
        const std::int64_t count = std::min(kPicturesTogether, one_by_one[0] - done);
        parts.push_back(motion_.forward(tape, all.view(one_by_one.with(0, count)), layout));
    }
    const auto join = [&](const Tensor& first, const Tensor& second) {
        return ghost::cat(tape, root(), std::array<Tensor, 2>{first, second}, 1);
    };
    Tensor motion = ghost::cat(tape, root(), parts, 0);
    motion = face_.forward(tape, motion.view({s[0], s[2], FaceMotionEncoder::kWidth}));
    const Shape first = motion.shape().with(1, 1);
    const Tensor still = ghost::create(tape, "_to_copy", root(), first, motion.type());
    motion = join(still, motion);
    const std::int64_t missing = frames - motion.shape()[1];
    if (missing > 0)
        motion = join(
            motion, ghost::create(tape, "_to_copy", root(), first.with(1, missing), motion.type()));
    return motion.view(motion.shape().with(1, frames));
}

Tensor WanAnimateNetwork::forward_face(Tape& tape, const FaceBlock& block, const Tensor& x,
                                       const Tensor& motion) const {
    const Shape& m = motion.shape();
    const Shape& s = x.shape();
    const std::int64_t heads = widths().heads;
    const std::int64_t head = s[2] / heads;
    const std::int64_t frames = m[0] * m[1];
    const Tensor normed_motion = block.norm_motion.forward(tape, motion);
    const Tensor normed_tokens = block.norm_tokens.forward(tape, x);
    const Tensor kv = block.kv.forward(tape, normed_motion);
    Tensor q = block.q.forward(tape, normed_tokens);
    q = block.q_norm.forward(tape, q.view({s[0], s[1], heads, head}));
    const Tensor half = kv.view({m[0], m[1], m[2], heads, head});
    const Tensor k = block.k_norm.forward(tape, half);
    const Tensor attended = ghost::attention(tape, block.path, q, k, half,
                                             {.batch = frames,
                                              .heads = heads,
                                              .queries = s[0] * s[1] / frames,
                                              .keys = m[2],
                                              .head_dim = head});
    return block.out.forward(tape, attended.view(s));
}

Tensor WanAnimateNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Extent3 grid = grid_of(latent);
    WanConditions given;
    given.rope = embed_positions(tape, grid, type);
    WanTokens x{embed_patches(tape, patch_embedding(), latent), true};
    const Tensor motion = [&] {
        const Tensor poses = pose_embedding_.forward(tape, in.more[1]);
        ghost::binary_in_place(tape, "add_", root(), poses, poses);
        ghost::binary_in_place(tape, "copy_", root(), poses, poses);
        return embed_face(tape, in.more[2], grid.frames);
    }();
    const Timestep timestep = embed_timestep(tape, in.timesteps, type);
    given.timestep = timestep.modulation;
    const Tensor image = embed_context(tape, in.context, in.more[0], given);
    for (std::size_t i = 0; i < blocks().size(); ++i) {
        x = blocks()[i].forward(tape, x, given);
        if (i % kBlocksPerFace != 0 || i / kBlocksPerFace >= face_blocks_.size()) continue;
        const Tensor update =
            forward_face(tape, face_blocks_[i / kBlocksPerFace], x.values, motion);
        x.values = ghost::binary(tape, "add", root(), x.values, update);
    }
    x.values = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, x.values, grid);
}

Result<std::shared_ptr<const Denoiser>> build_wan_animate(const modelfile::WanConfig& c) {
    if (c.num_layers % static_cast<int>(kBlocksPerFace) != 0)
        return fail(Errc::InvalidInput,
                    fmt::format("Wan Animate with {} blocks, not a multiple of {}", c.num_layers,
                                kBlocksPerFace));
    return std::make_shared<const WanAnimateNetwork>(c);
}

}  // namespace plimsoll::memory
