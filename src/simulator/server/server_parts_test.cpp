// SPDX-License-Identifier: Apache-2.0
//
// Goal: forms, origins and compressed bodies from anybody are read or refused, never more. Method:
// well-formed and hostile inputs.
#include "simulator/launch_flags.h"
#include "simulator/nodes/tiles.h"
#include "simulator/prompt/execution_list.h"
#include "simulator/prompt/prompt_queue.h"
#include "simulator/server/inflate.h"
#include "simulator/server/multipart.h"
#include "simulator/server/origin.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace plimsoll::simulator {
namespace {

TEST(Form, parts_files_and_quoted_names_are_told_apart) {
    const std::string body =
        "--B\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\ninput\r\n"
        "--B\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a\\\"b.png\"\r\n"
        "Content-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n";
    const auto parts = parse_form("multipart/form-data; boundary=B", body).value();
    ASSERT_EQ(parts.size(), 2U);
    EXPECT_EQ(parts[0].body, "input");
    EXPECT_FALSE(parts[0].filename);
    EXPECT_EQ(parts[1].filename, "a\"b.png");
}

TEST(Form, broken_framing_is_corrupt_and_other_types_have_no_parts) {
    for (const auto* const bad : {"", "--B", "--B\r\nno head", "--B\r\nA: b\r\n\r\nno end", "--Bx"})
        EXPECT_EQ(parse_form("multipart/form-data; boundary=B", bad).error().code, Errc::Corrupt)
            << bad;
    EXPECT_FALSE(parse_form("multipart/form-data", "--B--"));
    EXPECT_TRUE(parse_form("application/json", "{}")->empty());
    EXPECT_EQ(parse_form("application/x-www-form-urlencoded", "a=b+c")->front().body, "b c");
}

TEST(Inflate, a_bomb_stops_at_the_limit) {
    const std::string zeros(8'000'000, '\0');
    std::string packed(compressBound(zeros.size()), '\0');
    uLongf size = packed.size();
    compress(reinterpret_cast<Bytef*>(packed.data()), &size,
             reinterpret_cast<const Bytef*>(zeros.data()), zeros.size());
    packed.resize(size);
    EXPECT_EQ(inflate_body(packed, "deflate", 1000).error().code, Errc::LimitExceeded);
    EXPECT_EQ(inflate_body(packed, "deflate", 20'000'000)->size(), zeros.size());
    EXPECT_EQ(inflate_body("not gzip", "gzip", 1000).error().code, Errc::Corrupt);
    EXPECT_EQ(inflate_body("", "br", 1000).error().code, Errc::InvalidInput);
}

TEST(Origin, on_a_loopback_host_both_must_agree) {
    const auto allowed = [](const char* host, const char* origin) {
        net::RequestHead head;
        head.headers = {{"Host", host}, {"Origin", origin}};
        return origin_allowed(head);
    };
    EXPECT_TRUE(allowed("127.0.0.1:8188", "http://127.0.0.1:8188"));
    EXPECT_TRUE(allowed("127.0.0.1:8188", "http://127.0.0.1"));
    EXPECT_TRUE(allowed("127.0.0.1:8188", "null"));
    EXPECT_TRUE(allowed("my.lan", "http://evil.example"));
    EXPECT_FALSE(allowed("127.0.0.1:8188", "http://localhost:8188"));
    EXPECT_FALSE(allowed("localhost:8188", "http://evil.example"));
    EXPECT_FALSE(allowed("[::1]:8188", "http://[::1]:1"));
}

TEST(PromptQueue, gives_the_smallest_number_first_and_shows_the_heap_as_it_is) {
    PromptQueue queue;
    const auto put = [&](Value number, const char* id) {
        queue.put({.number = std::move(number),
                   .id = id,
                   .prompt = Dict{},
                   .extra_data = {},
                   .outputs = {}});
    };
    put(12, "plain");
    put(7.0, "seven");
    put(-13, "front");
    put(-2.5, "minus");
    EXPECT_EQ(queue.remaining(), 4U);
    queue.remove("seven");
    queue.remove("unknown");
    EXPECT_EQ(queue.take()->id, "front");
    EXPECT_EQ(queue.running_id(), "front");
    EXPECT_EQ(queue.take()->id, "minus");
    EXPECT_EQ(queue.take()->id, "plain");
}

TEST(PromptQueue, obeys_flags_that_found_it_idle_before_what_is_put_after_them) {
    PromptQueue queue;
    const auto put = [&](const char* id) {
        queue.put({.number = 1, .id = id, .prompt = Dict{}, .extra_data = {}, .outputs = {}});
    };
    queue.set_flags({.free_memory = true});
    put("late");
    EXPECT_FALSE(queue.take());
    EXPECT_TRUE(queue.take_flags().free_memory);

    queue.set_flags({.unload_models = true});  // "late" waits: it goes first
    EXPECT_EQ(queue.take()->id, "late");
    EXPECT_TRUE(queue.take_flags().unload_models);
}

TEST(ExecutionList, runs_the_default_graph_in_the_recorded_order) {
    const Value prompt =
        parse_python_json(
            R"({"3":{"inputs":{"model":["4",0],"positive":["6",0],"negative":["7",0],"latent":["5",0]}},
            "4":{"inputs":{}},"5":{"inputs":{}},"6":{"inputs":{"clip":["4",1]}},
            "7":{"inputs":{"clip":["4",1]}},"8":{"inputs":{"samples":["3",0],"vae":["4",2]}},
            "9":{"inputs":{"images":["8",0]}}})")
            .value();
    ExecutionList list(
        *prompt.as_dict(), [](const auto&) { return false; },
        [](const auto& id) { return id == "9"; });
    list.add("9");
    std::string order;
    while (const auto id = list.pick()) {
        order += *id;
        list.complete(*id);
    }
    EXPECT_EQ(order, "4576389");
    EXPECT_TRUE(list.empty());
}

TEST(Tiles, are_counted_as_recorded) {
    // 128 x 128 pixels in tiles of 64 with overlap 16: three passes, 23 steps.
    EXPECT_EQ(count_tiles(16, 16, {4, 16, 2}) + count_tiles(16, 16, {16, 4, 2}) +
                  count_tiles(16, 16, {8, 8, 2}),
              23);
    EXPECT_EQ(count_tiles(10, 10, {64, 64, 16}), 1);
}

TEST(LaunchFlags, act_are_shown_or_are_refused) {
    const auto flags =
        parse_launch_flags(" --lowvram --reserve-vram 0.8  --listen --port 1 --fast");
    ASSERT_TRUE(flags) << flags.error().message;
    EXPECT_EQ(flags->vram_state, VramState::LowVram);
    EXPECT_EQ(flags->reserve_vram_gib, 0.8);
    EXPECT_EQ(flags->argv.size(), 7U);
    for (const auto* const bad : {"--nope", "--reserve-vram", "--reserve-vram -1",
                                  "--max-upload-size x", "--preview-method fast", "stray"})
        EXPECT_EQ(parse_launch_flags(bad).error().code, Errc::InvalidInput) << bad;
}

}  // namespace
}  // namespace plimsoll::simulator
