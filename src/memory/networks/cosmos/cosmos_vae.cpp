// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/cosmos/cosmos_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kPatch = 4;  // frames, rows and columns that the wavelets fold
constexpr int kTransforms = 2;      // each by two
constexpr std::int64_t kBands = 8;  // of one transform
constexpr std::int64_t kFolded = kColours * kPatch * kPatch * kPatch;
constexpr std::int64_t kChannels = 128;
constexpr std::array<std::int64_t, 3> kMultiples = {2, 4, 4};
constexpr int kBlocks = 2;                 // of a level going down; going up one more
constexpr std::int64_t kStatistics = 256;  // means, and deviations, of 16 channels and 16 frames
constexpr std::int64_t kStatisticsFrames = 16;

std::int64_t width_at(std::size_t level) {
    return kChannels * kMultiples[level];
}

std::vector<CosmosLevel> make_down(Registry& r) {
    std::vector<CosmosLevel> levels;
    std::int64_t width = kChannels;
    for (std::size_t i = 0; i < kMultiples.size(); ++i) {
        CosmosLevel level;
        const std::string path = fmt::format("encoder.down.{}", i);
        for (int block = 0; block < kBlocks; ++block) {
            level.blocks.emplace_back(r, fmt::format("{}.block.{}", path, block), width,
                                      width_at(i));
            width = width_at(i);
        }
        // The wavelets did the rest of the folding.
        if (i == 0)
            level.resampling.emplace(r, path + ".downsample", width,
                                     CosmosResampling::Direction::Down);
        levels.push_back(std::move(level));
    }
    return levels;
}

std::vector<CosmosLevel> make_up(Registry& r) {
    std::vector<CosmosLevel> levels;
    std::int64_t width = width_at(kMultiples.size() - 1);
    for (std::size_t i = kMultiples.size(); i-- > 0;) {
        CosmosLevel level;
        const std::string path = fmt::format("decoder.up.{}", i);
        for (int block = 0; block <= kBlocks; ++block) {
            level.blocks.emplace_back(r, fmt::format("{}.block.{}", path, block), width,
                                      width_at(i));
            width = width_at(i);
        }
        if (i == 1)
            level.resampling.emplace(r, path + ".upsample", width, CosmosResampling::Direction::Up);
        levels.push_back(std::move(level));
    }
    return levels;
}

}  // namespace

CosmosWavelets::CosmosWavelets(Registry& r, std::string_view path, Direction direction)
    : path_(r.path(path, "")) {
    const std::string_view name = direction == Direction::Forward ? "Patcher3D" : "UnPatcher3D";
    r.add_buffer(path_, name, 2, ModuleStorage::AsNetwork, Saved::No);
    r.add_buffer(path_, name, 2, ModuleStorage::Int64, Saved::No);
    if (direction == Direction::Forward)
        r.add_buffer(path_, name, 1, ModuleStorage::Float32, Saved::No);  // 32 bits
}

CosmosWavelets::Filters CosmosWavelets::make_filters(Tape& tape, std::int64_t channels) const {
    const auto small = [&](std::string_view op, const Shape& shape) {
        return ghost::create(tape, op, path_, shape, tape.compute());
    };
    const Shape taps{2};
    const Shape filters{channels, 1, 2};
    Filters made;
    {
        const Tensor flipped = small("flip", taps);
        made.low = small("repeat", filters);
    }
    const Tensor signs = small("pow", taps);
    const Tensor alternating = small("mul", taps);
    made.high = small("repeat", filters);
    return made;
}

Tensor CosmosWavelets::convolve(Tape& tape, const Tensor& x, const Tensor& filter,
                                const Shape& result) const {
    Tensor out = tape.make(result, x.type(), "convolution", path_);
    // Two taps for each number of the smaller side.
    const std::int64_t meets = std::min(x.elements(), result.elements());
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, meets, 2}), x.bytes() + filter.bytes() + out.bytes(),
                1);
    return out;
}

// To half the frames, rows and columns, in eight bands. Every variable lives to the end.
Tensor CosmosWavelets::transform(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Filters filters = make_filters(tape, s[1]);
    const Tensor padded = ghost::produce(tape, OpClass::Copy, "reflection_pad3d", path_, x,
                                         {s[0], s[1], s[2] + 1, s[3] + 1, s[4] + 1}, x.type());
    std::vector<Tensor> bands = {padded};
    std::vector<Tensor> held;
    for (std::size_t dim = 2; dim < 5; ++dim) {
        std::vector<Tensor> next;
        for (const Tensor& band : bands)
            for (const Tensor* const filter : {&filters.low, &filters.high})
                next.push_back(convolve(tape, band, *filter, band.shape().with(dim, s[dim] / 2)));
        held.insert(held.end(), bands.begin(), bands.end());
        bands = std::move(next);
    }
    const Tensor all = ghost::cat(tape, path_, bands, 1);
    return ghost::unary(tape, "div", path_, all);
}

// The first frame is repeated, so that the frames are whole patches.
Tensor CosmosWavelets::forward(Tape& tape, const Tensor& pixels) const {
    const Shape& s = pixels.shape();
    Tensor x = [&] {
        const Tensor first =
            ghost::clone(tape, path_, pixels.view(s.with(2, 1)), s.with(2, kPatch));
        const Tensor rest = pixels.view(s.with(2, s[2] - 1));
        return ghost::cat(tape, path_, std::array<Tensor, 2>{first, rest}, 2);
    }();
    for (int i = 0; i < kTransforms; ++i) x = transform(tape, x);
    return x;
}

Tensor CosmosWavelets::restore(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t channels = s[1] / kBands;
    const Filters filters = make_filters(tape, channels);
    std::vector<Tensor> bands(kBands, x.view(s.with(1, channels)));
    std::vector<Tensor> held;
    for (std::size_t dim = 5; dim-- > 2;) {
        std::vector<Tensor> next;
        for (std::size_t i = 0; i < bands.size(); i += 2) {
            const Shape wider = bands[i].shape().with(dim, 2 * s[dim]);
            const Tensor sum = convolve(tape, bands[i], filters.low, wider);
            const Tensor other = convolve(tape, bands[i + 1], filters.high, wider);
            ghost::binary_in_place(tape, "add_", path_, sum, other);
            next.push_back(sum);
        }
        held.insert(held.end(), bands.begin(), bands.end());
        bands = std::move(next);
    }
    return ghost::unary(tape, "mul", path_, bands.front());
}

Tensor CosmosWavelets::inverse(Tape& tape, Tensor x) const {
    for (int i = 0; i < kTransforms; ++i) x = restore(tape, x);
    return x.view(x.shape().with(2, x.shape()[2] - (kPatch - 1)));
}

CosmosVaeNetwork::CosmosVaeNetwork()
    : root_([&] {
          const Module own = registry_.path("", "");
          registry_.add_own_parameters(own, "CausalContinuousVideoTokenizer", 2 * kStatistics,
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      wavelets_(registry_, "encoder.patcher3d", CosmosWavelets::Direction::Forward),
      encoder_(registry_.path("encoder", "")),
      encoder_in_(registry_, "encoder.conv_in", kFolded, kChannels),
      down_(make_down(registry_)),
      encoder_middle_(registry_, "encoder.mid", width_at(kMultiples.size() - 1)),
      encoder_norm_(registry_, "encoder.norm_out", width_at(kMultiples.size() - 1)),
      encoder_out_(registry_, "encoder.conv_out", width_at(kMultiples.size() - 1), kLatentChannels),
      inverse_(registry_, "decoder.unpatcher3d", CosmosWavelets::Direction::Inverse),
      decoder_(registry_.path("decoder", "")),
      decoder_in_(registry_, "decoder.conv_in", kLatentChannels, width_at(kMultiples.size() - 1)),
      decoder_middle_(registry_, "decoder.mid", width_at(kMultiples.size() - 1)),
      up_(make_up(registry_)),
      decoder_norm_(registry_, "decoder.norm_out", width_at(0)),
      decoder_out_(registry_, "decoder.conv_out", width_at(0), kFolded),
      quant_(registry_, "quant_conv", kLatentChannels, kLatentChannels, {1, 1, 1}),
      post_quant_(registry_, "post_quant_conv", kLatentChannels, kLatentChannels, {1, 1, 1}) {}

// Of the latents, frame by frame, repeated as far as the video goes.
Tensor CosmosVaeNetwork::statistics(Tape& tape, std::int64_t frames) const {
    const std::int64_t times = (frames + kStatisticsFrames - 1) / kStatisticsFrames;
    return ghost::create(tape, "repeat", root_, {kLatentChannels, times * kStatisticsFrames},
                         tape.compute());
}

Tensor CosmosVaeNetwork::decode(Tape& tape, const Tensor& latent) const {
    const std::int64_t frames = latent.shape()[2];
    const Tensor mean = statistics(tape, frames);
    const Tensor deviation = statistics(tape, frames);
    Tensor z = ghost::unary(tape, "div", root_, latent);
    z = [&] {
        const Tensor product = ghost::binary(tape, "mul", root_, z, deviation);
        return ghost::binary(tape, "add", root_, product, mean);
    }();
    z = post_quant_.forward(tape, z);
    Tensor h = decoder_in_.forward(tape, z);
    h = decoder_middle_.forward(tape, std::exchange(h, {}));
    for (const CosmosLevel& level : up_) {
        for (const CosmosResidual& block : level.blocks) h = block.forward(tape, h);
        if (level.resampling) h = level.resampling->forward(tape, h);
    }
    h = decoder_norm_.forward(tape, h);
    h = ghost::unary(tape, "silu", decoder_, h);
    h = decoder_out_.forward(tape, h);
    return inverse_.inverse(tape, h);
}

Tensor CosmosVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    const Tensor latent = [&] {
        const Tensor h = [&] {
            const Tensor folded = wavelets_.forward(tape, pixels);
            Tensor inner = encoder_in_.forward(tape, folded);
            for (const CosmosLevel& level : down_) {
                for (const CosmosResidual& block : level.blocks) inner = block.forward(tape, inner);
                if (level.resampling) inner = level.resampling->forward(tape, inner);
            }
            inner = encoder_middle_.forward(tape, std::exchange(inner, {}));
            inner = encoder_norm_.forward(tape, inner);
            inner = ghost::unary(tape, "silu", encoder_, inner);
            return encoder_out_.forward(tape, inner);
        }();
        return quant_.forward(tape, h);
    }();
    const std::int64_t frames = latent.shape()[2];
    const Tensor mean = statistics(tape, frames);
    const Tensor deviation = statistics(tape, frames);
    Tensor normal = ghost::binary(tape, "sub", root_, latent, mean);
    normal = ghost::binary(tape, "div", root_, normal, deviation);
    return ghost::unary(tape, "mul", root_, normal);
}

VaeGrid CosmosVaeNetwork::grid() const {
    return {.pixels_per_cell = kDownscale,
            .frames_per_cell = kDownscale,
            .latent_channels = kLatentChannels};
}

bool CosmosVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kUntil = 33000;
    return call.rules.comfyui_minor_key < kUntil;
}

Walk CosmosVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor latent =
        tape.input({call.batch, kLatentChannels, (call.frames - 1) / kDownscale + 1,
                    call.height / kDownscale, call.width / kDownscale},
                   element_type(call.compute));
    const Tensor video = decode(tape, latent);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk CosmosVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels = tape.input({call.batch, kColours, call.frames, call.height, call.width},
                                     element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
