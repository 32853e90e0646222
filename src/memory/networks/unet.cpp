// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/unet.h"

#include <fmt/format.h>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

// Far above any published network (SDXL: 1280 channels, 70 transformer blocks); they keep what an
// untrusted configuration can cost small.
constexpr int kChannelsMax = 1 << 13;
constexpr int kConditionMax = 1 << 16;
constexpr int kLevelsMax = 16;
constexpr int kDepthMax = 256;
constexpr int kTransformerBlocksMax = 2048;
constexpr int kResBlocksMax = 512;

Result<void> check_range(std::string_view what, int value, int low, int high) {
    if (value >= low && value <= high) return {};
    return fail(Errc::InvalidInput,
                fmt::format("{} is {}, expected {} to {}", what, value, low, high));
}

Result<void> check_depths(std::string_view what, const std::vector<int>& depths,
                          std::size_t expected) {
    if (depths.size() != expected) {
        return fail(Errc::InvalidInput, fmt::format("{} has {} entries, the levels need {}", what,
                                                    depths.size(), expected));
    }
    for (const int depth : depths) TRY_DO(check_range(what, depth, 0, kDepthMax));
    return {};
}

}  // namespace

Result<void> check_unet_config(const modelfile::UnetConfig& c) {
    TRY_DO(check_range("model_channels", c.model_channels, 32, kChannelsMax));
    TRY_DO(check_range("in_channels", c.in_channels, 1, kChannelsMax));
    TRY_DO(check_range("out_channels", c.out_channels, 1, kChannelsMax));
    TRY_DO(check_range("context_dim", c.context_dim, 1, kConditionMax));
    TRY_DO(check_range("adm_in_channels", c.adm_in_channels, 0, kConditionMax));
    TRY_DO(check_range("transformer_depth_middle", c.transformer_depth_middle, -2, kDepthMax));
    TRY_DO(check_range("levels", static_cast<int>(c.channel_mult.size()), 1, kLevelsMax));
    if (c.temporal)  // what the sampler does around one is not known; see build_video_unet
        return fail(Errc::InvalidInput, "temporal UNets (SVD) are not simulated");
    if (c.num_res_blocks.size() != c.channel_mult.size()) {
        return fail(Errc::InvalidInput,
                    fmt::format("{} levels, but num_res_blocks for {}", c.channel_mult.size(),
                                c.num_res_blocks.size()));
    }
    std::size_t blocks = 0;
    for (std::size_t level = 0; level < c.channel_mult.size(); ++level) {
        TRY_DO(
            check_range("channel_mult", c.channel_mult[level], 1, kChannelsMax / c.model_channels));
        TRY_DO(check_range("num_res_blocks", c.num_res_blocks[level], 0, 64));
        blocks += static_cast<std::size_t>(c.num_res_blocks[level]);
        const int channels = c.model_channels * c.channel_mult[level];
        const int unit = c.num_head_channels > 0 ? c.num_head_channels : c.num_heads;
        if (unit <= 0)
            return fail(Errc::InvalidInput, "neither num_heads nor num_head_channels is given");
        if (channels % unit != 0 || channels % 32 != 0) {
            return fail(Errc::InvalidInput,
                        fmt::format("{} channels do not divide into heads or groups", channels));
        }
    }
    TRY_DO(check_range("sum of num_res_blocks", static_cast<int>(blocks), 0, kResBlocksMax));
    TRY_DO(check_depths("transformer_depth", c.transformer_depth, blocks));
    TRY_DO(check_depths("transformer_depth_output", c.transformer_depth_output,
                        blocks + c.channel_mult.size()));
    int transformer_blocks = c.transformer_depth_middle;
    for (const int depth : c.transformer_depth) transformer_blocks += depth;
    for (const int depth : c.transformer_depth_output) transformer_blocks += depth;
    return check_range("transformer blocks", transformer_blocks, -2, kTransformerBlocksMax);
}

AttentionWidth attention_width(const modelfile::UnetConfig& config, std::int64_t channels) {
    const std::int64_t heads =
        config.num_head_channels > 0 ? channels / config.num_head_channels : config.num_heads;
    return {.channels = channels,
            .context = config.context_dim,
            .heads = heads,
            .head_dim = channels / heads};
}

namespace {
Projection projection_of(const modelfile::UnetConfig& config) {
    return config.use_linear_in_transformer ? Projection::Linear : Projection::Conv;
}

BlockPart make_res_block(Registry& r, const modelfile::UnetConfig& config, std::string_view path,
                         const ResBlockShape& shape) {
    if (config.temporal) return VideoResBlock(r, path, shape);
    return ResBlock(r, path, shape);
}

BlockPart make_transformer(Registry& r, const modelfile::UnetConfig& config, std::string_view path,
                           std::int64_t channels, int depth) {
    const AttentionWidth width = attention_width(config, channels);
    if (config.temporal) return VideoTransformer(r, path, width, depth);
    return SpatialTransformer(r, path, width, depth, projection_of(config));
}
}  // namespace

EncoderHalf build_encoder_half(Registry& r, const modelfile::UnetConfig& config) {
    EncoderHalf half;
    const std::int64_t base = config.model_channels;
    const auto block_path = [&](std::size_t part) {
        return fmt::format("input_blocks.{}.{}", half.input_blocks.size(), part);
    };
    BlockSequence first;
    first.emplace_back(Conv2d(r, r.path(block_path(0), ""), config.in_channels, base));
    half.input_blocks.push_back(std::move(first));
    half.width = base;
    half.channels.push_back(base);
    std::size_t depth_index = 0;
    for (std::size_t level = 0; level < config.channel_mult.size(); ++level) {
        const std::int64_t out = base * config.channel_mult[level];
        for (int i = 0; i < config.num_res_blocks[level]; ++i) {
            BlockSequence parts;
            parts.push_back(make_res_block(r, config, block_path(0), {half.width, out, 4 * base}));
            half.width = out;
            if (const int depth = config.transformer_depth[depth_index++]; depth > 0) {
                parts.push_back(make_transformer(r, config, block_path(1), out, depth));
            }
            half.input_blocks.push_back(std::move(parts));
            half.channels.push_back(out);
        }
        if (level + 1 < config.channel_mult.size()) {
            BlockSequence parts;
            parts.emplace_back(Downsample(r, block_path(0), half.width));
            half.input_blocks.push_back(std::move(parts));
            half.channels.push_back(half.width);
        }
    }
    return half;
}

BlockSequence build_middle_block(Registry& r, const modelfile::UnetConfig& config,
                                 std::int64_t channels) {
    BlockSequence parts;
    if (config.transformer_depth_middle < -1) return parts;
    const ResBlockShape shape{channels, channels, 4 * std::int64_t{config.model_channels}};
    parts.push_back(make_res_block(r, config, "middle_block.0", shape));
    if (config.transformer_depth_middle >= 0) {
        parts.push_back(make_transformer(r, config, "middle_block.1", channels,
                                         config.transformer_depth_middle));
        parts.push_back(make_res_block(r, config, "middle_block.2", shape));
    }
    return parts;
}

EmbeddingMlp::EmbeddingMlp(Registry& r, std::string_view path, std::int64_t in, std::int64_t out)
    : first_(r, r.path(path, "0"), in, out),
      act_(r.path(path, "1")),
      second_(r, r.path(path, "2"), out, out) {}

Tensor EmbeddingMlp::forward(Tape& tape, const Tensor& x) const {
    Tensor hidden = first_.forward(tape, x);
    hidden = ghost::unary(tape, "silu", act_, hidden);
    return second_.forward(tape, hidden);
}

UnetNetwork::UnetNetwork(const modelfile::UnetConfig& config)
    : config_(config),
      root_(registry_.path("", "")),
      time_embed_(registry_, "time_embed", config.model_channels,
                  4 * std::int64_t{config.model_channels}) {
    if (config.adm_in_channels > 0) {
        label_emb_.emplace(registry_, "label_emb.0", config.adm_in_channels,
                           4 * std::int64_t{config.model_channels});
    }
    encoder_ = build_encoder_half(registry_, config);
    middle_ = build_middle_block(registry_, config, encoder_.width);
    build_output_blocks(encoder_.channels);
    out_norm_.emplace(registry_, registry_.path("out.0", ""),
                      config.model_channels * std::int64_t{config.channel_mult[0]});
    out_act_ = registry_.path("out.1", "");
    out_conv_.emplace(registry_, registry_.path("out.2", ""), config.model_channels,
                      config.out_channels);
}

void UnetNetwork::build_output_blocks(std::vector<std::int64_t> skips) {
    const std::int64_t base = config_.model_channels;
    std::int64_t width = encoder_.width;
    std::vector<int> depths = config_.transformer_depth_output;
    for (std::size_t level = config_.channel_mult.size(); level-- > 0;) {
        const std::int64_t out = base * config_.channel_mult[level];
        for (int i = 0; i <= config_.num_res_blocks[level]; ++i) {
            BlockSequence parts;
            const auto part_path = [&] {
                return fmt::format("output_blocks.{}.{}", output_blocks_.size(), parts.size());
            };
            parts.push_back(make_res_block(registry_, config_, part_path(),
                                           {width + skips.back(), out, 4 * base}));
            skips.pop_back();
            width = out;
            const int depth = depths.back();
            depths.pop_back();
            if (depth > 0) {
                parts.push_back(make_transformer(registry_, config_, part_path(), out, depth));
            }
            if (level > 0 && i == config_.num_res_blocks[level]) {
                parts.emplace_back(Upsample(registry_, part_path(), out));
            }
            output_blocks_.push_back(std::move(parts));
        }
    }
}

namespace {
// h += control.pop(): in place; the control tensor dies where nobody else holds it.
void apply_control(Tape& tape, Module module, const Tensor& h, std::vector<Tensor>* control) {
    if (control == nullptr || control->empty()) return;
    const Tensor tensor = std::move(control->back());
    control->pop_back();
    ghost::binary_in_place(tape, "add_", module, h, tensor);
}
}  // namespace

StepInputs UnetNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    // Beyond the latent: a mask and what it hides, or the image to edit.
    const std::int64_t latent = std::min(config_.in_channels, config_.out_channels);
    const std::int64_t more = config_.in_channels - latent;
    StepInputs in;
    if (config_.temporal) in.frames = call.latent_frames;
    in.x = tape.input(
        {wish.batch, wish.joined ? latent + more : latent, call.latent_height, call.latent_width},
        wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.context_dim}, wish.type);
    if (config_.adm_in_channels > 0)
        in.y = tape.input({wish.cond_batch, config_.adm_in_channels}, wish.type);
    if (more > 0 && !wish.joined)
        in.concat =
            tape.input({wish.batch, more, call.latent_height, call.latent_width}, wish.type);
    return in;
}

namespace {

// Width of the embeddings whose noise the model object around a UNet augments; 0: it has none. SDXL
// and its relatives carry OpenCLIP-G's, unCLIP what half of its vector condition is wide.
std::int64_t augmentor_width(const modelfile::UnetConfig& config) {
    constexpr std::int64_t kOpenClipG = 1280;
    switch (config.family) {
        using enum modelfile::Family;
        case Sdxl:
        case SdxlInstructPix2Pix:
        case SdxlRefiner:
        case Ssd1b:
        case SegmindVega:
        case Koala700m:
        case Koala1b:
            return kOpenClipG;
        case Sd21UnclipL:
        case Sd21UnclipH:
            return config.adm_in_channels / 2;
        default:
            return 0;
    }
}

}  // namespace

std::vector<ModuleEntry> UnetNetwork::model_buffers() const {
    constexpr std::int64_t kSteps = 1000;         // of the training schedule
    constexpr std::int64_t kSigmaTables = 2;      // sigmas and their logarithms
    constexpr std::int64_t kAugmentorTables = 8;  // betas, cumulative alphas and their roots
    std::vector<ModuleEntry> buffers = {sigma_table(kSigmaTables * kSteps)};
    if (const std::int64_t width = augmentor_width(config_); width > 0) {
        // The mean and the deviation of the embeddings are not saved with the model.
        buffers.push_back({.path = "noise_augmentor",
                           .class_name = "CLIPEmbeddingNoiseAugmentation",
                           .elements = kAugmentorTables * kSteps + 2 * width,
                           .castable = false,
                           .storage = ModuleStorage::Float32,
                           .leaf = false,
                           .unsaved_elements = 2 * width});
    }
    return buffers;
}

Prediction UnetNetwork::prediction() const {
    if (config_.prediction == "v") return Prediction::V;
    return config_.prediction == "edm" ? Prediction::Edm : Prediction::Eps;
}

Tensor UnetNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Tensor t_emb = ghost::to_type(
        tape, root_, timestep_embedding(tape, root_, in.timesteps, config_.model_channels),
        in.x.type());
    Tensor emb = time_embed_.forward(tape, t_emb);
    if (label_emb_) emb = ghost::binary(tape, "add", root_, emb, label_emb_->forward(tape, in.y));
    ControlTensors* control = in.control;

    BlockInputs inputs{emb, in.context};
    inputs.frames = in.frames;
    std::vector<Tensor> skips;
    skips.reserve(encoder_.input_blocks.size());
    Tensor h = in.x;
    for (const BlockSequence& block : encoder_.input_blocks) {
        h = forward_sequence(tape, block, h, inputs);
        skips.push_back(h);
    }
    if (!middle_.empty()) h = forward_sequence(tape, middle_, h, inputs);
    apply_control(tape, root_, h, control != nullptr ? &control->middle : nullptr);
    for (const BlockSequence& block : output_blocks_) {
        {
            std::array<Tensor, 2> parts = {h, std::move(skips.back())};
            skips.pop_back();
            apply_control(tape, root_, parts[1], control != nullptr ? &control->output : nullptr);
            h = ghost::cat(tape, root_, parts, 1);
        }
        if (!skips.empty()) {
            inputs.output_height = skips.back().shape()[2];
            inputs.output_width = skips.back().shape()[3];
        }
        h = forward_sequence(tape, block, h, inputs);
    }
    Tensor out = out_norm_->forward(tape, h);
    out = ghost::unary(tape, "silu", out_act_, out);
    return out_conv_->forward(tape, out);
}

}  // namespace plimsoll::memory
