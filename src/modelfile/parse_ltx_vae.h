// SPDX-License-Identifier: Apache-2.0
//
// From the configuration that LTX's model files bring, in their own notation, to the numbers of
// their VAE. The catalogue of known architectures is written in it too.
//
// Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "modelfile/networks/ltx24_vae_config.h"
#include "modelfile/networks/ltx_vae_config.h"

namespace plimsoll::modelfile {

// Keys: encoder_blocks and decoder_blocks, or blocks for both, and what the whole takes. Fails with
// InvalidInput where it contradicts itself, NotFound where it asks for a form that is not walked.
[[nodiscard]] Result<LtxVaeConfig> parse_ltx_vae(const json::value& config);
// Keys: encoder (as above, with `blocks`) and decoder.
[[nodiscard]] Result<Ltx24VaeConfig> parse_ltx24_vae(const json::value& config);

}  // namespace plimsoll::modelfile
