// SPDX-License-Identifier: Apache-2.0
// A torch archive, or a file from before there were archives from any bytes: a table that holds
// together, or an error.
#include "modelfile/torch_pickle.h"

#include "model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    plimsoll::MemorySource source(plimsoll::modelfile::bytes_of(data, size));
    plimsoll::modelfile::check_table(plimsoll::modelfile::read_torch_pickle(source));
    return 0;
}
