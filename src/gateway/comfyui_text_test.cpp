// SPDX-License-Identifier: Apache-2.0
// Goal: what the gateway writes itself reads like ComfyUI's, and an edit changes nothing but its
// place. Method: texts as recorded (data/transcripts), compared byte for byte.
#include "gateway/comfyui_text.h"

#include <gtest/gtest.h>

namespace plimsoll::gateway {
namespace {

TEST(QuoteJson, writes_as_python_does) {
    EXPECT_EQ(quote_json("a\"b\\c\n\t"), R"("a\"b\\c\n\t")");
    EXPECT_EQ(quote_json("\x01\x7f"), R"("\u0001\u007f")");
    EXPECT_EQ(quote_json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), R"("\u00e9\u20ac\ud83d\ude00")");
    EXPECT_EQ(quote_json("\xff"), R"("\ufffd")");
}

TEST(EncodeHeld, is_comfyuis_answer_to_an_accepted_prompt) {
    EXPECT_EQ(encode_held({.prompt_id = "p", .number = "3"}).body,
              R"({"prompt_id": "p", "number": 3, "node_errors": {}})");
}

TEST(EncodeRefusal, is_comfyuis_shape_with_the_node_marked) {
    const Answer answer =
        encode_refusal({.type = "plimsoll_over_budget",
                        .message = "too large",
                        .details = "needs 7 GiB",
                        .node_errors = encode_node_errors({{.node_id = "5",
                                                            .class_type = "EmptyLatentImage",
                                                            .type = "value_bigger_than_max",
                                                            .message = "too wide",
                                                            .details = "width",
                                                            .input = "width",
                                                            .dependent_outputs = {"9"}},
                                                           {.node_id = "5",
                                                            .class_type = "EmptyLatentImage",
                                                            .type = "t",
                                                            .message = "m",
                                                            .details = "d",
                                                            .input = "",
                                                            .dependent_outputs = {}}})});
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(
        answer.body,
        R"({"error": {"type": "plimsoll_over_budget", "message": "too large", "details": "needs 7 GiB", "extra_info": {}}, "node_errors": {"5": {"errors": [{"type": "value_bigger_than_max", "message": "too wide", "details": "width", "extra_info": {"input_name": "width"}}, {"type": "t", "message": "m", "details": "d", "extra_info": {}}], "dependent_outputs": ["9"], "class_type": "EmptyLatentImage"}}})");
}

TEST(WithNodeErrors, replaces_only_an_empty_object) {
    const std::string_view answer = R"({"prompt_id": "p", "number": 7.0, "node_errors": {}})";
    EXPECT_EQ(with_node_errors(answer, R"({"5": 1})"),
              R"({"prompt_id": "p", "number": 7.0, "node_errors": {"5": 1}})");
    EXPECT_EQ(with_node_errors(answer, ""), answer);
    const std::string_view named = R"({"node_errors": {"9": {}}})";
    EXPECT_EQ(with_node_errors(named, R"({"5": 1})"), named);
    for (const std::string_view other : {"", "[]", "{", "\xff", R"({"node_errors": []})"})
        EXPECT_EQ(with_node_errors(other, R"({"5": 1})"), other);
}

TEST(RaiseQueueRemaining, changes_the_number_and_nothing_else) {
    EXPECT_EQ(
        raise_queue_remaining(
            R"({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 9}}, "sid": "AAA"}})",
            3),
        R"({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 12}}, "sid": "AAA"}})");
    EXPECT_FALSE(raise_queue_remaining(
        R"({"type": "progress", "data": {"status": {"exec_info": {"queue_remaining": 9}}}})", 3));
    EXPECT_FALSE(raise_queue_remaining(
        R"({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 9}}}})", 0));
    for (const char* const value : {"1.5", "null", "\"1\"", "12345678901234567890"})
        EXPECT_FALSE(raise_queue_remaining(
            std::string(R"({"type": "status", "data": {"status": {"exec_info": )") +
                R"({"queue_remaining": )" + value + "}}}}",
            1))
            << value;
    EXPECT_FALSE(raise_queue_remaining(R"({"type": "status")", 1));
}

TEST(IsAboutARun, knows_by_its_beginning_what_is_about_a_run) {
    EXPECT_TRUE(is_about_a_run(R"({"type": "execution_error", "data": {"prompt_id": "a"}})"));
    EXPECT_TRUE(is_about_a_run(R"({"type":"executing","data":{"node":null}})"));
    EXPECT_FALSE(is_about_a_run(R"({"type": "progress", "data": {"type": "execution_error"}})"));
    EXPECT_FALSE(is_about_a_run(R"({"type": "status"})"));
    EXPECT_FALSE(is_about_a_run("execution_error"));
    EXPECT_FALSE(is_about_a_run(""));
}

TEST(SidOfStatus, reads_it_where_there_is_one) {
    EXPECT_EQ(sid_of_status(R"({"type": "status", "data": {"status": {}, "sid": "A\u0041"}})"),
              "AA");
    EXPECT_FALSE(sid_of_status(R"({"type": "status", "data": {"status": {}}})"));
    EXPECT_FALSE(sid_of_status(R"({"type": "progress", "data": {"sid": "A"}})"));
}

}  // namespace
}  // namespace plimsoll::gateway
