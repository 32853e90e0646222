// SPDX-License-Identifier: Apache-2.0
// Goal: the end of a body is found wherever its bytes are cut, and framing that readers could read
// differently is a fault. Method: each body in every possible pair of pieces.
#include "net/relay/body_scanner.h"

#include <gtest/gtest.h>

namespace plimsoll::net {
namespace {

struct Scanned {
    std::size_t bytes = 0;
    bool done = false;
    bool faulty = false;
    std::string content;
    bool operator==(const Scanned&) const = default;
};

Scanned scan(std::string_view bytes, std::size_t cut, Framing framing, std::uint64_t length = 0,
             ChunkExtensions extensions = ChunkExtensions::Refuse) {
    BodyScanner scanner;
    scanner.start(framing, length, extensions);
    Scanned out;
    out.bytes = scanner.feed(bytes.substr(0, cut), &out.content);
    if (out.bytes == cut) out.bytes += scanner.feed(bytes.substr(cut), &out.content);
    out.done = scanner.done();
    out.faulty = scanner.is_faulty();
    return out;
}

TEST(BodyScanner, ends_by_length_and_leaves_what_follows) {
    for (std::size_t cut = 0; cut <= 8; ++cut)
        EXPECT_EQ(scan("12345GET", cut, Framing::Length, 5), (Scanned{5, true, false, "12345"}));
    EXPECT_TRUE(scan("", 0, Framing::Length, 0).done);
    EXPECT_TRUE(scan("x", 0, Framing::None).done);
    EXPECT_FALSE(scan("1234", 2, Framing::Length, 5).done);
}

TEST(BodyScanner, ends_after_the_last_chunk_and_its_trailers) {
    const std::string body = "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n";
    for (std::size_t cut = 0; cut <= body.size() + 3; ++cut)
        EXPECT_EQ(scan(body + "GET", cut, Framing::Chunked),
                  (Scanned{body.size(), true, false, "abc0123456789"}))
            << cut;
}

TEST(BodyScanner, takes_a_servers_extensions_and_refuses_a_clients) {
    const std::string body = "3;name=\"v\"\r\nabc\r\n0;x\r\n\r\n";
    for (std::size_t cut = 0; cut <= body.size(); ++cut) {
        EXPECT_EQ(scan(body, cut, Framing::Chunked, 0, ChunkExtensions::Pass).content, "abc");
        EXPECT_TRUE(scan(body, cut, Framing::Chunked).faulty);
    }
    EXPECT_TRUE(scan("3;a\nabc\r\n", 0, Framing::Chunked, 0, ChunkExtensions::Pass).faulty);
    EXPECT_TRUE(
        scan("3;" + std::string(5000, 'a'), 0, Framing::Chunked, 0, ChunkExtensions::Pass).faulty);
}

TEST(BodyScanner, refuses_broken_framing) {
    for (const char* const body :
         {"\r\nabc", "x\r\n", "-1\r\n", "0x3\r\n", " 3\r\nabc", "3 \r\nabc", "3\nabc",
          "3\r\nabcd\r\n", "3\r\nabc\n", "1000000000000000\r\n", "0\r\n folded: 1\r\n\r\n",
          "0\r\nX\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\n\n", "0\r\n: 1\r\n\r\n", "0\r\nX: 1\n\r\n"})
        EXPECT_TRUE(scan(body, 0, Framing::Chunked).faulty) << body;
    EXPECT_TRUE(scan("0\r\n" + std::string(20'000, 'a'), 0, Framing::Chunked).faulty);
}

TEST(BodyScanner, ends_with_the_connection_only_where_nothing_else_says) {
    BodyScanner scanner;
    scanner.start(Framing::UntilClose, 0, ChunkExtensions::Pass);
    EXPECT_EQ(scanner.feed("anything"), 8);
    EXPECT_FALSE(scanner.done());
    EXPECT_TRUE(scanner.end());
    scanner.start(Framing::Length, 3, ChunkExtensions::Pass);
    EXPECT_FALSE(scanner.end());
}

}  // namespace
}  // namespace plimsoll::net
