// SPDX-License-Identifier: Apache-2.0
//
// Vae: a network between pixels and latents, walked whole or tile by tile.
#pragma once
#include "memory/networks/registry.h"

#include <cstdint>
#include <optional>

namespace plimsoll::memory {

// Which of ComfyUI's VAEs it is; decides what ComfyUI believes that it needs.
enum class VaeKind : std::uint8_t {
    AutoencoderKl,
    Flux2,
    Wan21,
    Wan22,
    HunyuanVideo,
    HunyuanVideo15,  // and HunyuanImage's refiner
    HunyuanImage,
    MiniMaxH3,
    Oobleck,
    MusicDcae,
    Ltx,
    LtxDiffusion,  // decodes by denoising: LTX 2.4, 2.5
    LtxSound,
    Cosmos1,
    Mage,
    MiniMaxSound,
    MiniMaxMusic,
    StableAudio3,  // codes sound by transformers
    PixelSpace,
    Seedvr2,
};

// How pixels become latent cells.
struct VaeGrid {
    int pixels_per_cell = 8;
    int frames_per_cell = 1;  // above 1: the first frame has a cell of its own
    int latent_channels = 4;
    // Where clips of frames are coded each by itself: so many frames in so many latent ones.
    int clip_frames = 0;
    int clip_latents = 0;

    // Frames of pixels that so many latent ones stand for, and the reverse.
    [[nodiscard]] std::int64_t pixel_frames(std::int64_t latents) const;
    [[nodiscard]] std::int64_t latent_frames(std::int64_t frames) const;
    // Of frames that are there, those that are coded.
    [[nodiscard]] std::int64_t coded_frames(std::int64_t frames) const;
};

// How a sound's samples become latents along the time.
struct SoundGrid {
    int samples_per_second = 44'100;
    int samples_per_latent = 2048;
    int latent_channels = 64;
    int latent_rows = 1;         // cells of one latent along the time: frequencies
    bool rows_are_time = false;  // in LTX-2's latents, whose columns are the frequencies
    // What ComfyUI hands the encoder, where the VAE takes it to its own rate itself; 0: its own.
    int given_per_second = 0;
    int given_multiple = 1;    // samples: the rest is cut off
    bool first_alone = false;  // the first latent stands for a moment, not for a stretch

    [[nodiscard]] std::int64_t given_per_latent() const;
    // Of a sound of so many seconds.
    [[nodiscard]] double latents_of(double seconds) const;
};

class Vae : public RegisteredNetwork {
  public:
    [[nodiscard]] virtual VaeKind kind() const = 0;
    [[nodiscard]] virtual VaeGrid grid() const = 0;
    // Whether it cuts what it is given into tiles by itself: asking for others changes nothing.
    [[nodiscard]] virtual bool tiles_itself() const { return false; }
    // Of VAEs of sound; their calls count `latents` instead of pixels.
    [[nodiscard]] virtual std::optional<SoundGrid> sound() const { return std::nullopt; }
    // Whether the walk has this version's forward for such a call.
    [[nodiscard]] virtual bool knows(const VaeCall& /*call*/) const { return true; }
    // Whether the walk has the encoder's forward at all.
    [[nodiscard]] virtual bool encodes() const { return true; }
    [[nodiscard]] virtual Walk simulate_decode(const VaeCall& call) const = 0;
    // Only of those that encode.
    [[nodiscard]] virtual Walk simulate_encode(const VaeCall& call) const;

  protected:
    using RegisteredNetwork::RegisteredNetwork;
};

}  // namespace plimsoll::memory
