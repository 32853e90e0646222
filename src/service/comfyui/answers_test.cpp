// SPDX-License-Identifier: Apache-2.0
//
// Goal: a real ComfyUI's answers and messages are understood. Method: exchanges recorded from a
// ComfyUI 0.3.64 (tests/data/service/README.md), and broken ones made by hand.
#include "service/comfyui/answers.h"

#include "base/byte_source.h"
#include "service/comfyui/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;

// The lines of a recorded exchange.
std::vector<json::value> transcript(const std::string& name) {
    std::ifstream stream(std::string(PLIMSOLL_TEST_DATA) + "/service/" + name + ".jsonl");
    EXPECT_TRUE(stream) << name;
    std::vector<json::value> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(parse_json(line).value());
    return lines;
}

std::string body_of(const json::value& line) {
    return std::string(find_string(*find(line, "body"), "text").value());
}

// The bodies of the answers to requests of a target, in order.
std::vector<std::string> answers_to(const std::vector<json::value>& lines,
                                    const std::string& method, const std::string& target) {
    std::vector<std::int64_t> ids;
    std::vector<std::string> bodies;
    for (const json::value& line : lines) {
        if (find_string(line, "kind") == "http_request" && find_string(line, "method") == method &&
            find_string(line, "target")->starts_with(target))
            ids.push_back(*find_int(line, "id"));
        if (find_string(line, "kind") == "http_response" &&
            std::ranges::find(ids, *find_int(line, "id")) != ids.end())
            bodies.push_back(body_of(line));
    }
    return bodies;
}

// The messages of the socket "owner" about the first prompt.
std::vector<Message> messages_of(const std::vector<json::value>& lines) {
    const std::string prompt_id(
        find_string(parse_json(answers_to(lines, "POST", "/prompt").at(0)).value(), "prompt_id")
            .value());
    std::vector<Message> messages;
    for (const json::value& line : lines)
        if (find_string(line, "kind") == "ws_text" && find_string(line, "socket") == "owner")
            messages.push_back(parse_message(*find_string(line, "text"), prompt_id));
    return messages;
}

template <class T>
int count_of(const std::vector<Message>& messages) {
    return static_cast<int>(std::ranges::count_if(
        messages, [](const Message& m) { return std::holds_alternative<T>(m); }));
}

TEST(Messages, a_recorded_txt2img_run_has_its_nodes_in_order_and_one_end) {
    const auto messages = messages_of(transcript("txt2img"));
    std::string order;
    for (const Message& message : messages)
        if (const auto* const node = std::get_if<NodeStarted>(&message))
            order += node->node_id + " ";
    EXPECT_EQ(order, "4 5 7 6 3 8 9 ");
    EXPECT_EQ(count_of<Started>(messages), 1);
    EXPECT_EQ(count_of<Succeeded>(messages), 1);
    EXPECT_EQ(count_of<Ended>(messages), 1);
    EXPECT_EQ(count_of<NodeOutput>(messages), 1);
    EXPECT_GT(count_of<NodeProgress>(messages), 4);
    EXPECT_EQ(count_of<Failed>(messages), 0);
}

TEST(Messages, a_recorded_out_of_memory_is_recognised) {
    const auto messages = messages_of(transcript("oom_with_pending"));
    int failures = 0;
    for (const Message& message : messages)
        if (const auto* const failed = std::get_if<Failed>(&message)) {
            ++failures;
            EXPECT_TRUE(failed->error.out_of_memory()) << failed->error.message;
        }
    EXPECT_EQ(failures, 1);
}

TEST(Messages, a_recorded_interrupt_is_recognised_and_other_prompts_are_ignored) {
    const auto messages = messages_of(transcript("interrupt_sampling"));
    EXPECT_EQ(count_of<WasInterrupted>(messages), 1);
    EXPECT_EQ(count_of<Ended>(messages), 1);
    EXPECT_EQ(count_of<Succeeded>(messages), 0);  // that of the second prompt
}

TEST(Messages, unknown_broken_and_hostile_messages_are_ignored) {
    for (const std::string_view text :
         {R"({"type": "crystools.monitor", "data": {"prompt_id": "P"}})", "not json", "", "[]",
          "{}", R"({"type": 5, "data": {}})", R"({"type": "executing", "data": {"node": "3"}})",
          R"({"type": "executing", "data": {"node": null, "prompt_id": "Q"}})",
          R"({"type": "executing", "data": {"node": 3, "prompt_id": "P"}})",
          R"({"type": "status", "data": {"status": null}})",
          R"({"type": "progress_state", "data": {"prompt_id": "P", "nodes": []}})"})
        EXPECT_TRUE(std::holds_alternative<Ignored>(parse_message(text, "P"))) << text;
}

TEST(Messages, the_image_of_a_preview_comes_after_its_head_and_a_head_that_lies_gives_none) {
    const auto image_of = [](std::string_view text) {
        const auto message = parse_binary_message(std::as_bytes(std::span(text)));
        return std::get<Preview>(message).image;
    };
    using namespace std::string_view_literals;
    EXPECT_EQ(image_of("\0\0\0\1\0\0\0\1JPEG"sv), "JPEG");
    EXPECT_EQ(image_of("\0\0\0\4\0\0\0\2{}PNG"sv), "PNG");
    EXPECT_EQ(image_of("\0\0\0\4\xff\xff\xff\xff{}PNG"sv), "");
    EXPECT_EQ(image_of("\0\0\0\1\0\0\0\1"sv), "");
}

TEST(Messages, binary_previews_of_both_kinds_are_counted_and_others_ignored) {
    const auto frame = [](unsigned char event) {
        std::vector<std::byte> bytes(16);
        bytes[3] = std::byte{event};
        return parse_binary_message(bytes);
    };
    EXPECT_TRUE(std::holds_alternative<Preview>(frame(1)));
    EXPECT_TRUE(std::holds_alternative<Preview>(frame(4)));
    EXPECT_TRUE(std::holds_alternative<Ignored>(frame(3)));
    EXPECT_TRUE(std::holds_alternative<Ignored>(parse_binary_message({})));
}

TEST(Answers, a_recorded_history_entry_gives_state_and_images) {
    const auto lines = transcript("txt2img");
    const std::string body = answers_to(lines, "GET", "/history/").at(0);
    const std::string prompt_id(parse_json(body)->as_object().begin()->key());
    const JobRecord job = parse_history(body, prompt_id).value();
    EXPECT_EQ(job.state, JobState::Succeeded);
    ASSERT_EQ(job.images.size(), 1U);
    EXPECT_EQ(job.images[0].type, "output");
    EXPECT_EQ(parse_history("{}", prompt_id)->state, JobState::Unknown);
    const std::string interrupted =
        answers_to(transcript("interrupt_sampling"), "GET", "/history/").at(0);
    EXPECT_EQ(
        parse_history(interrupted, parse_json(interrupted)->as_object().begin()->key())->state,
        JobState::Interrupted);
}

TEST(Answers, the_queue_tells_running_from_pending) {
    const std::string body =
        R"({"queue_running": [[0, "A", {}, {}, []]], "queue_pending": [[1, "B", {"x": NaN}, {}, []]]})";
    EXPECT_EQ(parse_queue(body, "A").value(), JobState::Running);
    EXPECT_EQ(parse_queue(body, "B").value(), JobState::Pending);
    EXPECT_EQ(parse_queue(body, "C").value(), JobState::Unknown);
    EXPECT_EQ(parse_queue("{}", "A").error().code, Errc::Unavailable);
}

TEST(Answers, pythons_nan_is_read_but_stays_text_inside_strings) {
    const auto value =
        parse_answer(R"({"a": NaN, "b": -Infinity, "c": "NaN \" Infinity"})", "x").value();
    EXPECT_TRUE(find(value, "a")->is_null());
    EXPECT_TRUE(find(value, "b")->is_null());
    EXPECT_EQ(find_string(value, "c"), "NaN \" Infinity");
}

TEST(Answers, recorded_system_stats_are_read) {
    const auto text =
        read_text_file(std::string(PLIMSOLL_TEST_DATA) + "/service/system_stats.json", 10'000)
            .value();
    const ServerStats stats = parse_system_stats(text).value();
    EXPECT_EQ(stats.comfyui_version, "0.3.64");
    EXPECT_FALSE(stats.argv.empty());
    ASSERT_EQ(stats.devices.size(), 1U);
    EXPECT_EQ(stats.devices[0].type, "cpu");
}

TEST(Answers, a_web_page_or_another_program_is_named_as_such) {
    EXPECT_THAT(parse_system_stats("<!DOCTYPE html><html>").error().message, HasSubstr("web page"));
    EXPECT_EQ(parse_system_stats("<html>").error().code, Errc::Unavailable);
    EXPECT_THAT(parse_system_stats("").error().message, HasSubstr("empty"));
    EXPECT_THAT(parse_system_stats(R"({"hello": 1})").error().message, HasSubstr("no ComfyUI"));
}

TEST(Answers, both_spellings_of_a_combo_are_read) {
    const std::string old_way =
        R"({"L": {"input": {"required": {"ckpt_name": [["a.safetensors", "b.ckpt"], {}]}}}})";
    const std::string new_way =
        R"({"L": {"input": {"optional": {"ckpt_name": ["COMBO", {"options": ["a.safetensors", "b.ckpt"]}]}}}})";
    const std::vector<std::string> expected{"a.safetensors", "b.ckpt"};
    EXPECT_EQ(parse_choices(old_way, "L", "ckpt_name").value(), expected);
    EXPECT_EQ(parse_choices(new_way, "L", "ckpt_name").value(), expected);
    EXPECT_EQ(parse_choices("{}", "L", "ckpt_name").error().code, Errc::NotFound);
}

TEST(Answers, every_recorded_refusal_becomes_one_error_with_its_reasons) {
    const auto lines = transcript("validation_failures");
    int refusals = 0;
    for (const json::value& line : lines) {
        if (find_string(line, "kind") != "http_response" || find_int(line, "status") != 400)
            continue;
        ++refusals;
        const Error error = parse_refusal(400, body_of(line));
        EXPECT_EQ(error.code, Errc::InvalidInput) << error.message;
        EXPECT_THAT(error.message, HasSubstr("ComfyUI refused the workflow (400): "));
        EXPECT_THAT(error.message, Not(HasSubstr("no reason given")));
    }
    EXPECT_GT(refusals, 5);
    EXPECT_EQ(parse_refusal(500, "500 Internal Server Error").code, Errc::Unavailable);
}

TEST(OutOfMemory, all_wordings_of_torch_and_its_back_ends_are_known) {
    EXPECT_TRUE(is_out_of_memory("torch.OutOfMemoryError", "Allocation on device "));
    EXPECT_TRUE(is_out_of_memory("torch.cuda.OutOfMemoryError", "x"));
    EXPECT_TRUE(is_out_of_memory("torch.AcceleratorError", "CUDA error: out of memory"));
    EXPECT_TRUE(is_out_of_memory(
        "RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"));
    EXPECT_TRUE(
        is_out_of_memory("RuntimeError", "MPS backend out of memory (MPS allocated: 9 GB)"));
    EXPECT_TRUE(
        is_out_of_memory("RuntimeError", "DefaultCPUAllocator: not enough memory: you tried"));
    EXPECT_FALSE(is_out_of_memory("ValueError", "the size of tensor a must match"));
}

}  // namespace
}  // namespace plimsoll::service
