// SPDX-License-Identifier: Apache-2.0
// A PNG's text chunks from any bytes.
#include "workflow/png_text.h"

#include "base/check.h"

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    plimsoll::MemorySource source(std::as_bytes(std::span(data, size)));
    const auto found = plimsoll::workflow::read_png_workflow(source);
    CHECK(found ? found->prompt || found->workflow : !found.error().message.empty());
    return 0;
}
