// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/sam3_detector.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kHeads = 8;
constexpr std::int64_t kGroups = 8;  // of the norms in the masks' head
constexpr std::int64_t kSides = 4;   // of a box
constexpr std::int64_t kPool = 7;    // cells along a side of what is pooled from a box
constexpr int kMaskSteps = 3;        // between maps; SAM 3.1 has maps for two of them
constexpr std::int64_t kPromptMlp = 2048;

}  // namespace

Sam3Detector::Geometry Sam3Detector::make_geometry(Registry& r, std::string_view path) const {
    const std::int64_t width = config_.width;
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    Geometry geometry{
        .path = at(""),
        .points = Linear(r, at("points_direct_project"), 2, width),
        .points_pooled = Linear(r, at("points_pool_project"), width, width),
        .points_placed = Linear(r, at("points_pos_enc_project"), width, width),
        .boxes = Linear(r, at("boxes_direct_project"), kSides, width),
        .boxes_pooled = Conv2d(r, at("boxes_pool_project"), width, width, ConvShape{kPool, 1, 0}),
        .boxes_placed = Linear(r, at("boxes_pos_enc_project"), width + 2, width),
        .labels = add_embedding(r, *at("label_embed"), 2 * width),
        .own_token = add_embedding(r, *at("cls_embed"), width),
        .norm = LayerNorm(r, at("norm"), width),
        .image_norm = LayerNorm(r, at("img_pre_norm"), width),
        .layers = {},
        .last_norm = LayerNorm(r, at("encode_norm"), width),
        .last = Linear(r, at("final_proj"), width, width)};
    for (int i = 0; i < config_.geometry_layers; ++i)
        geometry.layers.emplace_back(r, *at(fmt::format("encode.{}", i)), width,
                                     config_.feed_forward);
    return geometry;
}

Sam3Detector::DecoderLayer Sam3Detector::make_decoder_layer(Registry& r,
                                                            std::string_view path) const {
    const std::int64_t width = config_.width;
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    const auto attention = [&](std::string_view name) {
        return Sam3Attention(r, *at(name), {width, width, width}, kHeads);
    };
    return {.path = at(""),
            .self = attention("self_attn"),
            .image = attention("cross_attn"),
            .text = attention("ca_text"),
            .norm1 = LayerNorm(r, at("norm1"), width),
            .norm2 = LayerNorm(r, at("norm2"), width),
            .norm3 = LayerNorm(r, at("norm3"), width),
            .text_norm = LayerNorm(r, at("catext_norm"), width),
            .linear1 = Linear(r, at("linear1"), width, config_.feed_forward),
            .linear2 = Linear(r, at("linear2"), config_.feed_forward, width)};
}

Sam3Detector::Sam3Detector(Registry& r, std::string_view path, const modelfile::Sam3Config& c)
    : config_(c),
      root_(r.path(path, "")),
      resizer_(r, r.path(path, "backbone.language_backbone.resizer"), c.text_width, c.width),
      encoder_([&] {
          std::vector<Sam3EncoderLayer> layers;
          for (int i = 0; i < c.encoder_layers; ++i)
              layers.emplace_back(r, *r.path(path, fmt::format("transformer.encoder.layers.{}", i)),
                                  c.width, c.feed_forward);
          return layers;
      }()),
      decoder_([&] {
          std::vector<DecoderLayer> layers;
          for (int i = 0; i < c.decoder_layers; ++i)
              layers.push_back(make_decoder_layer(
                  r, *r.path(path, fmt::format("transformer.decoder.layers.{}", i))));
          return layers;
      }()),
      decoder_path_(r.path(path, "transformer.decoder")),
      decoder_norm_(r, r.path(*decoder_path_, "norm"), c.width),
      queries_(add_embedding(r, *r.path(*decoder_path_, "query_embed"),
                             std::int64_t{c.queries} * c.width)),
      references_(
          add_embedding(r, *r.path(*decoder_path_, "reference_points"), c.queries * kSides)),
      reference_head_(r, *r.path(*decoder_path_, "ref_point_head"),
                      {2 * c.width, c.width, c.width}),
      boxes_(r, *r.path(*decoder_path_, "bbox_embed"), {c.width, c.width, c.width, kSides}),
      bias_across_(r, *r.path(*decoder_path_, "boxRPB_embed_x"), {2, c.width, kHeads}),
      bias_down_(r, *r.path(*decoder_path_, "boxRPB_embed_y"), {2, c.width, kHeads}),
      presence_(add_embedding(r, *r.path(*decoder_path_, "presence_token"), c.width)),
      presence_head_(r, *r.path(*decoder_path_, "presence_token_head"),
                     {c.width, c.width, c.width, 1}),
      presence_norm_(r, r.path(*decoder_path_, "presence_token_out_norm"), c.width),
      masks_(r.path(path, "segmentation_head")),
      mask_convs_([&] {
          std::vector<Conv2d> convs;
          for (int i = 0; i < kMaskSteps; ++i)
              convs.emplace_back(r, r.path(*masks_, fmt::format("pixel_decoder.conv_layers.{}", i)),
                                 c.width, c.width);
          return convs;
      }()),
      mask_norms_([&] {
          std::vector<GroupNorm> norms;
          for (int i = 0; i < kMaskSteps; ++i)
              norms.emplace_back(r, r.path(*masks_, fmt::format("pixel_decoder.norms.{}", i)),
                                 c.width, kGroups);
          return norms;
      }()),
      mask_embed_(r, *r.path(*masks_, "mask_predictor.mask_embed"),
                  {c.width, c.width, c.width, c.width}),
      mask_text_(r, *r.path(*masks_, "cross_attend_prompt"), {c.width, c.width, c.width}, kHeads),
      mask_text_norm_(r, r.path(*masks_, "cross_attn_norm"), c.width),
      instances_([&] {
          Conv2d instances(r, r.path(*masks_, "instance_seg_head"), c.width, c.width, kConv1);
          // Beside it one for all of the image, which nothing asks.
          r.add(r.path(*masks_, "semantic_seg_head"), "Conv2d", c.width + 1);
          return instances;
      }()),
      geometry_(make_geometry(r, *r.path(path, "geometry_encoder"))),
      scoring_(r.path(path, "dot_prod_scoring")),
      score_queries_(r, r.path(*scoring_, "hs_proj"), c.width, c.width),
      score_prompt_(r, r.path(*scoring_, "prompt_proj"), c.width, c.width),
      prompt_mlp_(r, *r.path(*scoring_, "prompt_mlp"), {c.width, kPromptMlp, c.width}),
      prompt_norm_(r, r.path(*scoring_, "prompt_mlp.out_norm"), c.width) {}

// The text, and a token that has looked at the image.
Sam3Detector::Prompt Sam3Detector::join_prompt(Tape& tape, const Image& image,
                                               const Tensor& text) const {
    const Geometry& g = geometry_;
    const std::int64_t width = config_.width;
    // Made for points and boxes, and made where there are none.
    (void)g.image_norm.forward(tape, image.tokens);
    Tensor token = [&] {
        const Tensor own =
            ghost::create(tape, "_to_copy", g.path, {1, 1, width}, image.tokens.type());
        return g.norm.forward(tape, g.last.forward(tape, own));
    }();
    for (const Sam3EncoderLayer& layer : g.layers)
        token = layer.forward_prompt(tape, token, image.tokens, image.positions);
    token = g.last_norm.forward(tape, token);
    Prompt prompt;
    prompt.tokens = ghost::cat(tape, root_, std::array<Tensor, 2>{text, token}, 1);
    prompt.mask = ghost::create(tape, "cat", root_, {1, 1, 1, prompt.tokens.shape()[1]},
                                prompt.tokens.type());
    return prompt;
}

// How far each cell is from the sides of each box, along both axes, for every head.
Tensor Sam3Detector::bias_of_boxes(Tape& tape, const Image& image, const Tensor& boxes) const {
    const std::int64_t queries = config_.queries;
    const auto along = [&](const Sam3Mlp& mlp, std::int64_t cells) {
        const Tensor near = [&] {
            Tensor distance = ghost::create(tape, "sub", decoder_path_, {1, queries, cells, 2},
                                            ElementType::Float32);
            for (const std::string_view op : {"mul", "abs", "log2", "mul", "div"})
                distance = ghost::unary(tape, op, decoder_path_, distance);
            return ghost::to_type(tape, decoder_path_, distance, boxes.type());
        }();
        return mlp.forward(tape, near);
    };
    const Tensor across = along(bias_across_, image.columns);
    const Tensor down = along(bias_down_, image.rows);
    const Tensor sum =
        ghost::combine(tape, "add", decoder_path_, {&down, &across},
                       {1, queries, image.rows * image.columns, kHeads}, across.type());
    // None for the token that says whether anything is there.
    return ghost::produce(tape, OpClass::Copy, "cat", decoder_path_, sum,
                          {1, kHeads, queries + 1, image.rows * image.columns}, sum.type());
}

Tensor Sam3Detector::run(Tape& tape, const DecoderLayer& layer, const Tensor& x,
                         const Tensor& placed, const Tensor& memory, const Image& image,
                         const Prompt& prompt, const Tensor& bias) const {
    const auto add = [&](const Tensor& a, const Tensor& b) {
        return ghost::binary(tape, "add", layer.path, a, b);
    };
    const Tensor compared = add(x, placed);  // lives on
    Tensor y = [&] {
        const Tensor attended = layer.self.forward(tape, compared, compared, x);
        return layer.norm2.forward(tape, add(x, attended));
    }();
    y = [&] {
        const Tensor own = add(y, placed);
        const Tensor attended =
            layer.text.forward(tape, own, prompt.tokens, prompt.tokens, prompt.mask);
        return layer.text_norm.forward(tape, add(y, attended));
    }();
    y = [&] {
        const Tensor own = add(y, placed);
        const Tensor keys = add(memory, image.positions);
        const Tensor attended = layer.image.forward(tape, own, keys, memory, bias);
        return layer.norm1.forward(tape, add(y, attended));
    }();
    Tensor hidden = layer.linear1.forward(tape, y);
    hidden = ghost::unary(tape, "relu", layer.path, hidden);
    const Tensor fed = layer.linear2.forward(tape, hidden);
    return layer.norm3.forward(tape, add(y, fed));
}

std::vector<Tensor> Sam3Detector::decode(Tape& tape, const Tensor& memory, const Image& image,
                                         const Prompt& prompt) const {
    const std::int64_t queries = config_.queries;
    const std::int64_t width = config_.width;
    const ElementType type = memory.type();
    const auto learned = [&](Module module, std::int64_t rows, std::int64_t channels) {
        return ghost::create(tape, "_to_copy", module, {1, rows, channels}, type);
    };
    Tensor found = learned(queries_, queries, width);
    Tensor presence = learned(presence_, 1, width);
    Tensor boxes =
        ghost::unary(tape, "sigmoid", decoder_path_, learned(references_, queries, kSides));
    const auto better = [&](const Tensor& moved) {
        const Tensor before = ghost::unary(tape, "log", decoder_path_, boxes);
        const Tensor sum = ghost::binary(tape, "add", decoder_path_, before, moved);
        return ghost::unary(tape, "sigmoid", decoder_path_, sum);
    };
    for (std::size_t i = 0; i < decoder_.size(); ++i) {
        const Tensor places = [&] {
            const Tensor waves = ghost::create(tape, "cat", decoder_path_, {1, queries, 2 * width},
                                               ElementType::Float32);
            const Tensor narrow = ghost::to_type(tape, decoder_path_, waves, type);
            return reference_head_.forward(tape, narrow);
        }();
        const Tensor tokens =
            ghost::cat(tape, decoder_path_, std::array<Tensor, 2>{presence, found}, 1);
        const Tensor placed =
            ghost::cat(tape, decoder_path_, std::array<Tensor, 2>{presence, places}, 1);
        const Tensor bias = bias_of_boxes(tape, image, boxes);
        const Tensor out = run(tape, decoder_[i], tokens, placed, memory, image, prompt, bias);
        presence = out.view({1, 1, width});
        found = out.view({1, queries, width});
        if (i + 1 < decoder_.size())
            boxes = better(boxes_.forward(tape, decoder_norm_.forward(tape, found)));
    }
    const Tensor out = decoder_norm_.forward(tape, found);
    boxes = better(boxes_.forward(tape, out));
    const Tensor is_there = presence_head_.forward(tape, presence_norm_.forward(tape, presence));
    return {out, boxes, is_there};
}

Tensor Sam3Detector::score(Tape& tape, const Tensor& queries, const Prompt& prompt) const {
    const std::int64_t width = config_.width;
    const Tensor meaning = [&] {
        const Tensor read = prompt_mlp_.forward(tape, prompt.tokens);
        const Tensor sum = ghost::binary(tape, "add", scoring_, read, prompt.tokens);
        const Tensor normed = prompt_norm_.forward(tape, sum);
        return ghost::produce(tape, OpClass::Elementwise, "sum", scoring_, normed, {1, width},
                              normed.type());
    }();
    const Tensor own = score_queries_.forward(tape, queries);
    const Tensor asked = score_prompt_.forward(tape, meaning);
    return ghost::combine(tape, "bmm", scoring_, {&own, &asked}, {1, config_.queries},
                          queries.type());
}

Tensor Sam3Detector::cut_out(Tape& tape, const Tensor& queries, const Sam3Vision::Maps& maps,
                             const Tensor& memory, const Prompt& prompt) const {
    Tensor pixels = [&] {
        const Tensor normed = mask_text_norm_.forward(tape, memory);
        const Tensor read =
            mask_text_.forward(tape, normed, prompt.tokens, prompt.tokens, prompt.mask);
        return ghost::binary(tape, "add", masks_, read, memory);
    }();
    const Tensor seen = pixels;  // lives on; a view of it stands for the smallest map
    pixels = pixels.view(maps.features.back().shape().elements() == pixels.elements()
                             ? maps.features.back().shape()
                             : pixels.shape());
    for (std::size_t i = 0; i + 1 < maps.features.size(); ++i) {
        const Tensor& map = maps.features[maps.features.size() - 2 - i];
        const Tensor sum = [&] {
            const Tensor larger =
                ghost::create(tape, "upsample_nearest2d", masks_, map.shape(), map.type());
            return ghost::binary(tape, "add", masks_, map, larger);
        }();
        const Tensor normed = [&] {
            const Tensor made = mask_convs_[i].forward(tape, sum);
            return mask_norms_[i].forward(tape, made);
        }();
        pixels = ghost::unary(tape, "relu", masks_, normed);
    }
    const Tensor instances = instances_.forward(tape, pixels);
    const Tensor embedded = mask_embed_.forward(tape, queries);
    const Shape& s = instances.shape();
    Tensor masks = tape.make({1, config_.queries, s[2], s[3]}, instances.type(), "bmm", masks_);
    tape.charge(OpClass::MatMul, "bmm", masks_,
                ghost::saturating_product({2, config_.queries, s[1], s[2], s[3]}),
                instances.bytes() + embedded.bytes() + masks.bytes());
    return masks;
}

std::vector<Tensor> Sam3Detector::detect(Tape& tape, const Sam3Vision::Maps& maps,
                                         const Tensor& text) const {
    // The encoder reads the map of the patches' own size: the last, but for one that SAM 3.1 left
    // out.
    const std::size_t read = maps.features.size() - (config_.objects > 1 ? 1 : 2);
    const Shape& s = maps.features[read].shape();
    const Shape tokens{s[0], s[2] * s[3], s[1]};
    const Image image{.tokens = maps.features[read].view(tokens),
                      .positions = maps.positions[read].view(tokens),
                      .rows = s[2],
                      .columns = s[3]};
    const Prompt prompt = join_prompt(tape, image, resizer_.forward(tape, text));
    Tensor memory = image.tokens;
    for (const Sam3EncoderLayer& layer : encoder_)
        memory = layer.forward(tape, memory, image.positions, prompt.tokens, prompt.mask);
    std::vector<Tensor> answers = decode(tape, memory, image, prompt);
    const Tensor queries = answers.front();
    answers.push_back(score(tape, queries, prompt));
    answers.push_back(cut_out(tape, queries, maps, memory, prompt));
    return answers;
}

}  // namespace plimsoll::memory
