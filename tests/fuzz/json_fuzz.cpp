// SPDX-License-Identifier: Apache-2.0
// JSON from any bytes: an error, or a value whose own text is JSON again. (Not always the same
// value: Boost.JSON 1.81 reads fractions to within the last bit.)
#include "base/check.h"
#include "base/json.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto value =
        plimsoll::parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
    if (!value) {
        CHECK(!value.error().message.empty());
        return 0;
    }
    const auto again = plimsoll::parse_json(plimsoll::to_pretty_json(*value));
    CHECK(again.has_value());
    CHECK(again->kind() == value->kind());
    return 0;
}
