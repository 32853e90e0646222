// SPDX-License-Identifier: Apache-2.0
//
// Encoders of the T5 family: T5 1.1 (Raffel et al. 2020), UMT5 (Chung et al. 2023), ByT5 (Xue et
// al. 2022). Members have the names of their published configurations.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct T5Config {
    int vocab_size = 32128;
    int d_model = 4096;
    int d_kv = 64;     // channels of one head
    int d_ff = 10240;  // of the feed-forward
    int num_layers = 24;
    int num_heads = 64;
    int relative_attention_num_buckets = 32;
    bool gated = true;  // the feed-forward, as of T5 1.1; the first T5 has a plain one
    bool bias_in_every_layer = false;  // UMT5: each layer has a table of relative positions
    bool masked = false;               // the prompt's padding is masked
    bool zero_out_masked = false;      // and its encodings are zero
    bool scaled_fp8 = false;   // Linear layers in fp8 with a scale each, everything else in fp16
    int linear_millibits = 0;  // of the layers' matrices where they are packed: see PartWeights
};
BOOST_DESCRIBE_STRUCT(T5Config, (),
                      (vocab_size, d_model, d_kv, d_ff, num_layers, num_heads,
                       relative_attention_num_buckets, gated, bias_in_every_layer, masked,
                       zero_out_masked, scaled_fp8, linear_millibits))

}  // namespace plimsoll::modelfile
