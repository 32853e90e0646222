// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_humo.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

// A latent frame's audio: a window of Whisper large-v3's frames, of five of its layers.
constexpr std::int64_t kWindow = 8;
constexpr std::int64_t kLayers = 5;
constexpr std::int64_t kWhisperWidth = 1280;
constexpr std::int64_t kHidden = 512;

}  // namespace

WanHumoNetwork::WanHumoNetwork(const modelfile::WanConfig& c)
    : WanNetwork(c),
      audio_path_(registry_.path("audio_proj", "")),
      audio_in_(registry_, registry_.path("audio_proj", "audio_proj_glob_1.layer"),
                kWindow * kLayers * kWhisperWidth, kHidden),
      audio_hidden_(registry_, registry_.path("audio_proj", "audio_proj_glob_2.layer"), kHidden,
                    kHidden),
      audio_out_(registry_, registry_.path("audio_proj", "audio_proj_glob_3.layer"), kHidden,
                 kAudioTokensPerFrame * kHumoAudioWidth),
      audio_norm_(registry_, registry_.path("audio_proj", "audio_proj_glob_norm.layer"),
                  kHumoAudioWidth) {}

StepInputs WanHumoNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    StepInputs in = WanNetwork::make_inputs(tape, wish);
    in.more.push_back(tape.input(
        {wish.batch, wish.call.latent_frames, kWindow, kLayers, kWhisperWidth}, wish.type));
    in.more.push_back(latent_input(tape, wish, config().in_dim, 1));
    return in;
}

// [N, frames x kAudioTokensPerFrame, kHumoAudioWidth].
Tensor WanHumoNetwork::embed_audio(Tape& tape, Tensor audio) const {
    const std::int64_t batch = audio.shape()[0];
    const std::int64_t frames = audio.shape()[1];
    Tensor x = audio.view({batch * frames, kWindow * kLayers * kWhisperWidth});
    for (const Linear* layer : {&audio_in_, &audio_hidden_}) {
        const Tensor hidden = layer->forward(tape, x);
        x = ghost::unary(tape, "relu", audio_path_, hidden);
    }
    const Tensor tokens =
        audio_out_.forward(tape, x).view({batch, frames * kAudioTokensPerFrame, kHumoAudioWidth});
    return audio_norm_.forward(tape, tokens);
}

Tensor WanHumoNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Extent3 grid = grid_of(latent);
    const Tensor own_rope = embed_positions(tape, grid, type);  // the caller's variable
    WanTokens x{embed_patches(tape, patch_embedding(), latent), true};
    const Timestep timestep = embed_timestep(tape, in.timesteps, type);
    WanConditions given;
    given.timestep = timestep.modulation;
    const Tensor& reference = in.more[1];
    {
        const Tensor tokens = embed_patches(tape, patch_embedding(), reference);
        const Tensor rope = embed_positions(tape, grid_of(reference), type);
        x = {join_tokens(tape, x.values, tokens), false};
        given.rope = join_tokens(tape, own_rope, rope);
    }
    given.context = embed_text(tape, in.context);
    // The reference's frame is silent.
    const Tensor silence = ghost::create(tape, "zeros", root(),
                                         in.more[0].shape().with(1, reference.shape()[2]), type);
    const Tensor audio = ghost::cat(tape, root(), std::array<Tensor, 2>{in.more[0], silence}, 1);
    given.audio = embed_audio(tape, audio);
    run_blocks(tape, x, given);
    x.values = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, x.values, grid);
}

Result<std::shared_ptr<const Denoiser>> build_wan_humo(const modelfile::WanConfig& config) {
    return std::make_shared<const WanHumoNetwork>(config);
}

}  // namespace plimsoll::memory
