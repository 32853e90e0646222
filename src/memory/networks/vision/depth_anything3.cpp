// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/depth_anything3.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kColours = 3;
constexpr int kOwnSide = 504;       // pixels: what the node begins with
constexpr std::int64_t kLast = 32;  // channels before an answer

// The nearest multiple of the patch, the larger of two that are as near.
std::int64_t to_patches(double pixels, std::int64_t patch) {
    const auto whole = static_cast<std::int64_t>(std::nearbyint(pixels));
    const std::int64_t below = whole / patch * patch;
    const std::int64_t above = below + patch;
    return std::max<std::int64_t>(patch, above - whole <= whole - below ? above : below);
}

}  // namespace

DepthAnything3Network::Fusion DepthAnything3Network::make_fusion(std::string_view name,
                                                                 bool joins) {
    Registry& r = registry_;
    const Module own = r.path(*r.path(*head_, "scratch"), name);
    const auto unit = [&](std::string_view of) {
        const Module path = r.path(*own, of);
        return Residual{path, Conv2d(r, r.path(*path, "conv1"), config_.features, config_.features),
                        Conv2d(r, r.path(*path, "conv2"), config_.features, config_.features)};
    };
    std::optional<Residual> joined;
    if (joins) joined = unit("resConfUnit1");
    Residual refined = unit("resConfUnit2");
    return {own, std::move(joined), std::move(refined),
            Conv2d(r, r.path(*own, "out_conv"), config_.features, config_.features, kConv1)};
}

DepthAnything3Network::Output DepthAnything3Network::make_output(std::string_view name,
                                                                 int channels) {
    const Module own = registry_.path(*registry_.path(*head_, "scratch"), name);
    return {own, Conv2d(registry_, registry_.path(*own, "0"), config_.features / 2, kLast),
            Conv2d(registry_, registry_.path(*own, "2"), kLast, channels, kConv1)};
}

DepthAnything3Network::DepthAnything3Network(const modelfile::DepthAnything3Config& c)
    : config_(c),
      root_(registry_.path("", "")),
      backbone_(registry_, "backbone", c.backbone),
      head_(registry_.path("head", "")),
      projects_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i < c.out_channels.size(); ++i)
              convs.emplace_back(registry_, registry_.path("head", fmt::format("projects.{}", i)),
                                 c.backbone.hidden, c.out_channels[i], kConv1);
          return convs;
      }()),
      larger4_(registry_, registry_.path("head", "resize_layers.0"), c.out_channels[0],
               c.out_channels[0], 4),
      larger2_(registry_, registry_.path("head", "resize_layers.1"), c.out_channels[1],
               c.out_channels[1], 2),
      smaller_(registry_, registry_.path("head", "resize_layers.3"), c.out_channels[3],
               c.out_channels[3], ConvShape{3, 2, 1}),
      narrow_([&] {
          std::vector<Conv2d> convs;
          for (std::size_t i = 0; i < c.out_channels.size(); ++i)
              convs.emplace_back(registry_,
                                 registry_.path("head.scratch", fmt::format("layer{}_rn", i + 1)),
                                 c.out_channels[i], c.features, kConv3, Bias::No);
          return convs;
      }()),
      fusions_([&] {
          std::vector<Fusion> fusions;
          for (int i = 1; i <= 4; ++i)
              fusions.push_back(make_fusion(fmt::format("refinenet{}", i), i < 4));
          return fusions;
      }()),
      output1_(registry_, registry_.path("head.scratch", "output_conv1"), c.features,
               c.features / 2),
      depth_(make_output("output_conv2", c.outputs)),
      sky_(c.sky ? std::optional<Output>(make_output("sky_output_conv2", 1)) : std::nullopt) {}

Tensor DepthAnything3Network::run(Tape& tape, const Residual& unit, const Tensor& x) {
    Tensor out = ghost::unary(tape, "relu", unit.path, x);
    out = unit.conv1.forward(tape, out);
    out = ghost::unary(tape, "relu", unit.path, out);
    out = unit.conv2.forward(tape, out);
    return ghost::binary(tape, "add", unit.path, out, x);
}

// Without a size it becomes twice as large.
Tensor DepthAnything3Network::run(Tape& tape, const Fusion& fusion, const Tensor& x,
                                  const Tensor* more, const Shape* size) {
    Tensor y = x;
    if (more != nullptr && fusion.joined) {
        const Tensor refined = run(tape, *fusion.joined, *more);
        y = ghost::binary(tape, "add", fusion.path, y, refined);
    }
    y = run(tape, fusion.refined, y);
    const std::int64_t rows = size != nullptr ? (*size)[2] : 2 * y.shape()[2];
    const std::int64_t columns = size != nullptr ? (*size)[3] : 2 * y.shape()[3];
    y = resize(tape, fusion.path, y, rows, columns);
    return fusion.out.forward(tape, y);
}

Tensor DepthAnything3Network::run(Tape& tape, const Output& output, const Tensor& x) {
    Tensor y = output.conv1.forward(tape, x);
    y = ghost::unary(tape, "relu", output.path, y);
    return output.conv2.forward(tape, y);
}

// The tokens as the layers left them stay beside the normalised ones: their class tokens are views
// of them.
std::vector<Tensor> DepthAnything3Network::see(Tape& tape, const Tensor& pixels) const {
    Tensor x = backbone_.embed(tape, pixels);
    std::vector<Tensor> seen;
    for (int i = 0; i < config_.backbone.layers; ++i) {
        backbone_.run_block(tape, static_cast<std::size_t>(i), x);
        if (std::ranges::find(config_.out_layers, i) != config_.out_layers.end()) seen.push_back(x);
    }
    const std::size_t layers = seen.size();
    for (std::size_t i = 0; i < layers; ++i) seen.push_back(backbone_.normalise(tape, seen[i]));
    return seen;
}

std::vector<Tensor> DepthAnything3Network::predict(Tape& tape, const std::vector<Tensor>& layers,
                                                   std::int64_t rows, std::int64_t columns) const {
    const std::size_t stages = projects_.size();
    std::vector<Tensor> resized;
    for (std::size_t i = 0; i < stages; ++i) {
        const Tensor& tokens = layers[layers.size() - stages + i];
        const Shape& s = tokens.shape();
        Tensor x = ghost::clone(tape, head_, tokens, {s[0], s[2], rows, columns});
        x = projects_[i].forward(tape, x);
        if (i == 0) x = larger4_.forward(tape, x);
        if (i == 1) x = larger2_.forward(tape, x);
        if (i == 3) x = smaller_.forward(tape, x);
        resized.push_back(std::move(x));
    }
    std::vector<Tensor> narrow;
    for (std::size_t i = 0; i < stages; ++i) narrow.push_back(narrow_[i].forward(tape, resized[i]));
    Tensor out = run(tape, fusions_[3], narrow[3], nullptr, &narrow[2].shape());
    out = run(tape, fusions_[2], out, &narrow[2], &narrow[1].shape());
    out = run(tape, fusions_[1], out, &narrow[1], &narrow[0].shape());
    out = run(tape, fusions_[0], out, &narrow[0], nullptr);
    Tensor fused = output1_.forward(tape, out);
    fused =
        resize(tape, head_, fused, rows * config_.backbone.patch, columns * config_.backbone.patch);
    std::vector<Tensor> answers;
    const Tensor logits = run(tape, depth_, fused);
    answers.push_back(ghost::unary(tape, "exp", head_, logits));
    if (!sky_) return answers;
    const Tensor sky = run(tape, *sky_, fused);
    answers.push_back(ghost::unary(tape, "relu", head_, sky));
    return answers;
}

std::vector<Tensor> DepthAnything3Network::read(Tape& tape, const ReaderCall& call) const {
    const ElementType f32 = ElementType::Float32;
    const Tensor image = tape.input({1, call.height, call.width, kColours}, f32);
    const double side = call.side > 0 ? call.side : kOwnSide;
    const double scale = side / (call.shorter_side ? std::min(call.height, call.width)
                                                   : std::max(call.height, call.width));
    const std::int64_t patch = config_.backbone.patch;
    const std::int64_t height = to_patches(call.height * scale, patch);
    const std::int64_t width = to_patches(call.width * scale, patch);
    // Resized on the host, normalised on the card.
    Tensor x = ghost::clone(tape, root_, image, {1, kColours, call.height, call.width});
    x = ghost::create(tape, "to", root_, {1, kColours, height, width}, f32);
    for (const std::string_view op : {"clamp", "sub", "div"}) x = ghost::unary(tape, op, root_, x);
    x = ghost::to_type(tape, root_, x, element_type(call.compute));
    const std::vector<Tensor> layers = see(tape, x);
    std::vector<Tensor> answers = predict(tape, layers, height / patch, width / patch);
    std::vector<Tensor> whole;
    for (const Tensor& answer : answers) {
        const Tensor wide = ghost::to_type(tape, root_, answer, f32);
        whole.push_back(resize(tape, root_, wide, call.height, call.width));
    }
    return whole;
}

}  // namespace plimsoll::memory
