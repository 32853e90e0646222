// SPDX-License-Identifier: Apache-2.0
// The body of POST /prompt from any bytes: valid, refused or a crash answer, never more.
#include "simulator/prompt/validate.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::simulator;  // NOLINT(google-build-using-namespace): a fuzz target
    static const NodeCatalogue catalogue(
        [](std::string_view) { return std::vector<std::string>{"a.safetensors", "b.png"}; }, true);
    auto prompt = parse_python_json({reinterpret_cast<const char*>(data), size});
    if (!prompt) return 0;
    (void)validate_prompt(catalogue, *prompt, nullptr, nullptr);
    return 0;
}
