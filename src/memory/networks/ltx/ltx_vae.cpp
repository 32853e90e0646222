// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using modelfile::LtxVaeBlock;
using modelfile::LtxVaeBlockKind;
using modelfile::LtxVaeConfig;

namespace {

constexpr std::int64_t kLatentChannels = 128;  // of the statistics that ComfyUI keeps
constexpr std::int64_t kFramesPerCell = kLtxVaeFrames;
constexpr std::int64_t kPixelsPerCell = kLtxVaePixels;
constexpr std::int64_t kTableSets = 2;  // shift and scale

LtxVaeOptions encoder_options(LtxVaeForm form) {
    return {.padding = LtxPadding::Zeros,
            .causal = true,
            .timestep_conditioning = false,
            .zero_tables = form == LtxVaeForm::Chunked};
}

LtxVaeOptions decoder_options(const LtxVaeConfig& c, LtxVaeForm form) {
    return {.padding = c.decoder_pads_zeros ? LtxPadding::Zeros : LtxPadding::Reflect,
            .causal = c.causal_decoder,
            .timestep_conditioning = c.timestep_conditioning,
            .zero_tables = form == LtxVaeForm::Chunked};
}

LtxVaeLayer make_down(Registry& r, std::string_view path, std::int64_t width, std::int64_t out,
                      const LtxVaeBlock& block, const LtxVaeOptions& o) {
    const Extent3 stride{block.stride_frames, block.stride_cells, block.stride_cells};
    switch (block.kind) {
        case LtxVaeBlockKind::Residual:
            return LtxVaeResidual(r, path, width, out, false, o);
        case LtxVaeBlockKind::SpaceToDepth:
            return LtxVaeDownsample(r, path, width, out, stride, o);
        case LtxVaeBlockKind::Convolution:
            return LtxConv(r, path, {.in = width, .out = out, .stride = stride});
        default:
            return LtxVaeResiduals(r, path, width, block, o);
    }
}

// Widths before and after each block of a decoder, in the order it runs.
std::vector<std::int64_t> decoder_widths(const LtxVaeConfig& c) {
    std::int64_t width = c.base_channels;
    for (const LtxVaeBlock& block : c.decoder_blocks)
        if (block.kind != LtxVaeBlockKind::Residuals) width *= block.multiplier;
    std::vector<std::int64_t> widths = {width};
    widths.reserve(c.decoder_blocks.size() + 1);
    for (auto block = c.decoder_blocks.rbegin(); block != c.decoder_blocks.rend(); ++block) {
        if (block->kind != LtxVaeBlockKind::Residuals) width /= block->multiplier;
        widths.push_back(width);
    }
    return widths;
}

}  // namespace

// Between 6 and 24 GiB the bytes grow in proportion, from 32 to 128 MiB.
std::int64_t ltx_vae_chunk_bytes(double total_vram_gib) {
    constexpr double kSmallest = 6;
    constexpr double kLargest = 24;
    constexpr double kMib = 1024.0 * 1024.0;
    constexpr double kBytesMin = 32 * kMib;
    constexpr double kBytesMax = 128 * kMib;
    const double part = std::clamp((total_vram_gib - kSmallest) / (kLargest - kSmallest), 0.0, 1.0);
    return static_cast<std::int64_t>(kBytesMin + part * (kBytesMax - kBytesMin));
}

LtxVaeEncoder::LtxVaeEncoder(Registry& r, const LtxVaeConfig& c, LtxVaeForm form)
    : path_(r.path("encoder", "")),
      norm_out_(r.path("encoder", "conv_norm_out")),
      act_(r.path("encoder", "conv_act")),
      patch_(c.patch_size),
      in_(std::int64_t{c.in_channels} * c.patch_size * c.patch_size),
      base_(c.base_channels),
      conv_in_(r, "encoder.conv_in", {.in = in_, .out = base_}) {
    std::int64_t width = base_;
    blocks_.reserve(c.encoder_blocks.size());
    for (std::size_t i = 0; i < c.encoder_blocks.size(); ++i) {
        const LtxVaeBlock& block = c.encoder_blocks[i];
        const bool widens = block.kind != LtxVaeBlockKind::Residuals;
        const std::int64_t out = widens ? width * block.multiplier : width;
        blocks_.push_back(make_down(r, fmt::format("encoder.down_blocks.{}", i), width, out, block,
                                    encoder_options(form)));
        width = out;
    }
    // One logarithm of the variance for all channels.
    conv_out_.emplace(r, "encoder.conv_out",
                      LtxConv::Shape{.in = width, .out = std::int64_t{c.latent_channels} + 1});
}

Tensor LtxVaeEncoder::to_patches(Tape& tape, const Tensor& pixels) const {
    const auto& s = pixels.shape();
    const std::int64_t rows = s[3] / patch_;
    const std::int64_t columns = s[4] / patch_;
    return ghost::clone(tape, path_, pixels, {s[0], s[1], 1, patch_, patch_, s[2], rows, columns})
        .view({s[0], in_, s[2], rows, columns});
}

Tensor LtxVaeEncoder::run(Tape& tape, Tensor x, LtxVaeStream* stream) const {
    x = conv_in_.forward(tape, x, stream);
    for (const LtxVaeLayer& block : blocks_) {
        x = ltx_forward_layer(tape, block, x, {}, stream);
        if (!x.defined() || x.shape()[2] == 0) return {};
    }
    x = ltx_pixel_norm(tape, norm_out_, x);
    x = ghost::unary(tape, "silu", act_, x);
    x = conv_out_->forward(tape, x, stream);
    if (x.shape()[2] == 0) return {};
    const Tensor repeated =
        ghost::produce(tape, OpClass::Copy, "repeat", path_, x.view(x.shape().with(1, 1)),
                       x.shape().with(1, x.shape()[1] - 2), x.type());
    return ghost::cat(tape, path_, std::array<Tensor, 2>{x, repeated}, 1);
}

void LtxVaeEncoder::end(LtxVaeStream& stream) const {
    conv_in_.end(stream);
    for (const LtxVaeLayer& block : blocks_) ltx_end_layer(block, stream);
    conv_out_->end(stream);
}

Tensor LtxVaeEncoder::forward(Tape& tape, const Tensor& pixels) const {
    return run(tape, to_patches(tape, pixels), nullptr);
}

// The first frame, then as many at a time as fill twice a decoder's chunk: 2, 4 or a multiple of 8.
Tensor LtxVaeEncoder::forward_chunked(Tape& tape, const Tensor& pixels,
                                      std::int64_t chunk_bytes) const {
    const auto& s = pixels.shape();
    const std::int64_t frame = ltx_frames(pixels, 1).bytes();
    const auto wide_frame = static_cast<std::int64_t>(
        static_cast<double>(frame) * (static_cast<double>(base_) / static_cast<double>(in_)));
    std::int64_t together = std::max<std::int64_t>(2, 2 * chunk_bytes / wide_frame);
    if (together < 4)
        together = 2;
    else
        together = together < 8 ? 4 : together / 8 * 8;
    LtxVaeStream stream;
    std::vector<Tensor> outputs;
    Tensor chunk;
    Tensor output;
    for (std::int64_t done = 0, now = 1; done < s[2]; done += now) {
        now = done == 0 ? 1 : std::min(together, s[2] - done);
        if (done + now == s[2]) end(stream);
        chunk = to_patches(tape, ltx_frames(pixels, now));
        output = run(tape, chunk, &stream);
        if (output.defined()) outputs.push_back(output);
    }
    return outputs.size() == 1 ? outputs.front() : ghost::cat(tape, path_, outputs, 2);
}

LtxVaeDecoder::LtxVaeDecoder(Registry& r, const LtxVaeConfig& c, LtxVaeForm form)
    : path_(r.path("decoder", "")),
      norm_out_(r.path("decoder", "conv_norm_out")),
      act_(r.path("decoder", "conv_act")),
      patch_(c.patch_size),
      out_(c.out_channels),
      width_(c.base_channels) {
    const LtxVaeOptions options = decoder_options(c, form);
    if (c.timestep_conditioning)
        r.add_own_parameters(path_, "Decoder", 1 + kTableSets * width_, ModuleStorage::AsNetwork);
    else if (form == LtxVaeForm::Chunked)
        r.add_buffer(path_, "Decoder", kTableSets * width_, ModuleStorage::AsNetwork, Saved::No);
    const std::vector<std::int64_t> widths = decoder_widths(c);
    conv_in_.emplace(r, "decoder.conv_in",
                     LtxConv::Shape{.in = c.latent_channels,
                                    .out = widths.front(),
                                    .padding = options.padding,
                                    .causal = options.causal});
    blocks_.reserve(c.decoder_blocks.size());
    for (std::size_t i = 0; i < c.decoder_blocks.size(); ++i) {
        const LtxVaeBlock& block = c.decoder_blocks[c.decoder_blocks.size() - 1 - i];
        const std::string path = fmt::format("decoder.up_blocks.{}", i);
        if (block.kind == LtxVaeBlockKind::DepthToSpace)
            blocks_.emplace_back(LtxVaeUpsample(r, path, widths[i], block, options));
        else if (block.kind == LtxVaeBlockKind::Residual) {
            LtxVaeOptions plain = options;
            plain.timestep_conditioning = false;
            blocks_.emplace_back(
                LtxVaeResidual(r, path, widths[i], widths[i + 1], block.inject_noise, plain));
        } else {
            blocks_.emplace_back(LtxVaeResiduals(r, path, widths[i], block, options));
        }
    }
    conv_out_.emplace(r, "decoder.conv_out",
                      LtxConv::Shape{.in = width_,
                                     .out = out_ * patch_ * patch_,
                                     .padding = options.padding,
                                     .causal = options.causal});
    if (c.timestep_conditioning)
        last_time_embedder_.emplace(r, "decoder.last_time_embedder", kTableSets * width_);
}

Tensor LtxVaeDecoder::scale_timestep(Tape& tape, const Tensor& x) const {
    const Tensor multiplier = x.view({1});
    return ghost::unary(tape, "mul", path_, multiplier);
}

Tensor LtxVaeDecoder::last_modulation(Tape& tape, const Tensor& timestep) const {
    const Tensor embedded = last_time_embedder_->forward(tape, timestep);
    tape.keep(embedded);  // a variable of the forward
    const Tape::Cast cast = tape.cast_weight({kTableSets, width_}, path_);
    return ltx_with_own(tape, "add", path_, embedded, kTableSets * width_, {1, kTableSets, width_});
}

Tensor LtxVaeDecoder::from_patches(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    return ghost::clone(tape, path_, x, {s[0], out_, s[2], 1, s[3], patch_, s[4], patch_})
        .view({s[0], out_, s[2], s[3] * patch_, s[4] * patch_});
}

Tensor LtxVaeDecoder::finish(Tape& tape, Tensor x, const Tensor& modulation,
                             LtxVaeStream* stream) const {
    if (modulation.defined()) {
        const Tensor part = modulation.view({1, width_, 1, 1, 1});
        const Tensor scaled = [&] {
            const Tensor factor = ghost::unary(tape, "add", path_, part);
            return ghost::combine(tape, "mul", path_, {&x, &factor}, x.shape(), x.type());
        }();
        x = ghost::combine(tape, "add", path_, {&scaled, &part}, x.shape(), x.type());
    }
    x = ghost::unary(tape, "silu", act_, x);
    x = conv_out_->forward(tape, x, stream);
    if (x.shape()[2] == 0) return {};
    return from_patches(tape, x);
}

Tensor LtxVaeDecoder::forward(Tape& tape, const Tensor& z) const {
    Tensor x = conv_in_->forward(tape, z, nullptr);
    Tensor timestep;
    if (last_time_embedder_) timestep = scale_timestep(tape, x);
    for (const LtxVaeLayer& block : blocks_)
        x = ltx_forward_layer(tape, block, x, timestep, nullptr);
    x = ltx_pixel_norm(tape, norm_out_, x);
    Tensor modulation;
    if (last_time_embedder_) modulation = last_modulation(tape, timestep);
    return finish(tape, std::move(x), modulation, nullptr);
}

void LtxVaeDecoder::forward_chunked(Tape& tape, const Tensor& z, std::int64_t chunk_bytes) const {
    Run run;
    run.chunk_bytes = chunk_bytes;
    conv_in_->end(run.stream);
    const Tensor x = conv_in_->forward(tape, z, &run.stream);
    if (last_time_embedder_) {
        run.timestep = scale_timestep(tape, x);
        run.modulation = last_modulation(tape, run.timestep);
    }
    run_up(tape, run, 0, x, true);
}

// What a block gives is cut into chunks, and each passes all later blocks before the next one does.
void LtxVaeDecoder::run_up(Tape& tape, Run& run, std::size_t index, Tensor x, bool ended) const {
    if (index == blocks_.size()) {
        x = ltx_pixel_norm(tape, norm_out_, x);
        if (ended) conv_out_->end(run.stream);
        const Tensor pixels = finish(tape, std::move(x), run.modulation, &run.stream);
        return;
    }
    if (ended) ltx_end_layer(blocks_[index], run.stream);
    x = ltx_forward_layer(tape, blocks_[index], x, run.timestep, &run.stream);
    if (!x.defined() || x.shape()[2] == 0) return;
    const std::int64_t chunks = (x.bytes() + run.chunk_bytes - 1) / run.chunk_bytes;
    if (chunks <= 1) return run_up(tape, run, index + 1, std::move(x), ended);
    const std::int64_t frames = x.shape()[2];
    const std::int64_t together = (frames + chunks - 1) / chunks;
    for (std::int64_t done = 0; done < frames; done += together) {
        const std::int64_t now = std::min(together, frames - done);
        run_up(tape, run, index + 1, ltx_frames(x, now), ended && done + now == frames);
    }
}

LtxVaeNetwork::LtxVaeNetwork(const LtxVaeConfig& c, LtxVaeForm form,
                             std::shared_ptr<const LtxVaeNetwork> older)
    : config_(c),
      form_(form),
      older_(std::move(older)),
      root_(registry_.path("", "")),
      encoder_(registry_, c, form),
      decoder_(registry_, c, form) {
    // Means and deviations; 0.3.64 keeps three more tables that nothing reads.
    const std::int64_t tables = form == LtxVaeForm::Chunked ? 2 : 5;
    registry_.add_buffer(registry_.path("per_channel_statistics", ""), "processor",
                         tables * kLatentChannels, ModuleStorage::AsNetwork, Saved::Yes);
}

Tensor LtxVaeNetwork::decode(Tape& tape, const Tensor& z, std::int64_t chunk_bytes) const {
    Tensor x = z;
    if (config_.timestep_conditioning) {
        const Tensor noise = [&] {
            const Tensor random = ghost::create_like(tape, "randn_like", root_, z);
            return ghost::unary(tape, "mul", root_, random);
        }();
        const Tensor rest = ghost::unary(tape, "mul", root_, z);
        x = ghost::binary(tape, "add", root_, noise, rest);
    }
    const Tensor latent = [&] {
        const Tensor scaled = ltx_with_own(tape, "mul", root_, x, kLatentChannels, x.shape());
        return ltx_with_own(tape, "add", root_, scaled, kLatentChannels, x.shape());
    }();
    if (form_ == LtxVaeForm::Whole) return decoder_.forward(tape, latent);
    decoder_.forward_chunked(tape, latent, chunk_bytes);
    return {};
}

Tensor LtxVaeNetwork::encode(Tape& tape, const Tensor& pixels, std::int64_t chunk_bytes) const {
    const Tensor moments = form_ == LtxVaeForm::Whole
                               ? encoder_.forward(tape, pixels)
                               : encoder_.forward_chunked(tape, pixels, chunk_bytes);
    const Tensor means = moments.view(moments.shape().with(1, config_.latent_channels));
    const Tensor centred = ltx_with_own(tape, "sub", root_, means, kLatentChannels, means.shape());
    return ltx_with_own(tape, "div", root_, centred, kLatentChannels, means.shape());
}

namespace {

bool sound_blocks(const LtxVaeConfig& c, const std::vector<LtxVaeBlock>& blocks) {
    std::int64_t width = c.base_channels;
    bool sound = within(static_cast<std::int64_t>(blocks.size()), 1, 64);
    for (const LtxVaeBlock& block : blocks) {
        sound = sound && within(block.num_layers, 0, 64) && within(block.multiplier, 1, 16) &&
                within(block.stride_frames, 1, 2) && within(block.stride_cells, 1, 2);
        if (!sound) return false;
        const int volume = block.stride_frames * block.stride_cells * block.stride_cells;
        if (block.kind == LtxVaeBlockKind::SpaceToDepth && volume % block.multiplier != 0)
            return false;
        if (block.kind != LtxVaeBlockKind::Residuals) width *= block.multiplier;
        if (width > kWidthMax) return false;
    }
    return true;
}

// Whether a list of blocks divides frames and cells as the latent says.
bool scales_by(const LtxVaeConfig& c, const std::vector<LtxVaeBlock>& blocks) {
    std::int64_t frames = 1;
    std::int64_t cells = c.patch_size;
    for (const LtxVaeBlock& block : blocks) {
        if (frames > kFramesPerCell || cells > kPixelsPerCell) return false;
        frames *= block.stride_frames;
        cells *= block.stride_cells;
    }
    return frames == kFramesPerCell && cells == kPixelsPerCell;
}

bool can_be(const LtxVaeConfig& c) {
    return within(c.in_channels, 1, 64) && within(c.out_channels, 1, 64) &&
           c.latent_channels == kLatentChannels && within(c.base_channels, 8, kWidthMax) &&
           c.base_channels % 8 == 0 && within(c.patch_size, 1, 16) &&
           sound_blocks(c, c.encoder_blocks) && sound_blocks(c, c.decoder_blocks) &&
           scales_by(c, c.encoder_blocks) && scales_by(c, c.decoder_blocks);
}

std::unexpected<Error> cannot_be(const LtxVaeConfig& c) {
    return fail(Errc::InvalidInput,
                fmt::format("an LTX VAE of width {} with {} and {} blocks cannot be",
                            c.base_channels, c.encoder_blocks.size(), c.decoder_blocks.size()));
}

}  // namespace

Result<std::shared_ptr<const LtxVaeNetwork>> build_ltx_vae(const LtxVaeConfig& c, LtxVaeForm form) {
    if (!can_be(c)) return cannot_be(c);
    return std::make_shared<const LtxVaeNetwork>(c, form, nullptr);
}

Result<std::shared_ptr<const Vae>> build_ltx_vae(const LtxVaeConfig& c) {
    if (!can_be(c)) return cannot_be(c);
    return std::make_shared<const LtxVaeNetwork>(
        c, LtxVaeForm::Chunked,
        std::make_shared<const LtxVaeNetwork>(c, LtxVaeForm::Whole, nullptr));
}

VaeGrid LtxVaeNetwork::grid() const {
    return {.pixels_per_cell = kLtxVaePixels,
            .frames_per_cell = kLtxVaeFrames,
            .latent_channels = config_.latent_channels};
}

namespace {

constexpr int kChunkedSince = 33000;  // ComfyUI 0.33.0, traced; 0.3.64 does not

LtxVaeCall ltx_call(const VaeCall& call) {
    return {.batch = call.batch,
            .frames = (call.frames - 1) / kLtxVaeFrames * kLtxVaeFrames + 1,
            .height = call.height,
            .width = call.width,
            .chunk_bytes = ltx_vae_chunk_bytes(call.rules.card_gib),
            .compute = call.compute,
            .storage = call.storage,
            .rules = call.rules};
}

}  // namespace

bool LtxVaeNetwork::knows(const VaeCall& call) const {
    // Chosen: 8000 frames of 1920 x 1080, which keeps the number of chunks countable.
    constexpr std::int64_t kPixelsMax = std::int64_t{1} << 34;
    const bool small = std::int64_t{call.frames} * call.height * call.width <= kPixelsMax;
    const bool chunked = call.rules.comfyui_minor_key >= kChunkedSince;
    // The timestep is embedded once, for one video.
    return small && (!chunked || call.rules.card_gib > 0) &&
           (!config_.timestep_conditioning || call.batch == 1);
}

Walk LtxVaeNetwork::simulate_decode(const VaeCall& call) const {
    const bool older = older_ && call.rules.comfyui_minor_key < kChunkedSince;
    return simulate_ltx_vae_decode(older ? *older_ : *this, ltx_call(call));
}

Walk LtxVaeNetwork::simulate_encode(const VaeCall& call) const {
    const bool older = older_ && call.rules.comfyui_minor_key < kChunkedSince;
    return simulate_ltx_vae_encode(older ? *older_ : *this, ltx_call(call));
}

Walk simulate_ltx_vae_decode(const LtxVaeNetwork& vae, const LtxVaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input(
        {call.batch, vae.config().latent_channels, (call.frames - 1) / kFramesPerCell + 1,
         call.height / kPixelsPerCell, call.width / kPixelsPerCell},
        element_type(call.compute));
    const Tensor video = vae.decode(tape, z, call.chunk_bytes);
    return finish_walk(tape, vae, call.storage, call.rules);
}

Walk simulate_ltx_vae_encode(const LtxVaeNetwork& vae, const LtxVaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, vae.config().in_channels, call.frames, call.height, call.width},
                   element_type(call.compute));
    const Tensor latent = vae.encode(tape, pixels, call.chunk_bytes);
    return finish_walk(tape, vae, call.storage, call.rules);
}

}  // namespace plimsoll::memory
