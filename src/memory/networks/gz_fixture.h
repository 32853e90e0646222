// SPDX-License-Identifier: Apache-2.0
//
// Test fixture: recorded listings under tests/data, gzipped JSON or JSON lines.
#pragma once
#include "base/json.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <string>

namespace plimsoll::memory {

// The bytes of tests/data/NAME, unpacked.
[[nodiscard]] inline std::string recorded_text(const std::string& name) {
    const std::string path = PLIMSOLL_TEST_DATA "/" + name;
    std::string text;
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) {
        ADD_FAILURE() << "cannot open " << path;
        return text;
    }
    std::array<char, 1 << 16> buffer{};
    for (int n = 0; (n = gzread(file, buffer.data(), buffer.size())) > 0;) {
        text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    gzclose(file);
    return text;
}

// The document of tests/data/NAME.json.gz.
[[nodiscard]] inline json::value recorded_json(const std::string& name) {
    return parse_json(recorded_text(name + ".json.gz")).value_or(json::object{});
}

}  // namespace plimsoll::memory
