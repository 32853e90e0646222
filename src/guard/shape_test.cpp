// SPDX-License-Identifier: Apache-2.0
#include "guard/shape.h"

#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

TEST(SinksOf, are_the_nodes_that_no_other_reads) {
    const auto graph = workflow::parse_api_workflow(
        R"({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},)"
        R"( "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},)"
        R"( "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}})");
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_THAT(sinks_of(*graph), testing::ElementsAre("9", "2"));
}

}  // namespace
}  // namespace plimsoll::guard
