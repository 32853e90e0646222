// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/sam3_tracker.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kHeads = 8;
constexpr std::int64_t kMlp = 2048;
constexpr int kTwoWayLayers = 2;
constexpr std::int64_t kMeanings = 3;      // masks of an object where it is not clear what is meant
constexpr std::int64_t kMaskSide = 288;    // that a given mask is brought to
constexpr std::int64_t kPointsAlways = 2;  // tokens of points where none is given

Sam3Attention::Widths half(std::int64_t width) {
    return {.tokens = width, .inner = width / 2, .keys = width};
}

void add_linear(Registry& r, std::string_view path, std::int64_t in, std::int64_t out) {
    r.add(r.path(path, ""), "Linear", in * out + out);
}

void add_norm(Registry& r, std::string_view path, std::int64_t width) {
    r.add(r.path(path, ""), "LayerNorm", 2 * width);
}

void add_conv(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
              std::int64_t kernel) {
    r.add(r.path(path, ""), "Conv2d", in * out * kernel * kernel + out);
}

}  // namespace

Sam3TwoWay::Layer Sam3TwoWay::make_layer(Registry& r, std::string_view path, std::int64_t width) {
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    return {.path = at(""),
            .self = Sam3Attention(r, *at("self_attn"), {width, width, width}, kHeads),
            .to_image = Sam3Attention(r, *at("cross_attn_token_to_image"), half(width), kHeads),
            .to_tokens = Sam3Attention(r, *at("cross_attn_image_to_token"), half(width), kHeads),
            .mlp_in = Linear(r, at("mlp.0"), width, kMlp),
            .mlp_out = Linear(r, at("mlp.2"), kMlp, width),
            .norms = {LayerNorm(r, at("norm1"), width), LayerNorm(r, at("norm2"), width),
                      LayerNorm(r, at("norm3"), width), LayerNorm(r, at("norm4"), width)}};
}

Sam3TwoWay::Sam3TwoWay(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      layers_([&] {
          std::vector<Layer> layers;
          for (int i = 0; i < kTwoWayLayers; ++i)
              layers.push_back(make_layer(r, *r.path(path, fmt::format("layers.{}", i)), width));
          return layers;
      }()),
      last_(r, *r.path(path, "final_attn_token_to_image"), half(width), kHeads),
      last_norm_(r, r.path(path, "norm_final"), width) {}

void Sam3TwoWay::run(Tape& tape, const Layer& layer, Seen& seen, const Tensor& token_places,
                     const Tensor& places) {
    const auto add = [&](const Tensor& a, const Tensor& b) {
        return ghost::binary(tape, "add", layer.path, a, b);
    };
    Tensor tokens = [&] {
        const Tensor q = add(seen.tokens, token_places);
        const Tensor attended = layer.self.forward(tape, q, q, seen.tokens);
        return layer.norms[0].forward(tape, add(seen.tokens, attended));
    }();
    Tensor q = add(tokens, token_places);
    Tensor k = add(seen.image, places);
    tokens = [&] {
        const Tensor attended = layer.to_image.forward(tape, q, k, seen.image);
        return layer.norms[1].forward(tape, add(tokens, attended));
    }();
    tokens = [&] {
        Tensor hidden = layer.mlp_in.forward(tape, tokens);
        hidden = ghost::unary(tape, "relu", layer.path, hidden);
        const Tensor fed = layer.mlp_out.forward(tape, hidden);
        return layer.norms[2].forward(tape, add(tokens, fed));
    }();
    q = add(tokens, token_places);
    k = add(seen.image, places);
    const Tensor attended = layer.to_tokens.forward(tape, k, q, tokens);
    seen.image = layer.norms[3].forward(tape, add(seen.image, attended));
    seen.tokens = tokens;
}

Sam3TwoWay::Seen Sam3TwoWay::forward(Tape& tape, const Tensor& image, const Tensor& places,
                                     const Tensor& tokens) const {
    Seen seen{tokens, image};
    for (const Layer& layer : layers_) run(tape, layer, seen, tokens, places);
    const Tensor q = ghost::binary(tape, "add", path_, seen.tokens, tokens);
    const Tensor k = ghost::binary(tape, "add", path_, seen.image, places);
    const Tensor attended = last_.forward(tape, q, k, seen.image);
    seen.tokens =
        last_norm_.forward(tape, ghost::binary(tape, "add", path_, seen.tokens, attended));
    return seen;
}

Sam3MaskDecoder::Sam3MaskDecoder(Registry& r, std::string_view path, std::int64_t width,
                                 int objects)
    : width_(width),
      masks_(objects > 1 ? kMeanings : kMeanings + 1),
      path_([&] {
          add_embedding(r, *r.path(path, "obj_score_token"), objects * width);
          add_embedding(r, *r.path(path, "iou_token"), objects * width);
          add_embedding(r, *r.path(path, "mask_tokens"), objects * masks_ * width);
          return r.path(path, "");
      }()),
      transformer_(r, *r.path(path, "transformer"), width),
      larger1_(r, r.path(path, "output_upscaling.0"), width, width / 4, 2),
      larger_norm_(r, r.path(path, "output_upscaling.1"), width / 4),
      larger2_(r, r.path(path, "output_upscaling.3"), width / 4, width / 8, 2),
      from_largest_(r, r.path(path, "conv_s0"), width, width / 8, kConv1),
      from_second_(r, r.path(path, "conv_s1"), width, width / 4, kConv1),
      mask_mlps_([&] {
          std::vector<Sam3Mlp> mlps;
          for (std::int64_t i = 0; i < masks_; ++i)
              mlps.emplace_back(r, *r.path(path, fmt::format("output_hypernetworks_mlps.{}", i)),
                                std::vector<std::int64_t>{width, width, width, width / 8});
          return mlps;
      }()),
      quality_(r, *r.path(path, "iou_prediction_head"), {width, width, width, masks_}),
      is_there_(r, *r.path(path, "pred_obj_score_head"), {width, width, width, 1}) {}

Tensor Sam3MaskDecoder::forward(Tape& tape, const Tensor& image, const Tensor& places,
                                const Tensor& prompt, const Tensor& mask,
                                const Sam3Vision::Maps& maps) const {
    const Shape& s = image.shape();  // [N, width, rows, columns]
    const std::int64_t marks = 2 + masks_;
    const Tensor tokens = ghost::produce(tape, OpClass::Copy, "cat", path_, prompt,
                                         {s[0], marks + prompt.shape()[1], width_}, prompt.type());
    const Tensor known = ghost::binary(tape, "add", path_, image, mask);
    const Shape flat{s[0], s[2] * s[3], s[1]};
    const Sam3TwoWay::Seen seen =
        transformer_.forward(tape, known.view(flat), places.view(flat), tokens);
    const Tensor upscaled = [&] {
        Tensor y = [&] {
            const Tensor larger = larger1_.forward(tape, seen.image.view(s));
            const Tensor beside = from_second_.forward(tape, maps.features[1]);
            return ghost::binary(tape, "add", path_, larger, beside);
        }();
        y = larger_norm_.forward_strided(tape, y.view({s[0], 2 * s[2], 2 * s[3], width_ / 4}));
        y = ghost::unary(tape, "gelu", path_, y).view({s[0], width_ / 4, 2 * s[2], 2 * s[3]});
        const Tensor sum = [&] {
            const Tensor larger = larger2_.forward(tape, y);
            const Tensor beside = from_largest_.forward(tape, maps.features[0]);
            return ghost::binary(tape, "add", path_, larger, beside);
        }();
        return ghost::unary(tape, "gelu", path_, sum);
    }();
    const Tensor token = seen.tokens.view({s[0], width_});
    std::vector<Tensor> weights;
    for (const Sam3Mlp& mlp : mask_mlps_) weights.push_back(mlp.forward(tape, token));
    const Tensor masks = ghost::produce(tape, OpClass::MatMul, "bmm", path_, upscaled,
                                        {s[0], masks_, 4 * s[2], 4 * s[3]}, upscaled.type());
    const Tensor quality = quality_.forward(tape, token);
    const Tensor is_there = is_there_.forward(tape, token);
    return masks;
}

Sam3Tracker::PromptEncoder Sam3Tracker::make_prompt_encoder(Registry& r,
                                                            std::string_view path) const {
    constexpr std::int64_t kFew = 4;
    constexpr std::int64_t kSome = 16;
    constexpr ConvShape kHalf{2, 2, 0};
    const std::int64_t width = config_.width;
    const auto at = [&](std::string_view name) { return r.path(path, name); };
    // Directions of the sinusoids of places, two numbers each.
    r.add_buffer(at("pe_layer"), "PositionEmbeddingRandom", width, ModuleStorage::AsNetwork,
                 Saved::Yes);
    for (int i = 0; i < 4; ++i) add_embedding(r, *at(fmt::format("point_embeddings.{}", i)), width);
    add_embedding(r, *at("not_a_point_embed"), width);
    add_embedding(r, *at("no_mask_embed"), width);
    return {.path = at(""),
            .down1 = Conv2d(r, at("mask_downscaling.0"), 1, kFew, kHalf),
            .norm1 = LayerNorm(r, at("mask_downscaling.1"), kFew),
            .down2 = Conv2d(r, at("mask_downscaling.3"), kFew, kSome, kHalf),
            .norm2 = LayerNorm(r, at("mask_downscaling.4"), kSome),
            .out = Conv2d(r, at("mask_downscaling.6"), kSome, width, kConv1)};
}

void Sam3Tracker::add_memory_layers(Registry& r, std::string_view path) const {
    const std::int64_t width = config_.width;
    const std::int64_t memory = config_.memory_width;
    for (int i = 0; i < config_.memory_layers; ++i) {
        const std::string layer = fmt::format("{}.layers.{}", path, i);
        const auto add = [&](std::string_view name, std::int64_t in) {
            add_linear(r, *r.path(layer, name), in, width);
        };
        if (config_.objects > 1) {
            for (const char* name :
                 {"self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj",
                  "cross_attn_q_proj", "cross_attn_k_proj", "cross_attn_v_proj",
                  "cross_attn_out_proj", "image_cross_attn_q_proj", "image_cross_attn_k_proj"})
                add(name, width);
        } else {
            for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
                add(fmt::format("self_attn.{}", name), width);
            add("cross_attn_image.q_proj", width);
            add("cross_attn_image.k_proj", memory);
            add("cross_attn_image.v_proj", memory);
            add("cross_attn_image.out_proj", width);
        }
        add_linear(r, *r.path(layer, "linear1"), width, config_.feed_forward);
        add_linear(r, *r.path(layer, "linear2"), config_.feed_forward, width);
        for (const char* name : {"norm1", "norm2", "norm3"})
            add_norm(r, *r.path(layer, name), width);
    }
    add_norm(r, *r.path(path, "norm"), width);
}

// What makes memories of frames, and what stands for those that are missing: weights only, a single
// image has no use for them.
void Sam3Tracker::add_memory(Registry& r, std::string_view path) const {
    const std::int64_t width = config_.width;
    const std::int64_t memory = config_.memory_width;
    const bool several = config_.objects > 1;
    const auto at = [&](std::string_view name) { return *r.path(path, name); };
    const std::vector<std::int64_t> channels = several
                                                   ? std::vector<std::int64_t>{16, 64, 256, 1024}
                                                   : std::vector<std::int64_t>{4, 16, 64, width};
    std::int64_t before = several ? 2 * config_.objects : 1;
    constexpr std::size_t kOfStep = 3;  // a convolution, a norm and what bends
    for (std::size_t i = 0; i < channels.size(); ++i) {
        const std::string step = "maskmem_backbone.mask_downsampler.encoder.{}";
        add_conv(r, at(fmt::format(fmt::runtime(step), kOfStep * i)), before, channels[i], 3);
        add_norm(r, at(fmt::format(fmt::runtime(step), kOfStep * i + 1)), channels[i]);
        before = channels[i];
    }
    add_conv(
        r,
        at(fmt::format("maskmem_backbone.mask_downsampler.encoder.{}", kOfStep * channels.size())),
        before, width, 1);
    add_conv(r, at("maskmem_backbone.pix_feat_proj"), width, width, 1);
    for (int i = 0; i < 2; ++i) {
        constexpr std::int64_t kSide = 7;
        const std::string block = at(fmt::format("maskmem_backbone.fuser.layers.{}", i));
        r.add_own_parameters(r.path(block, ""), "CXBlock", width, ModuleStorage::AsNetwork);
        add_conv(r, *r.path(block, "dwconv"), 1, width, kSide);
        add_norm(r, *r.path(block, "norm"), width);
        add_linear(r, *r.path(block, "pwconv1"), width, 4 * width);
        add_linear(r, *r.path(block, "pwconv2"), 4 * width, width);
    }
    if (memory != width) add_conv(r, at("maskmem_backbone.out_proj"), width, memory, 1);
    // What stands for a missing object: a token's, or as much as is put into the memory of each.
    const std::int64_t missing = several ? config_.objects * memory + width  // no memory, no object
                                         : memory + 3 * width;
    const std::int64_t validity = several ? 2 * config_.objects * width : 0;
    r.add_own_parameters(r.path(path, ""), "SAM3Tracker",
                         config_.memories * memory + missing + validity, ModuleStorage::AsNetwork);
    add_linear(r, at("obj_ptr_tpos_proj"), width, memory);
    if (several) {
        add_linear(r, at("no_obj_ptr_linear"), width, width);
        const Sam3Mlp of_several(r, at("obj_ptr_proj"), {width, width, width, width});
        r.add_buffer(r.path(path, "image_pe_layer"), "PositionEmbeddingRandom", width,
                     ModuleStorage::AsNetwork, Saved::Yes);
        const Sam3MaskDecoder decoder(r, at("sam_mask_decoder"), width, config_.objects);
    }
    constexpr std::int64_t kStride = 4;
    add_conv(r, at(several ? "interactive_mask_downsample" : "mask_downsample"), 1, 1, kStride);
}

Sam3Tracker::Sam3Tracker(Registry& r, std::string_view path, const modelfile::Sam3Config& c)
    : config_(c),
      root_([&] {
          add_memory_layers(r, *r.path(path, "transformer.encoder"));
          add_memory(r, path);
          return r.path(path, "");
      }()),
      prompts_(make_prompt_encoder(r, *r.path(path, c.objects > 1 ? "interactive_sam_prompt_encoder"
                                                                  : "sam_prompt_encoder"))),
      decoder_(r,
               *r.path(path, c.objects > 1 ? "interactive_sam_mask_decoder" : "sam_mask_decoder"),
               c.width, 1),
      pointer_(r, *r.path(path, c.objects > 1 ? "interactive_obj_ptr_proj" : "obj_ptr_proj"),
               {c.width, c.width, c.width, c.width}) {}

Tensor Sam3Tracker::embed_mask(Tape& tape, const Tensor& mask) const {
    const PromptEncoder& p = prompts_;
    const auto step = [&](const Conv2d& conv, const LayerNorm& norm, const Tensor& x) {
        const Tensor normed = [&] {
            const Tensor made = conv.forward(tape, x);
            const Shape& s = made.shape();
            return norm.forward_strided(tape, made.view({s[0], s[2], s[3], s[1]})).view(s);
        }();
        return ghost::unary(tape, "gelu", p.path, normed);
    };
    Tensor y = step(p.down1, p.norm1, mask);
    y = step(p.down2, p.norm2, y);
    return p.out.forward(tape, y);
}

Tensor Sam3Tracker::refine(Tape& tape, const Sam3Vision::Maps& maps, const Tensor& mask) const {
    // The map of the patches' own size; SAM 3 has a smaller one, which is left aside.
    constexpr std::size_t kSame = 2;
    const Tensor& map = maps.features[kSame];
    const Tensor image = ghost::unary(tape, "add", root_, map);  // that nothing is remembered
    const Tensor given = resize(tape, root_, mask, kMaskSide, kMaskSide, "_upsample_bilinear2d_aa");
    const Tensor points =
        ghost::create(tape, "cat", prompts_.path, {1, kPointsAlways, config_.width}, map.type());
    const Tensor dense = embed_mask(tape, given);
    const Tensor wide =
        ghost::create(tape, "cat", prompts_.path, map.shape(), ElementType::Float32);
    const Tensor places = ghost::to_type(tape, root_, wide, map.type());
    const Tensor masks = decoder_.forward(tape, image, places, points, dense, maps);
    const Shape& s = masks.shape();
    const Tensor chosen = ghost::produce(tape, OpClass::Elementwise, "where", root_, masks,
                                         {1, 1, s[2], s[3]}, masks.type());
    Tensor high = resize(tape, root_, chosen, Sam3Vision::kSide, Sam3Vision::kSide);
    (void)pointer_.forward(tape, points.view({kPointsAlways, config_.width}));
    return high;
}

}  // namespace plimsoll::memory
