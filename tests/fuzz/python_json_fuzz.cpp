// SPDX-License-Identifier: Apache-2.0
// JSON as the simulated server reads it, from any bytes; what was read is written and read again.
#include "base/check.h"
#include "simulator/python_value.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::simulator;  // NOLINT(google-build-using-namespace): a fuzz target
    const auto value = parse_python_json({reinterpret_cast<const char*>(data), size});
    if (!value) return 0;
    const std::string text = dump_python_json(*value);
    const auto again = parse_python_json(text);
    CHECK(again);
    CHECK(dump_python_json(*again) == text);
    (void)python_repr(*value);
    return 0;
}
