// SPDX-License-Identifier: Apache-2.0
#include "modelfile/listing_fixture.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <utility>

namespace plimsoll::modelfile {

TensorTable listed_network(const std::string& name) {
    const std::string path =
        std::string(PLIMSOLL_TEST_DATA) + "/modelfile/headers/" + name + ".json.gz";
    gzFile file = gzopen(path.c_str(), "rb");
    EXPECT_NE(file, nullptr) << path;
    std::string text;
    std::array<char, 65536> chunk{};
    for (int got = 0; file != nullptr && (got = gzread(file, chunk.data(), chunk.size())) > 0;)
        text.append(chunk.data(), static_cast<std::size_t>(got));
    if (file != nullptr) gzclose(file);
    Result<TensorTable> table = parse_listing(text);
    EXPECT_TRUE(table) << table.error().message;
    return table ? *std::move(table) : TensorTable{};
}

}  // namespace plimsoll::modelfile
