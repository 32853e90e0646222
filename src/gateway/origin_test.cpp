// SPDX-License-Identifier: Apache-2.0
// Goal: the requests that ComfyUI answers with 403, and no others. Method: the cases that were
// observed on the real server (reference: section 5 of the API's fact sheet).
#include "gateway/origin.h"

#include <gtest/gtest.h>

namespace plimsoll::gateway {
namespace {

TEST(IsFromAnotherSite, judges_as_comfyui_does) {
    const auto judge = [](std::string_view host, std::string_view origin) {
        return is_from_another_site(host, origin, "");
    };
    EXPECT_FALSE(judge("127.0.0.1:8189", "http://127.0.0.1:8189"));
    EXPECT_FALSE(judge("localhost:8189", "http://LOCALHOST:8189"));
    EXPECT_FALSE(judge("[::1]:8189", "http://[::1]:8189"));
    EXPECT_FALSE(judge("127.0.0.1:8189", "http://127.0.0.1"));
    EXPECT_FALSE(judge("127.0.0.1:8189", "null"));
    EXPECT_FALSE(judge("127.0.0.1:8189", ""));
    EXPECT_FALSE(judge("", "http://evil.example"));
    EXPECT_FALSE(judge("192.168.1.20:8189", "http://evil.example"));
    EXPECT_TRUE(judge("localhost:8189", "http://127.0.0.1:8189"));
    EXPECT_TRUE(judge("127.0.0.1:8189", "http://127.0.0.1:8188"));
    EXPECT_TRUE(judge("127.0.0.1:8189", "https://evil.example"));
    EXPECT_TRUE(judge("[::1]:8189", "http://[::2]:8189"));
    EXPECT_TRUE(is_from_another_site("192.168.1.20", "", "cross-site"));
    EXPECT_FALSE(is_from_another_site("192.168.1.20", "", "same-origin"));
}

}  // namespace
}  // namespace plimsoll::gateway
