// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/minimax_music_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

namespace {

// Published: one kind.
constexpr std::int64_t kChannels = 2;  // left and right
constexpr std::int64_t kLatent = 64;   // of either
constexpr std::int64_t kIn = 1024;
constexpr std::int64_t kWidth = 1536;  // halved by every level
constexpr std::array<std::int64_t, 4> kStrides = {8, 8, 4, 2};
constexpr std::array<std::int64_t, 3> kDilations = {1, 3, 9};
constexpr std::int64_t kKernel = 7;
constexpr Conv1dTraits kNormed{.weight_norm = WeightNorm::Yes};

Conv1dShape same(std::int64_t kernel, std::int64_t dilation = 1) {
    return {.kernel = kernel, .padding = dilation * (kernel - 1) / 2, .dilation = dilation};
}

std::int64_t width_after(std::size_t levels) {
    return kWidth >> levels;
}

Module add_snake(Registry& r, Module path, std::int64_t width) {
    r.add_own_parameters(path, "Snake1d", width, ModuleStorage::AsNetwork);
    return path;
}

// x + sin^2(alpha x) / alpha.
Tensor snake(Tape& tape, Module module, const Tensor& x) {
    Tensor wave = [&] {
        const Tensor angle = ghost::unary(tape, "mul", module, x);
        return ghost::unary(tape, "sin", module, angle);
    }();
    wave = ghost::unary(tape, "pow", module, wave);
    wave = ghost::unary(tape, "mul", module, wave);
    return ghost::binary(tape, "add", module, x, wave);
}

}  // namespace

MiniMaxMusicVaeNetwork::Residual MiniMaxMusicVaeNetwork::make_residual(std::string_view path,
                                                                       std::int64_t width,
                                                                       std::int64_t dilation) {
    const auto at = [&](int i) { return registry_.path(path, fmt::format("block.{}", i)); };
    const Module snake1 = add_snake(registry_, at(0), width);
    Conv1d conv1(registry_, at(1), width, width, same(kKernel, dilation), kNormed);
    const Module snake2 = add_snake(registry_, at(2), width);
    Conv1d conv2(registry_, at(3), width, width, same(1), kNormed);
    return {snake1, conv1, snake2, conv2, registry_.path(path, "")};
}

MiniMaxMusicVaeNetwork::Level MiniMaxMusicVaeNetwork::make_level(std::size_t index) {
    const std::string path = fmt::format("decoder.model.{}.block", index + 1);
    const std::int64_t stride = kStrides[index];
    const std::int64_t out = width_after(index + 1);
    const Module first = add_snake(registry_, registry_.path(path, "0"), width_after(index));
    Conv1d up(registry_, registry_.path(path, "1"), width_after(index), out,
              {.kernel = 2 * stride, .stride = stride, .padding = (stride + 1) / 2},
              {.direction = Direction1d::Transposed, .weight_norm = WeightNorm::Yes});
    Level level{first, up, {}};
    for (std::size_t i = 0; i < kDilations.size(); ++i)
        level.residuals.push_back(
            make_residual(fmt::format("{}.{}", path, i + 2), out, kDilations[i]));
    return level;
}

MiniMaxMusicVaeNetwork::MiniMaxMusicVaeNetwork()
    : root_(registry_.path("", "")),
      in_proj_(registry_, registry_.path("dec_in_proj", ""), kLatent, kIn, {}),
      conv_in_(registry_, registry_.path("decoder.model.0", ""), kIn, kWidth, same(kKernel),
               kNormed),
      levels_([&] {
          std::vector<Level> levels;
          for (std::size_t i = 0; i < kStrides.size(); ++i) levels.push_back(make_level(i));
          return levels;
      }()),
      snake_out_(add_snake(registry_, registry_.path("decoder.model.5", ""),
                           width_after(kStrides.size()))),
      tanh_(registry_.path("decoder.model.7", "")) {
    conv_out_.emplace(registry_, registry_.path("decoder.model.6", ""),
                      width_after(kStrides.size()), 1, same(kKernel), kNormed);
}

Tensor MiniMaxMusicVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const auto& s = z.shape();
    Tensor x = in_proj_.forward(tape, z.view({s[0] * kChannels, kLatent, s[2]}));
    x = conv_in_.forward(tape, x);
    for (const Level& level : levels_) {
        x = snake(tape, level.snake, x);
        x = level.up.forward(tape, x);
        for (const Residual& residual : level.residuals) {
            Tensor h = snake(tape, residual.snake1, x);
            h = residual.conv1.forward(tape, h);
            h = snake(tape, residual.snake2, h);
            h = residual.conv2.forward(tape, h);
            x = ghost::binary(tape, "add", residual.path, x, h);
        }
    }
    x = snake(tape, snake_out_, x);
    x = conv_out_->forward(tape, x);
    return ghost::unary(tape, "tanh", tanh_, x);
}

std::optional<SoundGrid> MiniMaxMusicVaeNetwork::sound() const {
    std::int64_t samples = 1;
    for (const std::int64_t stride : kStrides) samples *= stride;
    return SoundGrid{.samples_per_second = 44'100,
                     .samples_per_latent = static_cast<int>(samples),
                     .latent_channels = static_cast<int>(kChannels * kLatent)};
}

Walk MiniMaxMusicVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z =
        tape.input({call.batch, kChannels * kLatent, call.latents}, element_type(call.compute));
    const Tensor samples = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
