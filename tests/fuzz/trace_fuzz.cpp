// SPDX-License-Identifier: Apache-2.0
// A trace question from any bytes: answered within its limits, called unknown, or an error.
#include "memory/trace.h"

#include "base/check.h"
#include "base/json.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto answer = plimsoll::memory::answer_trace_line(
        std::string_view(reinterpret_cast<const char*>(data), size));
    if (!answer) {
        CHECK(!answer.error().message.empty());
        return 0;
    }
    const auto line = plimsoll::parse_json(*answer);
    CHECK(line.has_value());
    const auto peak = plimsoll::find_int(*line, "peak_bytes");
    CHECK(plimsoll::find_string(*line, "verdict") == "unknown" || (peak && *peak > 0));
    return 0;
}
