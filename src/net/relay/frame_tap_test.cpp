// SPDX-License-Identifier: Apache-2.0
// Goal: frames pass byte for byte wherever they are cut, are heard whole, and ours fall between two
// messages. Method: streams fed in every possible pair of pieces, and byte by byte.
#include "net/relay/frame_tap.h"

#include <gtest/gtest.h>

namespace plimsoll::net {
namespace {

struct Heard {
    std::vector<std::string> messages;  // "t:text", "b:bytes", "t!:cut"
    std::vector<std::string> controls;
};

FrameTap::Listener listener_of(Heard& heard, std::size_t bytes_max = 1 << 20) {
    return {.message =
                [&](bool binary, bool whole, std::string_view bytes) {
                    heard.messages.push_back(std::string(binary ? "b" : "t") +
                                             (whole ? ":" : "!:") + std::string(bytes));
                },
            .message_bytes_max = bytes_max,
            .control =
                [&](unsigned opcode, std::string_view payload) {
                    heard.controls.push_back(std::to_string(opcode) + ":" + std::string(payload));
                },
            .rewrites = {},
            .rewrite = {}};
}

std::string text(std::string_view payload) {
    return encode_frame(1, payload, Sender::Server);
}

std::string masked(unsigned first, std::string_view payload, std::string_view mask) {
    std::string frame(1, static_cast<char>(first));
    frame += static_cast<char>(0x80U | payload.size());
    frame += mask;
    for (std::size_t i = 0; i < payload.size(); ++i)
        frame += static_cast<char>(payload[i] ^ mask[i % 4]);
    return frame;
}

// The stream in pieces of `size` bytes.
std::string passed(FrameTap& tap, std::string_view stream, std::size_t size) {
    std::string out;
    std::string room;
    for (std::size_t at = 0; at < stream.size(); at += size)
        out += tap.feed(stream.substr(at, size), room);
    return out;
}

TEST(FrameTap, passes_and_hears_everything_in_order) {
    const std::string stream = text("{}") + encode_frame(2, std::string(300, 'x'), Sender::Server) +
                               encode_frame(9, "are you there", Sender::Server) +
                               encode_frame(2, std::string(70'000, 'y'), Sender::Server) +
                               text("") + masked(0x81, "masked", "\x01\x02\x03\x04") +
                               encode_frame(8, "\x03\xe8", Sender::Server);
    for (const std::size_t size : {1UL, 2UL, 3UL, 7UL, 1000UL, stream.size()}) {
        Heard heard;
        FrameTap tap(listener_of(heard));
        EXPECT_EQ(passed(tap, stream, size), stream);
        EXPECT_EQ(heard.messages,
                  (std::vector<std::string>{"t:{}", "b:" + std::string(300, 'x'),
                                            "b:" + std::string(70'000, 'y'), "t:", "t:masked"}));
        EXPECT_EQ(heard.controls, (std::vector<std::string>{"9:are you there", "8:\x03\xe8"}));
        EXPECT_TRUE(tap.is_at_gap());
    }
}

TEST(FrameTap, puts_fragments_together_with_a_ping_between_them) {
    const std::string stream = masked(0x01, "ab", "wxyz") + encode_frame(9, "p", Sender::Client) +
                               masked(0x00, "cd", "1234") + masked(0x80, "e", "abcd");
    for (std::size_t cut = 1; cut < stream.size(); ++cut) {
        Heard heard;
        FrameTap tap(listener_of(heard));
        EXPECT_EQ(passed(tap, stream, cut), stream);
        EXPECT_EQ(heard.messages, std::vector<std::string>{"t:abcde"});
        EXPECT_EQ(heard.controls, std::vector<std::string>{"9:p"});
    }
}

TEST(FrameTap, cuts_what_it_hears_and_never_what_passes) {
    Heard heard;
    FrameTap tap(listener_of(heard, 4));
    const std::string stream = text("123456") + text("12");
    EXPECT_EQ(passed(tap, stream, 3), stream);
    EXPECT_EQ(heard.messages, (std::vector<std::string>{"t!:1234", "t:12"}));
}

TEST(FrameTap, exchanges_a_short_text_wherever_it_is_cut) {
    const std::string stream = text("keep") + text("change") +
                               encode_frame(2, "change", Sender::Server) + text("change") +
                               text("last");
    const std::string wanted = text("keep") + text("CHANGED!") +
                               encode_frame(2, "change", Sender::Server) + text("CHANGED!") +
                               text("last");
    for (std::size_t size = 1; size <= stream.size(); ++size) {
        Heard heard;
        FrameTap::Listener listener = listener_of(heard);
        listener.rewrites = [] { return true; };
        listener.rewrite = [](std::string_view one) -> std::optional<std::string> {
            if (one != "change") return std::nullopt;
            return "CHANGED!";
        };
        FrameTap tap(std::move(listener));
        EXPECT_EQ(passed(tap, stream, size), wanted) << size;
        EXPECT_EQ(heard.messages.size(), 5);
        EXPECT_EQ(heard.messages[1], "t:CHANGED!");
    }
}

TEST(FrameTap, withholds_a_text_that_is_exchanged_for_nothing_and_still_hears_it) {
    const std::string secret = "secret" + std::string(300'000, 'x');
    const std::string stream = text("keep") + text(secret) + text("last");
    for (const std::size_t size : {std::size_t{700}, std::size_t{65'536}, stream.size()}) {
        Heard heard;
        FrameTap::Listener listener = listener_of(heard);
        listener.rewrites = [] { return true; };
        listener.rewrite = [](std::string_view one) -> std::optional<std::string> {
            if (!one.starts_with("secret")) return std::nullopt;
            return "";
        };
        FrameTap tap(std::move(listener));
        EXPECT_EQ(passed(tap, stream, size), text("keep") + text("last")) << size;
        ASSERT_EQ(heard.messages.size(), 3);
        EXPECT_EQ(heard.messages[1].size(), 2 + secret.size());
    }
}

TEST(FrameTap, puts_ours_between_messages_only) {
    const std::string ours = text("ours");
    const std::string first = std::string("\x01\x03one", 5);   // begins a fragmented message
    const std::string second = std::string("\x80\x03two", 5);  // ends it
    const std::string stream = first + second + text("next");
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        Heard heard;
        FrameTap tap(listener_of(heard));
        std::string room;
        std::string out(tap.feed(stream.substr(0, cut), room));
        out += tap.inject(ours);
        out += tap.feed(stream.substr(cut), room);
        EXPECT_TRUE(out == ours + stream || out == first + second + ours + text("next") ||
                    out == stream + ours)
            << cut;
    }
}

TEST(FrameTap, gives_up_on_what_is_no_websocket_and_still_passes_it) {
    for (const std::string& bad :
         {std::string("\x09\x01x", 3),                                  // fragmented ping
          std::string("\x89\x7e\x01\x00", 4),                           // long ping
          std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10),  // 2^64 - 1 bytes
          std::string("\xc1\x01x", 3)}) {                               // packed, not agreed upon
        for (const std::size_t size : {1UL, 100UL}) {
            Heard heard;
            FrameTap tap(listener_of(heard));
            const std::string stream = text("good") + bad + "anything at all";
            EXPECT_EQ(passed(tap, stream, size), stream);
            EXPECT_TRUE(tap.is_opaque());
            EXPECT_FALSE(tap.is_at_gap());
            EXPECT_EQ(tap.inject(text("ours")), "");
            EXPECT_EQ(heard.messages, std::vector<std::string>{"t:good"});
        }
    }
}

TEST(FrameTap, gives_back_what_it_held_when_the_stream_ends) {
    Heard heard;
    FrameTap tap(listener_of(heard));
    std::string room;
    EXPECT_EQ(tap.feed("\x81", room), "");
    EXPECT_EQ(tap.take_rest(), "\x81");
}

}  // namespace
}  // namespace plimsoll::net
