// SPDX-License-Identifier: Apache-2.0
//
// Goal: what ComfyClient sends is what ComfyUI expects, and a job goes through it from submission
// to picture. Method: a scripted server that answers with ComfyUI's own words.
#include "service/comfyui/client.h"

#include "net/scripted_server.h"
#include "service/comfyui/follow.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

namespace plimsoll::service {
namespace {

using net::ScriptedServer;
using testing::HasSubstr;

constexpr const char* kPrompt = "11111111-2222-4333-8444-555555555555";

std::unique_ptr<ComfyClient> client_of(const ScriptedServer& server) {
    Config config;
    config.server_url.value = "http://127.0.0.1";
    config.port.value = server.port();
    return std::move(*ComfyClient::create(config));
}

ScriptedServer::Reply reply_with(std::string body, int status = 200) {
    ScriptedServer::Reply reply;
    reply.status = status;
    reply.body = std::move(body);
    return reply;
}

// A ComfyUI that has done the job the moment it is asked.
ScriptedServer::Reply finished_server(const ScriptedServer::Request& request) {
    if (request.target == "/prompt")
        return reply_with(
            fmt::format(R"({{"prompt_id": "{}", "number": 3, "node_errors": {{}}}})", kPrompt));
    if (request.target == "/queue")
        return reply_with(R"({"queue_running": [], "queue_pending": []})");
    if (request.target.starts_with("/history/"))
        return reply_with(fmt::format(
            R"({{"{}": {{"outputs": {{"9": {{"images": [{{"filename": "a b.png", "subfolder": "", "type": "output"}}]}}}},)"
            R"( "status": {{"status_str": "success", "completed": true, "messages": []}}}}}})",
            kPrompt));
    if (request.target.starts_with("/view?")) return reply_with("PNG bytes");
    if (request.target == "/system_stats")
        return reply_with(
            R"({"system": {"comfyui_version": "0.3.64", "argv": ["main.py"]}, "devices": [{"name": "cuda:0 X", "type": "cuda",)"
            R"( "vram_total": 100, "vram_free": 40, "torch_vram_total": 50, "torch_vram_free": 10}]})");
    return reply_with("", 404);
}

ScriptedServer::SocketScript socket_of(const std::vector<std::string>& texts, bool drop) {
    ScriptedServer::SocketScript script;
    for (const std::string& text : texts) script.frames.push_back({text, false});
    script.drop = drop;
    return script;
}

std::string message(const std::string& type, const std::string& rest) {
    return fmt::format(R"({{"type": "{}", "data": {{{}"prompt_id": "{}"}}}})", type, rest, kPrompt);
}

TEST(ComfyClient, a_job_goes_from_submission_to_picture) {
    const ScriptedServer server(finished_server, [](const std::string&) {
        return socket_of({message("execution_start", ""), message("executing", R"("node": "3", )"),
                          message("progress", R"("node": "3", "value": 5, "max": 20, )"),
                          message("executing", R"("node": null, )")},
                         false);
    });
    const auto client = client_of(server);
    const auto report = run_job(*client, R"({"3": {"seed": 18446744073709551615, "cfg": 5.0}})",
                                kPrompt, "CLIENT", system_clock(), {});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->end, JobEnd::Succeeded);
    ASSERT_EQ(report->images.size(), 1U);
    EXPECT_EQ(client->download(report->images[0]).value(), "PNG bytes");
    EXPECT_EQ(report->allocated_peak, Bytes(40));
    const auto requests = server.requests();
    EXPECT_EQ(requests.front().target, "/ws?clientId=CLIENT");  // listens before it submits
    const auto submitted = std::ranges::find(requests, "/prompt", &ScriptedServer::Request::target);
    ASSERT_NE(submitted, requests.end());
    EXPECT_THAT(submitted->body,
                HasSubstr(R"("prompt": {"3": {"seed": 18446744073709551615, "cfg": 5.0}})"));
    EXPECT_THAT(requests.back().target, HasSubstr("filename=a%20b.png&subfolder=&type=output"));
}

TEST(ComfyClient, a_dropped_websocket_is_replaced_and_the_job_ends_well) {
    std::atomic<int> connections = 0;
    const ScriptedServer server(
        [&](const auto& request) {
            if (request.target == "/queue" && connections < 2)
                return reply_with(fmt::format(
                    R"({{"queue_running": [[0, "{}", {{}}, {{}}, []]], "queue_pending": []}})",
                    kPrompt));
            return finished_server(request);
        },
        [&](const std::string&) {
            return socket_of({message("execution_start", "")}, ++connections < 2);
        });
    const auto client = client_of(server);
    const auto report = run_job(*client, "{}", kPrompt, "CLIENT", system_clock(), {});
    ASSERT_TRUE(report);
    EXPECT_EQ(report->end, JobEnd::Succeeded);
    EXPECT_GE(report->reconnects, 1);
}

TEST(ComfyClient, errors_say_what_answered_and_the_way_out) {
    const ScriptedServer html(
        [](const auto&) { return reply_with("<html><body>Router login</body></html>"); });
    EXPECT_THAT(client_of(html)->read_stats().error().message, HasSubstr("web page"));
    const ScriptedServer broken(
        [](const auto&) { return reply_with("500 Internal Server Error", 500); });
    EXPECT_EQ(client_of(broken)->read_stats().error().code, Errc::Unavailable);
    Config nobody;
    nobody.server_url.value = "http://127.0.0.1";
    {
        const ScriptedServer gone(finished_server);
        nobody.port.value = gone.port();
    }
    const auto stats = (*ComfyClient::create(nobody))->read_stats();
    EXPECT_EQ(stats.error().code, Errc::Unavailable);
    EXPECT_THAT(
        stats.error().message,
        HasSubstr("is ComfyUI running? its address is COMFYUI_SERVER_URL and COMFYUI_PORT"));
}

TEST(ComfyClient, a_refused_workflow_says_why) {
    const ScriptedServer server([](const auto&) {
        return reply_with(
            R"({"error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": ""},)"
            R"( "node_errors": {"4": {"errors": [{"type": "value_not_in_list", "message": "Value not in list", "details": "ckpt_name: 'x' not in ['y']"}],)"
            R"( "dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"}}})",
            400);
    });
    const auto refused = client_of(server)->submit("{}", kPrompt, "C");
    EXPECT_EQ(refused.error().code, Errc::InvalidInput);
    EXPECT_THAT(
        refused.error().message,
        HasSubstr(
            "node 4 (CheckpointLoaderSimple): Value not in list: ckpt_name: 'x' not in ['y']"));
}

TEST(ComfyClient, cancel_names_the_prompt_so_that_no_other_is_touched) {
    const ScriptedServer server([](const auto&) { return reply_with(""); });
    ASSERT_TRUE(client_of(server)->cancel(kPrompt));
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_EQ(requests[0].body, fmt::format(R"({{"delete": ["{}"]}})", kPrompt));
    EXPECT_EQ(requests[1].body, fmt::format(R"({{"prompt_id": "{}"}})", kPrompt));
}

TEST(ComfyClient, pieces_of_a_file_come_with_its_size_and_age) {
    const ScriptedServer server([](const auto& request) {
        ScriptedServer::Reply reply;
        if (request.target.contains("ranged"))
            reply.raw =
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\n"
                "Date: Mon, 23 Nov 2026 08:51:13 GMT\r\n"
                "Last-Modified: Mon, 23 Nov 2026 08:51:03 GMT\r\nContent-Length: 3\r\n\r\ncde";
        else if (request.target.contains("whole"))
            reply.body = "abcdefghij";  // a proxy that takes no ranges
        else if (request.target.contains("odd"))
            reply.raw = "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\ncde";
        else if (request.target == "/internal/files/output")
            reply.body = R"(["b.png", 7, "a.png"])";
        else
            reply.status = request.target.contains("short") ? 416 : 404;
        return reply;
    });
    const auto client = client_of(server);
    const auto read = [&](const char* name) {
        return client->read_piece({.filename = name, .subfolder = "a b", .type = "output"}, 2, 3);
    };
    const auto ranged = read("ranged").value();
    EXPECT_EQ(ranged.bytes, "cde");
    EXPECT_EQ(ranged.whole_bytes, 10U);
    EXPECT_EQ(ranged.age_ms, 10'000);
    EXPECT_THAT(server.requests().front().target,
                HasSubstr("/view?filename=ranged&subfolder=a%20b&type=output"));
    const auto whole = read("whole").value();
    EXPECT_EQ(whole.bytes, "cde");
    EXPECT_EQ(whole.whole_bytes, 10U);
    EXPECT_EQ(whole.age_ms, std::nullopt);
    EXPECT_EQ(read("odd").error().code, Errc::Unavailable);
    EXPECT_EQ(read("short").error().code, Errc::NotFound);
    EXPECT_EQ(read("missing").error().code, Errc::NotFound);
    EXPECT_EQ(client->list_output_files().value(), (std::vector<std::string>{"b.png", "a.png"}));
}

}  // namespace
}  // namespace plimsoll::service
