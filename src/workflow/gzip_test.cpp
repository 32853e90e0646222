// SPDX-License-Identifier: Apache-2.0
#include "workflow/gzip.h"

#include "workflow/convert/recorded_conversions.h"

#include <gtest/gtest.h>

#include <string>

namespace plimsoll::workflow {
namespace {

TEST(InflateGzip, refuses_what_is_cut_broken_or_too_large) {
    const std::string packed = read_text_file(std::filesystem::path(PLIMSOLL_TEST_DATA) /
                                                  "convert" / "object_info_0.3.64.json.gz",
                                              kRecordedBytesMax)
                                   .value();
    EXPECT_TRUE(is_gzip(packed));
    EXPECT_TRUE(inflate_gzip(packed, 1 << 20U).has_value());
    EXPECT_EQ(inflate_gzip(packed, 1000).error().code, Errc::LimitExceeded);
    for (const std::size_t size : {0U, 2U, 9U, 20U, 500U})
        EXPECT_EQ(inflate_gzip(packed.substr(0, size), 1 << 20U).error().code, Errc::Corrupt);
    std::string broken = packed;
    broken[300] = static_cast<char>(broken[300] ^ 0x55);
    EXPECT_FALSE(inflate_gzip(broken, 1 << 20U).has_value());
    EXPECT_FALSE(is_gzip("{}"));
}

}  // namespace
}  // namespace plimsoll::workflow
