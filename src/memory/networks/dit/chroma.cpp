// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/chroma.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
// Rows of the modulation: shift, scale, gate for each of two parts of each of two streams, one part
// of a single stream, and shift and scale of the last layer.
constexpr std::int64_t kRowsDouble = 12;
constexpr std::int64_t kRowsSingle = 3;
constexpr std::int64_t kRowsFinal = 2;

}  // namespace

ChromaApproximator::ChromaApproximator(Registry& r, std::string_view path,
                                       const modelfile::ChromaConfig& c)
    : path_(r.path(path, "")),
      in_(r, r.path(path, "in_proj"), c.in_dim, c.hidden_dim),
      layers_([&] {
          std::vector<MlpEmbedder> layers;
          layers.reserve(static_cast<std::size_t>(c.n_layers));
          for (int i = 0; i < c.n_layers; ++i)
              layers.emplace_back(r, fmt::format("{}.layers.{}", path, i), c.hidden_dim,
                                  c.hidden_dim);
          return layers;
      }()),
      norms_([&] {
          std::vector<RmsNorm> norms;
          norms.reserve(static_cast<std::size_t>(c.n_layers));
          for (int i = 0; i < c.n_layers; ++i)
              norms.emplace_back(r, r.path(path, fmt::format("norms.{}", i)), c.hidden_dim,
                                 Affine::Yes, NormClass::Plain);
          return norms;
      }()),
      out_(r, r.path(path, "out_proj"), c.hidden_dim, c.out_dim) {}

Tensor ChromaApproximator::forward(Tape& tape, const Tensor& x) const {
    Tensor hidden = in_.forward(tape, x);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        Tensor normal = norms_[i].forward(tape, hidden);
        const Tensor update = layers_[i].forward(tape, std::exchange(normal, {}));
        hidden = ghost::binary(tape, "add", path_, hidden, update);
    }
    return out_.forward(tape, hidden);
}

ChromaTrunk::ChromaTrunk(Registry& r, const modelfile::ChromaConfig& c)
    : config_(c),
      widths_{.hidden = c.hidden_size,
              .heads = c.num_heads,
              .mlp = static_cast<std::int64_t>(c.hidden_size * c.mlp_ratio),
              .qkv_bias = c.qkv_bias ? Bias::Yes : Bias::No,
              .modulated = Modulated::FromOutside,
              .forward = BlockForward::Chroma},
      root_(r.path("", "")),
      pe_(r.path("pe_embedder", "")),
      txt_in_(r, r.path("txt_in", ""), c.context_in_dim, c.hidden_size),
      approximator_(r, "distilled_guidance_layer", c),
      double_blocks_(make_flux_blocks<FluxDoubleBlock>(r, "double_blocks", c.depth, widths_)),
      single_blocks_(
          make_flux_blocks<FluxSingleBlock>(r, "single_blocks", c.depth_single_blocks, widths_)) {}

ChromaNetwork::ChromaNetwork(const modelfile::ChromaConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      img_in_(registry_, registry_.path("img_in", ""), c.in_channels, c.hidden_size),
      trunk_(registry_, c),
      final_layer_(registry_, "final_layer", trunk_.widths(), c.out_channels,
                   Modulated::FromOutside) {}

StepInputs ChromaNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input(
        {wish.batch, latent_channels(config_.in_channels), call.latent_height, call.latent_width},
        wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_in_dim}, wish.type);
    in.guidance = tape.input({wish.cond_batch}, wish.type);
    return in;
}

std::vector<ModuleEntry> ChromaNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

std::int64_t ChromaTrunk::modulation_rows() const {
    return kRowsDouble * config_.depth + kRowsSingle * config_.depth_single_blocks + kRowsFinal;
}

// The forward's variables up to the modulations, [N, rows, width]; all live as long as it runs.
struct ChromaTrunk::Modulations {
    Tensor time;
    Tensor guidance;
    Tensor index;
    Tensor repeated;
    Tensor input;
    Tensor rows;
};

ChromaTrunk::Modulations ChromaTrunk::modulate_all(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.x.shape()[0];
    const std::int64_t rows = modulation_rows();
    // A quarter of the width each tells timestep and guidance, half of it the row.
    const std::int64_t quarter = config_.in_dim / 4;
    const Module m = root_;
    const ElementType type = in.x.type();
    const auto waves = [&](Tensor t, std::int64_t width) {
        const Tensor own = [&] {
            const ElementType float_type =
                t.type() == ElementType::Int64 ? ElementType::Float32 : t.type();
            t = ghost::produce(tape, OpClass::Elementwise, "mul", m, t, t.shape(), float_type);
            Tensor sinusoids = timestep_embedding(tape, m, t, width, float_type);
            t = {};
            return sinusoids;
        }();
        return ghost::to_type(tape, m, own, type);
    };
    const auto cloned = [&](const Tensor& t) { return ghost::clone(tape, m, t, t.shape()); };
    const auto repeated = [&](const Tensor& t) {
        return ghost::produce(tape, OpClass::Copy, "repeat", m, t, {batch, rows, 2 * quarter},
                              type);
    };
    Modulations v;
    v.time = waves(cloned(in.timesteps), quarter);
    v.guidance = waves(cloned(in.guidance), quarter);
    v.index = waves(ghost::create(tape, "arange", m, {rows}, ElementType::Int64), 2 * quarter);
    v.index = repeated(v.index);
    v.repeated = repeated(ghost::cat(tape, m, std::array<Tensor, 2>{v.time, v.guidance}, 1));
    v.input = ghost::cat(tape, m, std::array<Tensor, 2>{v.repeated, v.index}, 2);
    v.rows = approximator_.forward(tape, v.input);
    return v;
}

Tensor ChromaTrunk::forward(
    Tape& tape, const StepInputs& in, Tensor img, const Positions& positions,
    const std::function<Tensor(const Tensor& own, const Tensor& modulation)>& finish) const {
    const Shape tokens = img.shape();
    const Modulations variables = modulate_all(tape, in);
    const Tensor& modulation = variables.rows;
    Tensor txt = txt_in_.forward(tape, in.context);
    const Tensor ids =
        ghost::cat(tape, root_, std::array<Tensor, 2>{positions.txt, positions.img}, 1);
    const Tensor pe = rope_table(tape, pe_, ids, config_.axes_dim);
    const FluxCondition condition{modulation, modulation};
    for (const FluxDoubleBlock& block : double_blocks_)
        block.forward(tape, img, txt, condition, pe);
    {
        const std::array<Tensor, 2> both = {txt, std::move(img)};
        img = ghost::cat(tape, root_, both, 1);
    }
    for (const FluxSingleBlock& block : single_blocks_) block.forward(tape, img, modulation, pe);
    return finish(img.view(tokens), modulation);
}

Tensor ChromaNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t patch = config_.patch_size;
    const PositionIds positions{.axes = static_cast<std::int64_t>(config_.axes_dim.size()),
                                .type = in.x.type()};
    const std::int64_t batch = in.x.shape()[0];
    const Tensor padded = pad_to_patches(tape, root_, in.x, patch);  // a variable to the end
    const std::int64_t rows = padded.shape()[2] / patch;
    const std::int64_t columns = padded.shape()[3] / patch;
    const Tensor patches = to_tokens(tape, root_, padded, patch);
    const Tensor img_ids =
        image_ids(tape, root_, batch, rows, columns, positions, ImageIndex::LeftZero);
    const Tensor txt_ids = text_ids(tape, root_, batch, in.context.shape()[1], positions, 0);

    const Tensor out =
        trunk_.forward(tape, in, img_in_.forward(tape, patches), {.txt = txt_ids, .img = img_ids},
                       [&](const Tensor& own, const Tensor& modulation) {
                           return final_layer_.forward(tape, own, modulation);
                       });
    return from_tokens(tape, root_, out, latent_channels(config_.out_channels), rows, columns,
                       patch);
}

bool sound_chroma_trunk(const modelfile::ChromaConfig& c) {
    return sound_flux(c) && within(c.in_dim, 1, kWidthMax) && c.in_dim % 8 == 0 &&
           within(c.hidden_dim, 1, kWidthMax) && c.out_dim == c.hidden_size &&
           within(c.n_layers, 0, kDepthMax);
}

Result<std::shared_ptr<const Denoiser>> build_chroma(const modelfile::ChromaConfig& c) {
    const auto whole_patches = [&](int channels) {
        return channels % (c.patch_size * c.patch_size) == 0;
    };
    const bool sound =
        sound_chroma_trunk(c) && whole_patches(c.in_channels) && whole_patches(c.out_channels);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Chroma of width {} with {} heads, {} + {} blocks and {} layers of "
                                "{} for its modulations cannot be",
                                c.hidden_size, c.num_heads, c.depth, c.depth_single_blocks,
                                c.n_layers, c.hidden_dim));
    return std::make_shared<const ChromaNetwork>(c);
}

}  // namespace plimsoll::memory
