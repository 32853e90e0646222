// SPDX-License-Identifier: Apache-2.0
//
// Networks that listen: what videos of speech are made after.
#pragma once
#include <boost/describe/class.hpp>

#include <variant>

namespace plimsoll::modelfile {

// wav2vec 2.0 (Baevski et al. 2020).
struct Wav2Vec2Config {
    int hidden = 1024;
    int layers = 24;
    int heads = 16;
    int feed_forward = 4096;
    int conv_width = 512;    // of the convolutions that shorten the sound
    bool norm_each = true;   // each of them has a norm and a bias; else the first alone has a norm
    bool norm_first = true;  // in the layers, norms go before attention and feed-forward
};
BOOST_DESCRIBE_STRUCT(Wav2Vec2Config, (),
                      (hidden, layers, heads, feed_forward, conv_width, norm_each, norm_first))

// The encoder of Whisper (Radford et al. 2022).
struct WhisperConfig {
    int hidden = 1280;
    int layers = 32;
    int heads = 20;
    int feed_forward = 5120;
    int mels = 128;
    int positions = 1500;  // of thirty seconds, which every sound is cut or padded to
};
BOOST_DESCRIBE_STRUCT(WhisperConfig, (), (hidden, layers, heads, feed_forward, mels, positions))

using AudioEncoderConfig = std::variant<Wav2Vec2Config, WhisperConfig>;

}  // namespace plimsoll::modelfile
