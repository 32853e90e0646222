// SPDX-License-Identifier: Apache-2.0
//
// Networks that enlarge an image in pixels.
#pragma once
#include <boost/describe/class.hpp>

#include <variant>

namespace plimsoll::modelfile {

// ESRGAN's generator (Wang et al. 2018), and Real-ESRGAN's, which folds pixels into channels
// beforehand where it enlarges less.
struct RrdbConfig {
    int colours = 3;
    int width = 64;
    int growth = 32;    // channels that each convolution of a dense block adds
    int blocks = 23;    // of three dense blocks
    int doublings = 2;  // of the sides
    int unshuffle = 1;  // pixels along a side that become channels of one
};
BOOST_DESCRIBE_STRUCT(RrdbConfig, (), (colours, width, growth, blocks, doublings, unshuffle))

// Real-ESRGAN's small network: convolutions one after the other (SRVGGNetCompact).
struct CompactConfig {
    int colours = 3;
    int width = 64;
    int convs = 16;  // between the first and the last
    int scale = 4;
};
BOOST_DESCRIBE_STRUCT(CompactConfig, (), (colours, width, convs, scale))

// SPAN, the swift parameter-free attention network (Wan et al. 2024).
struct SpanConfig {
    int colours = 3;
    int width = 48;
    int scale = 4;
    bool norm = true;  // the mean colour is taken off first
};
BOOST_DESCRIBE_STRUCT(SpanConfig, (), (colours, width, scale, norm))

using UpscalerConfig = std::variant<RrdbConfig, CompactConfig, SpanConfig>;

// How many times longer the sides become.
[[nodiscard]] int scale_of(const UpscalerConfig& config);

}  // namespace plimsoll::modelfile
