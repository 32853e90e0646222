// SPDX-License-Identifier: Apache-2.0
// Goal: the fields of a prompt's body are found as ComfyUI finds them, and nothing else is an
// object. Method: bodies as clients send them, and broken ones.
#include "gateway/prompt_body.h"

#include <gtest/gtest.h>

namespace plimsoll::gateway {
namespace {

std::string_view text_at(std::string_view bytes, const std::optional<workflow::Span>& span) {
    return span ? bytes.substr(span->begin, span->end - span->begin) : "<none>";
}

TEST(ParsePromptBody, finds_every_field_with_its_bytes) {
    const std::string_view text =
        R"( {"client_id": "abc", "prompt": {"3": {"class_type": "K", "inputs": {"seed": )"
        R"(18446744073709551615, "cfg": 5.0, "x": NaN}}}, "prompt_id": "p-1", "number": 7.0,)"
        R"("front":true, "extra_data": {"extra_pnginfo": {}}, "partial_execution_targets": ["9"]} )";
    const auto body = parse_prompt_body(text);
    ASSERT_TRUE(body) << body.error().message;
    EXPECT_EQ(body->client_id, "abc");
    EXPECT_EQ(body->prompt_id, "p-1");
    EXPECT_EQ(text_at(text, body->prompt_id_span), "\"p-1\"");
    EXPECT_EQ(body->number, "7.0");
    EXPECT_TRUE(body->front);
    EXPECT_TRUE(text_at(text, body->prompt).starts_with(R"({"3")"));
    EXPECT_TRUE(text_at(text, body->prompt).ends_with("}}}"));
    EXPECT_EQ(text_at(text, body->extra_data), R"({"extra_pnginfo": {}})");
    EXPECT_EQ(text_at(text, body->targets), R"(["9"])");
    EXPECT_EQ(text_at(text, body->whole), text.substr(1, text.size() - 2));
}

TEST(ParsePromptBody, takes_the_client_id_from_extra_data_only_where_the_top_has_none) {
    EXPECT_EQ(parse_prompt_body(R"({"extra_data": {"client_id": "inner"}})")->client_id, "inner");
    EXPECT_EQ(parse_prompt_body(R"({"client_id": "outer", "extra_data": {"client_id": "inner"}})")
                  ->client_id,
              "outer");
    EXPECT_FALSE(parse_prompt_body(R"({"client_id": 5})")->client_id);
    EXPECT_FALSE(
        parse_prompt_body(R"({"extra_data": {"client_id": "a"}, "extra_data": {}})")->client_id);
}

TEST(ParsePromptBody, lets_the_last_of_equal_keys_count) {
    const std::string_view text =
        R"({"prompt": 1, "prompt_id": "a", "prompt": {}, "prompt_id": 7})";
    const auto body = parse_prompt_body(text);
    ASSERT_TRUE(body);
    EXPECT_EQ(text_at(text, body->prompt), "{}");
    EXPECT_FALSE(body->prompt_id);
    EXPECT_EQ(text_at(text, body->prompt_id_span), "7");
}

TEST(ParsePromptBody, refuses_what_is_no_json_object) {
    EXPECT_EQ(parse_prompt_body("[]").error().code, Errc::InvalidInput);
    EXPECT_EQ(parse_prompt_body("").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_prompt_body("{").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_prompt_body("{} x").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_prompt_body("\x1f\x8b\x08").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_prompt_body("{\"a\": \"\xff\"}").error().code, Errc::Corrupt);
    EXPECT_FALSE(parse_prompt_body("{\"a\":" + std::string(5000, '[')));
}

}  // namespace
}  // namespace plimsoll::gateway
