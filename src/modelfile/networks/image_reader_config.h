// SPDX-License-Identifier: Apache-2.0
//
// Networks that look at images and answer with something else than a latent or a token: masks,
// depths, boxes.
#pragma once
#include <boost/describe/class.hpp>

#include <variant>
#include <vector>

namespace plimsoll::modelfile {

// BiRefNet (Zheng et al. 2024): a Swin transformer looks at the image twice, in two sizes, and a
// decoder of deformable convolutions makes a mask of it.
struct BiRefNetConfig {
    int width = 192;                          // of the first stage; each has twice the one before
    std::vector<int> depths = {2, 2, 18, 2};  // blocks of each of the four stages
    std::vector<int> heads = {6, 12, 24, 48};
    int window = 12;  // tokens along a side
};
BOOST_DESCRIBE_STRUCT(BiRefNetConfig, (), (width, depths, heads, window))

// DINOv2 (Oquab et al. 2023) as the readers below use it.
struct DinoConfig {
    int hidden = 1024;
    int layers = 24;
    int heads = 16;
    int patch = 14;
    int grid = 37;            // patches along a side of the image that its positions are for
    bool mask_token = false;  // of its training, kept in some files
};
BOOST_DESCRIBE_STRUCT(DinoConfig, (), (hidden, layers, heads, patch, grid, mask_token))

// Depth Anything 3 (Lin et al. 2025), those for one image: DINOv2 and a dense prediction
// transformer's head.
struct DepthAnything3Config {
    DinoConfig backbone;
    std::vector<int> out_layers = {4, 11, 17, 23};  // that the head sees
    int features = 256;
    std::vector<int> out_channels = {256, 512, 1024, 1024};
    int outputs = 1;  // 2: with its confidence
    bool sky = true;
};
BOOST_DESCRIBE_STRUCT(DepthAnything3Config, (),
                      (backbone, out_layers, features, out_channels, outputs, sky))

// One of MoGe 2's stacks of convolutions, from small to large: residual blocks in each level.
struct ConvStackConfig {
    std::vector<int> in;         // channels that a level takes besides
    std::vector<int> width;      // of a level's residual blocks
    std::vector<int> blocks;     // of them
    std::vector<int> out;        // channels that a level hands out; 0: as they are
    std::vector<int> transpose;  // 1: the step to the next level is a transposed convolution
    bool norm = true;            // the residual blocks have norms
};
BOOST_DESCRIBE_STRUCT(ConvStackConfig, (), (in, width, blocks, out, transpose, norm))

// MoGe 2 (Wang et al. 2025): points, a mask and normals of one image.
struct MogeConfig {
    DinoConfig backbone;
    int features = 1024;  // that the backbone's layers are brought to
    ConvStackConfig neck;
    ConvStackConfig points;
    ConvStackConfig mask;
    ConvStackConfig normal;       // no width: it has none
    std::vector<int> scale_head;  // widths of the layers that tell the scale
};
BOOST_DESCRIBE_STRUCT(MogeConfig, (), (backbone, features, neck, points, mask, normal, scale_head))

// RT-DETRv4 (Liao et al. 2025) of the largest size: PP-HGNetV2 B5, a hybrid encoder and D-FINE's
// decoder find boxes.
struct RtDetrConfig {
    int hidden = 256;
    int encoder_width = 2048;  // inside the encoder's feed-forward
    int decoder_width = 1024;
    int layers = 6;  // of the decoder
    int queries = 300;
    int classes = 80;
};
BOOST_DESCRIBE_STRUCT(RtDetrConfig, (),
                      (hidden, encoder_width, decoder_width, layers, queries, classes))

// SAM 3 (Carion et al. 2025): what a short text names is found in an image and cut out. A vision
// transformer, DETR's encoder and decoder with a head for masks, and what follows objects through
// a video, whose decoder of masks refines what was found. SAM 3.1 follows several at once.
struct Sam3Config {
    int hidden = 1024;  // of the vision transformer
    int layers = 32;
    int mlp = 4736;
    int patch = 14;
    int grid = 24;    // patches along a side of the image that its positions are for
    int width = 256;  // of all that follows
    int feed_forward = 2048;
    int encoder_layers = 6;
    int decoder_layers = 6;
    int geometry_layers = 3;
    int queries = 200;
    int memory_layers = 4;  // of the attention to earlier frames
    int memory_width = 64;
    int memories = 7;       // frames that are remembered
    int objects = 1;        // followed at once; above 1: SAM 3.1
    int text_width = 1024;  // of the encoder of texts
};
BOOST_DESCRIBE_STRUCT(Sam3Config, (),
                      (hidden, layers, mlp, patch, grid, width, feed_forward, encoder_layers,
                       decoder_layers, geometry_layers, queries, memory_layers, memory_width,
                       memories, objects, text_width))

using ImageReaderConfig =
    std::variant<BiRefNetConfig, DepthAnything3Config, MogeConfig, RtDetrConfig, Sam3Config>;

}  // namespace plimsoll::modelfile
