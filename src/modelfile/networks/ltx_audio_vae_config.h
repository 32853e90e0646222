// SPDX-License-Identifier: Apache-2.0
//
// LTX-2's VAE for sound and the vocoder behind it. Members have the names of the configuration's
// keys.
#pragma once
#include <boost/describe/class.hpp>

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct LtxAudioCoderConfig {
    bool double_z = true;
    int mel_bins = 64;
    int z_channels = 8;
    int in_channels = 2;
    int out_ch = 2;
    int ch = 128;
    std::vector<int> ch_mult = {1, 2, 4};
    int num_res_blocks = 2;
    std::vector<int> attn_resolutions;
    bool mid_block_add_attention = false;
    std::string norm_type = "pixel";
    std::string causality_axis = "height";
};
BOOST_DESCRIBE_STRUCT(LtxAudioCoderConfig, (),
                      (double_z, mel_bins, z_channels, in_channels, out_ch, ch, ch_mult,
                       num_res_blocks, attn_resolutions, mid_block_add_attention, norm_type,
                       causality_axis))

struct LtxVocoderConfig {
    int upsample_initial_channel = 1024;
    std::vector<int> upsample_rates = {6, 5, 2, 2, 2};
    std::vector<int> upsample_kernel_sizes = {16, 15, 8, 4, 4};
    std::vector<int> resblock_kernel_sizes = {3, 7, 11};
    std::vector<std::vector<int>> resblock_dilation_sizes = {{1, 3, 5}, {1, 3, 5}, {1, 3, 5}};
    bool stereo = true;
    std::string resblock = "1";             // "AMP1": with alias-free activations (BigVGAN)
    std::string activation = "leaky_relu";  // of AMP1: "snake" or "snakebeta"
    bool use_bias_at_final = true;
    bool use_tanh_at_final = true;  // else it is clamped
    bool apply_final_activation = true;
};
BOOST_DESCRIBE_STRUCT(LtxVocoderConfig, (),
                      (upsample_initial_channel, upsample_rates, upsample_kernel_sizes,
                       resblock_kernel_sizes, resblock_dilation_sizes, stereo, resblock, activation,
                       use_bias_at_final, use_tanh_at_final, apply_final_activation))

// The second vocoder of LTX 2.3: from the spectrogram of what the first one made to the same sound
// at a higher rate, added to a plain resampling.
struct LtxBandwidthConfig {
    LtxVocoderConfig generator;
    int n_fft = 512;
    int hop_length = 80;
    int num_mels = 64;
    int input_sampling_rate = 16000;
    int output_sampling_rate = 48000;
};
BOOST_DESCRIBE_STRUCT(LtxBandwidthConfig, (),
                      (generator, n_fft, hop_length, num_mels, input_sampling_rate,
                       output_sampling_rate))

struct LtxAudioVaeConfig {
    LtxAudioCoderConfig coder;
    LtxVocoderConfig vocoder;
    std::optional<LtxBandwidthConfig> bandwidth;
};
BOOST_DESCRIBE_STRUCT(LtxAudioVaeConfig, (), (coder, vocoder, bandwidth))

}  // namespace plimsoll::modelfile
