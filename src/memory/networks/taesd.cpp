// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/taesd.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kWidth = 64;
constexpr std::int64_t kColours = 3;
constexpr int kBlocksPerLevel = 3;
constexpr ConvShape kHalving{3, 2, 1};

// The layers of a list, one number after the other.
class Numbering {
  public:
    Numbering(Registry& registry, std::string_view list) : registry_(registry), list_(list) {}
    [[nodiscard]] Module next() { return registry_.path(list_, fmt::format("{}", number_++)); }

  private:
    Registry& registry_;
    std::string_view list_;
    int number_ = 0;
};

}  // namespace

TaesdBlock::TaesdBlock(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      conv1_(r, r.path(path, "conv.0"), width, width),
      relu1_(r.path(path, "conv.1")),
      conv2_(r, r.path(path, "conv.2"), width, width),
      relu2_(r.path(path, "conv.3")),
      conv3_(r, r.path(path, "conv.4"), width, width),
      fuse_(r.path(path, "fuse")) {}

Tensor TaesdBlock::forward(Tape& tape, const Tensor& x) const {
    const Tensor sum = [&] {
        Tensor h = conv1_.forward(tape, x);
        h = ghost::unary(tape, "relu", relu1_, h);
        h = conv2_.forward(tape, h);
        h = ghost::unary(tape, "relu", relu2_, h);
        h = conv3_.forward(tape, h);
        return ghost::binary(tape, "add", path_, h, x);
    }();
    return ghost::unary(tape, "relu", fuse_, sum);
}

TaesdNetwork::TaesdNetwork(std::int64_t latent_channels)
    : Vae(false), latent_channels_(latent_channels), root_(registry_.path("", "")) {
    registry_.add_own_parameters(root_, "TAESD", 2, ModuleStorage::AsNetwork);  // scale and shift
    register_encoder();
    Numbering layers(registry_, "taesd_decoder");
    clamp_ = layers.next();
    ends_.emplace_back(registry_, layers.next(), latent_channels, kWidth);
    relu_ = layers.next();
    for (std::size_t i = 0; i < kLevels; ++i) {
        std::vector<TaesdBlock> blocks;
        for (int j = 0; j < kBlocksPerLevel; ++j)
            blocks.emplace_back(registry_, *layers.next(), kWidth);
        const Module upsample = layers.next();
        Conv2d conv(registry_, layers.next(), kWidth, kWidth, kConv3, Bias::No);
        levels_.push_back({std::move(blocks), upsample, conv});
    }
    last_.emplace_back(registry_, *layers.next(), kWidth);
    ends_.emplace_back(registry_, layers.next(), kWidth, kColours);
}

// Its weights are resident with the decoder's.
void TaesdNetwork::register_encoder() {
    Numbering layers(registry_, "taesd_encoder");
    (void)Conv2d(registry_, layers.next(), kColours, kWidth);
    (void)TaesdBlock(registry_, *layers.next(), kWidth);
    for (std::size_t i = 0; i < kLevels; ++i) {
        (void)Conv2d(registry_, layers.next(), kWidth, kWidth, kHalving, Bias::No);
        for (int j = 0; j < kBlocksPerLevel; ++j)
            (void)TaesdBlock(registry_, *layers.next(), kWidth);
    }
    (void)Conv2d(registry_, layers.next(), kWidth, latent_channels_);
}

Tensor TaesdNetwork::decode(Tape& tape, const Tensor& latent) const {
    const auto steps = [&](Tensor x, Module module, std::initializer_list<std::string_view> ops) {
        for (const std::string_view op : ops) x = ghost::unary(tape, op, module, x);
        return x;
    };
    const Tensor scaled = steps(latent, root_, {"sub", "mul"});
    Tensor x = steps(scaled, clamp_, {"div", "tanh", "mul"});
    x = ends_.front().forward(tape, x);
    x = ghost::unary(tape, "relu", relu_, x);
    for (const Level& level : levels_) {
        for (const TaesdBlock& block : level.blocks) x = block.forward(tape, x);
        const Shape& s = x.shape();
        x = ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d", level.upsample, x,
                           {s[0], s[1], 2 * s[2], 2 * s[3]}, x.type());
        x = level.conv.forward(tape, x);
    }
    x = last_.front().forward(tape, x);
    x = ends_.back().forward(tape, x);
    return steps(std::move(x), root_, {"sub", "mul"});
}

Result<std::shared_ptr<const TaesdNetwork>> build_taesd(std::int64_t latent_channels) {
    if (!within(latent_channels, 1, kWidthMax))
        return fail(Errc::InvalidInput,
                    fmt::format("TAESD of {} latent channels cannot be", latent_channels));
    return std::make_shared<const TaesdNetwork>(latent_channels);
}

VaeGrid TaesdNetwork::grid() const {
    return {.pixels_per_cell = kDownscale,
            .frames_per_cell = 1,
            .latent_channels = static_cast<int>(latent_channels_)};
}

Walk TaesdNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor latent = tape.input(
        {call.batch, latent_channels_, call.height / kDownscale, call.width / kDownscale},
        element_type(call.compute));
    const Tensor pixels = decode(tape, latent);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
