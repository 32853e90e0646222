// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of Wan 2.1 (also of Qwen-Image) and Wan 2.2. 2.1 numbers its layers through, 2.2 groups
// them by level; both halves are read into levels of residual blocks.
#include "modelfile/detect_numbers.h"

#include <algorithm>
#include <array>

namespace plimsoll::modelfile {
namespace {

constexpr int kLayersMax = 256;  // chosen: real halves have at most 15 layers

struct Level {
    int channels = 0;
    int blocks = 0;
    bool resamples = false;
    bool in_time = false;  // frames too
};

struct Layers {
    std::vector<Level> levels = std::vector<Level>(1);

    // False where the layer is of neither kind.
    bool add(const TensorView& layer) {
        Level& level = levels.back();
        if (layer.has("resample.1.weight")) {
            level.resamples = true;
            level.in_time = layer.has("time_conv.weight");
            levels.emplace_back();
            return true;
        }
        level.channels = layer.axis("residual.6.weight", 0, 5);
        ++level.blocks;
        return level.channels > 0;
    }
};

// Layers below `half` ("encoder.downsamples."); empty where one is of no known kind.
std::vector<Level> read_levels(const TensorView& half, std::string_view group) {
    Layers layers;
    for (int i = 0; i < kLayersMax && half.has_any(fmt::format("{}.", i)); ++i) {
        const TensorView outer = half.below(fmt::format("{}.", i));
        if (!outer.has_any(group)) {
            if (!layers.add(outer)) return {};
            continue;
        }
        const TensorView inner = outer.below(group);
        for (int j = 0; j < kLayersMax && inner.has_any(fmt::format("{}.", j)); ++j)
            if (!layers.add(inner.below(fmt::format("{}.", j)))) return {};
    }
    return layers.levels;
}

// Wan 2.2 folds 2 x 2 pixels of three colours; the others fold none, and may keep transparency.
void read_colours(const TensorView& view, NumberReader& read, WanVaeConfig& c) {
    constexpr int kFolded = 3 * 2 * 2;
    const int in = read.length("encoder.conv1.weight", 1, 5);
    const int out = view.axis("decoder.head.2.weight", 0, 5);
    if (in == kFolded) {
        c.patch_size = 2;
        read.expect(out == in, "it decodes other colours than it encodes");
        return;
    }
    constexpr int kTransparent = 4;
    read.expect(in <= kTransparent, "its folded pixels are no square");
    c.image_channels = in;
    c.conv_out_channels = out;
}

}  // namespace

std::optional<WanVaeConfig> detect_wan_vae(const TensorView& view, Notes& notes) {
    if (!view.has("decoder.middle.0.residual.0.gamma")) return std::nullopt;
    NumberReader read(view, "the VAE of Wan");
    WanVaeConfig c;
    c.avg_shortcuts = view.has_any("decoder.upsamples.0.upsamples.0.");
    c.dim = read.length("encoder.conv1.weight", 0, 5);
    c.z_dim = read.length("conv2.weight", 0, 5);
    c.dec_dim = read.length("decoder.head.0.gamma", 0, 4);
    read_colours(view, read, c);

    const std::vector<Level> down = read_levels(view.below("encoder.downsamples."), "downsamples.");
    const std::vector<Level> up = read_levels(view.below("decoder.upsamples."), "upsamples.");
    read.expect(down.size() == c.dim_mult.size() && up.size() == down.size(),
                "it has not four levels");
    if (!read.sound(notes)) return std::nullopt;
    c.num_res_blocks = down.front().blocks;
    for (std::size_t i = 0; i < down.size(); ++i) {
        c.dim_mult.at(i) = read.quotient(down[i].channels, c.dim, "channels of a level");
        read.expect(down[i].blocks == c.num_res_blocks && up[i].blocks == c.num_res_blocks + 1,
                    "its levels have different numbers of blocks");
        if (i < c.temperal_downsample.size()) c.temperal_downsample.at(i) = down[i].in_time ? 1 : 0;
    }
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace plimsoll::modelfile
