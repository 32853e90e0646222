// SPDX-License-Identifier: Apache-2.0
// The pickle alone, without the archive around it that a fuzzer would have to keep intact.
#include "modelfile/pickle.h"

#include "base/check.h"
#include "model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::modelfile;  // NOLINT(google-build-using-namespace): a program of one
                                          // function
    plimsoll::MemorySource source(bytes_of(data, size));
    ByteReader reader(source, 0, size, kPickleBytesMax);
    const auto pickle = scan_pickle(reader);
    if (!pickle) return 0;
    CHECK(pickle->top < pickle->values.size());
    for (const PickleValue& value : pickle->values)
        for (const ValueId id : value.items) CHECK(id < pickle->values.size());
    return 0;
}
