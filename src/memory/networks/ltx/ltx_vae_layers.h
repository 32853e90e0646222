// SPDX-License-Identifier: Apache-2.0
//
// Layers of LTX-Video's VAE. ComfyUI 0.33.0 runs it in chunks of frames: convolutions keep the last
// frames of what they saw, residual blocks what they could not add yet.
#pragma once
#include "memory/networks/conv3d.h"
#include "memory/networks/ltx/ltx_layers.h"
#include "modelfile/networks/ltx_vae_config.h"

#include <optional>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace plimsoll::memory {

// What a layer remembers from one chunk to the next.
struct LtxVaeState {
    Tensor cached;         // frames in front of the next chunk; residuals to be added to it
    Tensor cached_output;  // a frame of a convolution that waits for its pair
    Tensor cached_input;   // a frame that waits for its pair
    bool ended = false;    // the next chunk is the last one
    bool first_output = true;
    bool first_residual = true;
};
class LtxVaeStream {
  public:
    [[nodiscard]] LtxVaeState& of(const void* layer) { return states_[layer]; }

  private:
    std::unordered_map<const void*, LtxVaeState> states_;
};

// Frames of a tensor [N, C, T, H, W]: a view, which keeps all of it.
[[nodiscard]] Tensor ltx_frames(const Tensor& x, std::int64_t frames);
[[nodiscard]] Tensor ltx_pixel_norm(Tape& tape, Module module, const Tensor& x);

enum class LtxPadding : std::uint8_t { Zeros, Reflect };  // of rows and columns

// 3 x 3 x 3, padded in time with copies of the first frame and, unless causal, the last.
class LtxConv {
  public:
    struct Shape {
        std::int64_t in = 0;
        std::int64_t out = 0;
        Extent3 stride = {};
        LtxPadding padding = LtxPadding::Zeros;
        bool causal = true;
    };
    LtxConv(Registry& registry, std::string_view path, const Shape& shape);
    // No stream: all frames at once.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const { stream.of(this).ended = true; }

  private:
    [[nodiscard]] Tensor forward_chunk(Tape& tape, const Tensor& x, LtxVaeState& state) const;
    [[nodiscard]] Tensor convolve(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor repeat_frame(Tape& tape, const Tensor& x, std::int64_t times) const;

    Shape shape_;
    Module path_;
    Conv3d conv_;
};

// A timestep embedded, without the projection of LtxTimestep.
class LtxVaeTimestep {
  public:
    LtxVaeTimestep(Registry& registry, std::string_view path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& timestep) const;

  private:
    Module proj_;
    Module path_;
    Linear in_;
    Module act_;
    Linear out_;
};

struct LtxVaeOptions {
    LtxPadding padding = LtxPadding::Zeros;
    bool causal = true;
    bool timestep_conditioning = false;
    bool zero_tables = false;  // kept where there is no timestep, since ComfyUI 0.33.0
};

class LtxVaeResidual {
  public:
    LtxVaeResidual(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                   bool inject_noise, const LtxVaeOptions& options);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                                 LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const;

  private:
    [[nodiscard]] Tensor add_noise(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor shortcut(Tape& tape, const Tensor& x) const;

    std::int64_t in_;
    bool noise_;
    Module path_;
    Module norm1_;
    Module act_;
    LtxConv conv1_;
    Module norm2_;
    LtxConv conv2_;
    std::optional<Conv3d> conv_shortcut_;
    std::optional<LayerNorm> norm3_;
};

class LtxVaeResiduals {
  public:
    LtxVaeResiduals(Registry& registry, std::string_view path, std::int64_t width,
                    const modelfile::LtxVaeBlock& block, const LtxVaeOptions& options);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                                 LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const;

  private:
    std::optional<LtxVaeTimestep> time_embedder_;
    std::vector<LtxVaeResidual> blocks_;
};

// Frames, rows and columns moved into channels, beside them their means.
class LtxVaeDownsample {
  public:
    LtxVaeDownsample(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                     const Extent3& stride, const LtxVaeOptions& options);
    // Undefined where the chunk gives no whole block of frames yet.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const { conv_.end(stream); }

  private:
    [[nodiscard]] Tensor to_depth(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor mean_shortcut(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t out_;
    Extent3 stride_;
    LtxConv conv_;
};

// The reverse; a residual one adds the input, its channels repeated.
class LtxVaeUpsample {
  public:
    LtxVaeUpsample(Registry& registry, std::string_view path, std::int64_t in,
                   const modelfile::LtxVaeBlock& block, const LtxVaeOptions& options);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, LtxVaeStream* stream) const;
    void end(LtxVaeStream& stream) const { conv_.end(stream); }
    [[nodiscard]] std::int64_t out() const { return out_; }

  private:
    [[nodiscard]] Tensor to_space(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor repeat_shortcut(Tape& tape, const Tensor& x) const;

    Module path_;
    Extent3 stride_;
    std::int64_t out_;
    bool residual_;
    LtxConv conv_;
};

using LtxVaeLayer =
    std::variant<LtxVaeResiduals, LtxVaeResidual, LtxConv, LtxVaeDownsample, LtxVaeUpsample>;
// Undefined, or without frames, where the chunk gives nothing yet.
[[nodiscard]] Tensor ltx_forward_layer(Tape& tape, const LtxVaeLayer& layer, const Tensor& x,
                                       const Tensor& timestep, LtxVaeStream* stream);
void ltx_end_layer(const LtxVaeLayer& layer, LtxVaeStream& stream);

}  // namespace plimsoll::memory
