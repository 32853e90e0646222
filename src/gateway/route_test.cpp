// SPDX-License-Identifier: Apache-2.0
// Goal: the routes that a hook may ask for are recognised in every spelling that ComfyUI takes for
// them, and no other request is. Method: a table.
#include "gateway/route.h"

#include <gtest/gtest.h>

namespace plimsoll::gateway {
namespace {

Route route_of(std::string_view method, std::string_view target) {
    return match_route(method, target).route;
}

TEST(MatchRoute, knows_both_prefixes_and_ignores_the_query) {
    for (const std::string prefix : {"", "/api"}) {
        EXPECT_EQ(route_of("POST", prefix + "/prompt"), Route::PostPrompt);
        EXPECT_EQ(route_of("POST", prefix + "/prompt?clientId=a/b"), Route::PostPrompt);
        EXPECT_EQ(route_of("GET", prefix + "/prompt"), Route::GetPrompt);
        EXPECT_EQ(route_of("GET", prefix + "/queue?x=1"), Route::GetQueue);
        EXPECT_EQ(route_of("POST", prefix + "/queue"), Route::PostQueue);
        EXPECT_EQ(route_of("POST", prefix + "/interrupt"), Route::Interrupt);
        EXPECT_EQ(route_of("POST", prefix + "/free"), Route::Free);
        EXPECT_EQ(route_of("GET", prefix + "/history"), Route::GetHistory);
        EXPECT_EQ(route_of("POST", prefix + "/history"), Route::PostHistory);
    }
}

TEST(MatchRoute, knows_jobs_below_api_only) {
    EXPECT_EQ(route_of("GET", "/api/jobs?limit=3"), Route::Jobs);
    EXPECT_EQ(route_of("GET", "/api/jobs/abc"), Route::Job);
    EXPECT_EQ(match_route("GET", "/api/jobs/a%20b").argument, "a b");
    EXPECT_EQ(route_of("POST", "/api/jobs/abc/cancel"), Route::CancelJob);
    EXPECT_EQ(match_route("POST", "/api/jobs/abc/cancel").argument, "abc");
    EXPECT_EQ(route_of("POST", "/api/jobs/cancel"), Route::CancelJobs);
    EXPECT_EQ(route_of("GET", "/jobs"), Route::Other);
    EXPECT_EQ(route_of("GET", "/api/jobs/abc/cancel"), Route::Other);
    EXPECT_EQ(route_of("GET", "/api/jobs/"), Route::Other);
}

TEST(MatchRoute, decodes_the_path_as_the_router_does) {
    EXPECT_EQ(route_of("POST", "/%70rompt"), Route::PostPrompt);
    EXPECT_EQ(match_route("GET", "/history/a%2Fb").argument, "a/b");
    EXPECT_EQ(route_of("POST", "http://127.0.0.1:8189/prompt"), Route::PostPrompt);
}

TEST(MatchRoute, leaves_everything_else_alone) {
    for (const char* const target :
         {"//prompt", "/prompt/", "/api/api/prompt", "/prompts", "/", "", "*", "/api", "/a/b/c/d/e",
          "/prompt%2F", "prompt", "http://127.0.0.1", "/history/a/b"}) {
        EXPECT_EQ(route_of("POST", target), Route::Other) << target;
        EXPECT_EQ(route_of("GET", target), Route::Other) << target;
    }
    for (const char* const method : {"PUT", "HEAD", "post", "OPTIONS"})
        EXPECT_EQ(route_of(method, "/prompt"), Route::Other) << method;
    EXPECT_EQ(route_of("GET", "/interrupt"), Route::Other);
}

}  // namespace
}  // namespace plimsoll::gateway
