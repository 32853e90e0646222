// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/node_pack.h"

#include <gtest/gtest.h>

#include <string>

namespace plimsoll::workflow {
namespace {

TEST(NodePack, takes_versions_commits_and_unknown) {
    for (const char* const good :
         {"0.3.64", "1.0.0-beta.2+build.5", "unknown", "a125cd84", "0123456789abcdef"})
        EXPECT_TRUE(is_pack_version(good)) << good;
    for (const char* const bad : {"", "1.2", "01.2.3", "nightly", "1.2.3.4", "abc", "1.0.0-"})
        EXPECT_FALSE(is_pack_version(bad)) << bad;
    EXPECT_FALSE(is_pack_version(std::string(41, 'a')));
}

TEST(NodePack, takes_names_of_the_registry_and_of_repositories) {
    EXPECT_TRUE(is_pack_id("comfy-core"));
    EXPECT_FALSE(is_pack_id("-x"));
    EXPECT_FALSE(is_pack_id("a b"));
    EXPECT_TRUE(is_repository("user/Some_Pack.x"));
    EXPECT_FALSE(is_repository("user"));
    EXPECT_FALSE(is_repository("a--b/c"));
    EXPECT_FALSE(is_repository("a/b/c"));
}

}  // namespace
}  // namespace plimsoll::workflow
