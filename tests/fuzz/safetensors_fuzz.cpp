// SPDX-License-Identifier: Apache-2.0
// A safetensors header from any bytes: a table that holds together, or an error.
#include "modelfile/safetensors.h"

#include "model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    plimsoll::MemorySource source(plimsoll::modelfile::bytes_of(data, size));
    plimsoll::modelfile::check_table(plimsoll::modelfile::read_safetensors(source));
    return 0;
}
