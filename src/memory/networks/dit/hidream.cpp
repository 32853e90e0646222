// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hidream.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kSigmas = 1000;        // of ComfyUI's discrete flow schedule
constexpr std::int64_t kLlamaLayers = 32;     // of Llama 3.1 8B, all of which are handed in
constexpr int kExpertsMax = 256;              // chosen
constexpr MlpNames kDiffusersMlp{"linear_1", "act", "linear_2"};

HiDreamWidths widths_of(const modelfile::HiDreamConfig& c, ExpertLoad load) {
    return {.hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim,
            .heads = c.num_attention_heads,
            .head_dim = c.attention_head_dim,
            .experts = c.num_routed_experts,
            .activated = c.num_activated_experts,
            .load = load};
}

std::vector<HiDreamBlock> make_blocks(Registry& r, std::string_view list, int count,
                                      const HiDreamWidths& w, HiDreamStreams streams) {
    std::vector<HiDreamBlock> blocks;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        blocks.emplace_back(r, fmt::format("{}.{}.block", list, i), w, streams);
    return blocks;
}

}  // namespace

HiDreamNetwork::HiDreamNetwork(const modelfile::HiDreamConfig& c, ExpertLoad load)
    : config_(c),
      widths_(widths_of(c, load)),
      root_(registry_.path("", "")),
      time_proj_(registry_.path("t_embedder", "time_proj")),
      time_in_(registry_, "t_embedder.timestep_embedder", kTimestepWidth, widths_.hidden, Bias::Yes,
               kDiffusersMlp),
      pooled_in_(registry_, "p_embedder.pooled_embedder", c.text_emb_dim, widths_.hidden, Bias::Yes,
                 kDiffusersMlp),
      img_in_(registry_, registry_.path("x_embedder", "proj"),
              std::int64_t{c.in_channels} * c.patch_size * c.patch_size, widths_.hidden),
      pe_(registry_.path("pe_embedder", "")),
      double_blocks_(make_blocks(registry_, "double_stream_blocks", c.num_layers, widths_,
                                 HiDreamStreams::Double)),
      single_blocks_(make_blocks(registry_, "single_stream_blocks", c.num_single_layers, widths_,
                                 HiDreamStreams::Single)),
      final_layer_(
          registry_, "final_layer", {.hidden = widths_.hidden, .heads = widths_.heads, .mlp = 0},
          std::int64_t{c.out_channels} * c.patch_size * c.patch_size, Modulated::ByTheBlock) {
    const int blocks = c.num_layers + c.num_single_layers;
    const auto projection = [&](int i, int width) {
        return Linear(registry_, registry_.path(fmt::format("caption_projection.{}", i), "linear"),
                      width, widths_.hidden, Bias::No);
    };
    llama_in_.reserve(static_cast<std::size_t>(blocks));
    for (int i = 0; i < blocks; ++i) llama_in_.push_back(projection(i, c.caption_channels[1]));
    t5_in_.push_back(projection(blocks, c.caption_channels[0]));
}

StepInputs HiDreamNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.caption_channels[0]}, wish.type);
    in.y = tape.input({wish.cond_batch, config_.text_emb_dim}, wish.type);
    in.more.push_back(tape.input(
        {wish.cond_batch, kLlamaLayers, call.tokens, config_.caption_channels[1]}, wish.type));
    for (const LatentExtent& reference : call.references)
        in.references.push_back(
            tape.input({wish.cond_batch, config_.in_channels, call.latent_height, reference.width},
                       wish.type));
    return in;
}

std::vector<ModuleEntry> HiDreamNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// Both parts live as long as their sum.
HiDreamNetwork::Condition HiDreamNetwork::embed_condition(Tape& tape, const StepInputs& in) const {
    Condition condition;
    condition.time = [&] {
        const Tensor waves =
            scaled_timestep_embedding(tape, time_proj_, in.timesteps, kTimestepWidth);
        return time_in_.forward(tape, ghost::to_type(tape, root_, waves, in.x.type()));
    }();
    condition.pooled = pooled_in_.forward(tape, in.y);
    condition.sum = ghost::binary(tape, "add", root_, condition.time, condition.pooled);
    return condition;
}

HiDreamNetwork::Texts HiDreamNetwork::project_texts(Tape& tape, const StepInputs& in) const {
    const Tensor& layers = in.more.front();
    const Shape& s = layers.shape();
    Texts texts;
    texts.llama.reserve(llama_in_.size());
    for (const Linear& linear : llama_in_)
        texts.llama.push_back(linear.forward_slice(tape, layers.view({s[0], s[2], s[3]})));
    texts.t5 = t5_in_.front().forward(tape, in.context);
    return texts;
}

Tensor HiDreamNetwork::run_blocks(Tape& tape, Tensor img, const Texts& texts,
                                  const Tensor& condition, const Tensor& table) const {
    const std::int64_t own = img.shape()[1];
    const auto joined = [&](const Tensor& a, const Tensor& b) {
        return ghost::cat(tape, root_, std::array<Tensor, 2>{a, b}, 1);
    };
    const auto shortened = [](const Tensor& x, std::int64_t tokens) {
        return x.view(x.shape().with(1, tokens));
    };
    std::size_t block_id = 0;
    Tensor txt = joined(texts.t5, texts.llama.back());
    const std::int64_t txt_tokens = txt.shape()[1];
    Tensor all_texts;
    for (const HiDreamBlock& block : double_blocks_) {
        all_texts = joined(txt, texts.llama[block_id++]);
        const auto out = block.forward(tape, img, all_texts, condition, table);
        img = out.img;
        txt = shortened(out.txt, txt_tokens);
    }
    img = joined(img, txt);
    const std::int64_t tokens = img.shape()[1];
    for (const HiDreamBlock& block : single_blocks_) {
        img = joined(img, texts.llama[block_id++]);
        img = block.forward(tape, img, {}, condition, table).img;
        img = shortened(img, tokens);
    }
    return final_layer_.forward(tape, shortened(img, own), condition);
}

// Image by image, and joined again.
Tensor HiDreamNetwork::unpatchify(Tape& tape, const Tensor& tokens, std::int64_t rows,
                                  std::int64_t columns) const {
    std::vector<Tensor> images;
    images.reserve(static_cast<std::size_t>(tokens.shape()[0]));
    const Tensor one = tokens.view(tokens.shape().with(0, 1));
    for (std::int64_t i = 0; i < tokens.shape()[0]; ++i)
        images.push_back(
            from_tokens(tape, root_, one, config_.out_channels, rows, columns, config_.patch_size));
    return ghost::cat(tape, root_, images, 0);
}

Tensor HiDreamNetwork::forward(Tape& tape, const StepInputs& in) const {
    const std::int64_t patch = config_.patch_size;
    // The image that is edited stands beside the latent, which lives on (HiDream-E1).
    Tensor beside = in.x;
    if (!in.references.empty())
        beside = ghost::cat(tape, root_, std::array<Tensor, 2>{in.x, in.references.front()}, 3);
    Tensor img = pad_to_patches(tape, root_, beside, patch);
    const Shape padded = img.shape();
    const std::int64_t batch = padded[0];
    const std::int64_t rows = padded[2] / patch;
    const std::int64_t columns = padded[3] / patch;
    const Condition condition = embed_condition(tape, in);
    img = to_tokens(tape, root_, img, patch);
    const PositionIds positions{.axes = static_cast<std::int64_t>(config_.axes_dims_rope.size()),
                                .type = ElementType::Float32};
    const Tensor img_ids =
        image_ids(tape, root_, batch, rows, columns, positions, ImageIndex::LeftZero);
    img = img_in_.forward(tape, img);
    const Texts texts = project_texts(tape, in);
    const std::int64_t txt_tokens = texts.t5.shape()[1] + 2 * texts.llama.front().shape()[1];
    const Tensor txt_ids = text_ids(tape, root_, batch, txt_tokens, positions, 0);
    const Tensor ids = ghost::cat(tape, root_, std::array<Tensor, 2>{img_ids, txt_ids}, 1);
    const Tensor table = rope_table(tape, pe_, ids, config_.axes_dims_rope);
    Tensor out = run_blocks(tape, std::move(img), texts, condition.sum, table);
    out = unpatchify(tape, out, rows, columns);
    return ghost::unary(tape, "neg", root_, out.view(in.x.shape().with(1, config_.out_channels)));
}

Result<std::shared_ptr<const Denoiser>> build_hidream(const modelfile::HiDreamConfig& c,
                                                      ExpertLoad load) {
    const int blocks_max = static_cast<int>(kDepthMax);
    const std::int64_t hidden = std::int64_t{c.num_attention_heads} * c.attention_head_dim;
    bool sound =
        within(c.patch_size, 1, kPatchMax) && within(c.in_channels, 1, kWidthMax) &&
        within(c.out_channels, 1, kWidthMax) && within(c.num_layers, 1, blocks_max) &&
        within(c.num_single_layers, 1, blocks_max) && within(c.attention_head_dim, 1, kWidthMax) &&
        within(c.num_attention_heads, 1, kWidthMax) && within(hidden, 1, kWidthMax) &&
        within(c.text_emb_dim, 1, kWidthMax) && c.caption_channels.size() == 2 &&
        within(c.num_routed_experts, 1, kExpertsMax) &&
        within(c.num_activated_experts, 1, c.num_routed_experts) && c.axes_dims_rope.size() == 3 &&
        rotated_channels(c.axes_dims_rope) == c.attention_head_dim;
    for (const int width : c.caption_channels) sound = sound && within(width, 1, kWidthMax);
    sound = sound && std::ssize(c.llama_layers) == c.num_layers + c.num_single_layers;
    for (const int layer : c.llama_layers) sound = sound && within(layer, 0, kLlamaLayers - 1);
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("HiDream with {} and {} blocks, {} heads of {} and {} of {} "
                        "experts cannot be",
                        c.num_layers, c.num_single_layers, c.num_attention_heads,
                        c.attention_head_dim, c.num_activated_experts, c.num_routed_experts));
    return std::make_shared<const HiDreamNetwork>(c, load);
}

}  // namespace plimsoll::memory
