// SPDX-License-Identifier: Apache-2.0
// Goal: heads pass as they came, but for what concerns one connection; heads that two readers could
// read differently are refused. Method: heads as bytes.
#include "net/relay/http_head.h"

#include <gtest/gtest.h>

namespace plimsoll::net {
namespace {

HeadFault fault_of(std::string_view bytes) {
    RequestView view;
    const HeadResult result = parse_request(bytes, {}, view);
    return result.state == HeadState::Faulty ? result.fault : HeadFault{0, "none"};
}

std::string rewritten(std::string_view bytes, const RequestRewrite& rewrite = {}) {
    RequestView view;
    if (parse_request(bytes, {}, view).state != HeadState::Complete) return "<refused>";
    std::string out;
    append_request_head(out, view, rewrite);
    return out;
}

TEST(RequestHead, passes_byte_for_byte) {
    const std::string head =
        "POST /userdata/a%2Fb?x=;90&y=%5B+ HTTP/1.1\r\nhOsT: localhost:8189\r\nOrigin:null\r\n"
        "X-Odd:  two  spaces \t\r\nX-Odd: again\r\nX-Bytes: \xff\xfe\r\nContent-Length: 5\r\n\r\n";
    EXPECT_EQ(rewritten(head), head);
    RequestView view;
    const std::string more = head + "12345GET";
    const HeadResult result = parse_request(more, {}, view);
    EXPECT_EQ(result.bytes, head.size());
    EXPECT_EQ(view.method, "POST");
    EXPECT_EQ(view.target, "/userdata/a%2Fb?x=;90&y=%5B+");
    EXPECT_EQ(view.framing, Framing::Length);
    EXPECT_EQ(view.length, 5);
    EXPECT_EQ(view.value("x-odd"), "two  spaces");
}

TEST(RequestHead, drops_what_concerns_the_connection_only) {
    EXPECT_EQ(rewritten("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Own\r\n"
                        "Keep-Alive: timeout=5\r\nTE: trailers\r\nX-Own: 1\r\nUpgrade: h2c\r\n"
                        "Proxy-Connection: x\r\nProxy-Authorization: y\r\nAccept: */*\r\n\r\n"),
              "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
    // What frames the body stays, whatever Connection claims.
    EXPECT_EQ(rewritten("POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\n"
                        "Content-Length: 3\r\n\r\n"),
              "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
}

TEST(RequestHead, keeps_an_upgrade_without_its_extensions) {
    const std::string head =
        "GET /ws?clientId=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
        "websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: k\r\n\r\n";
    RequestView view;
    ASSERT_EQ(parse_request(head, {}, view).state, HeadState::Complete);
    EXPECT_TRUE(view.websocket);
    EXPECT_EQ(rewritten(head, {.upgrade = true}),
              "GET /ws?clientId=1 HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n"
              "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST(RequestHead, rewrites_only_what_it_is_told) {
    EXPECT_EQ(rewritten("POST /prompt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                        "Transfer-Encoding: chunked\r\nAccept-Encoding: gzip\r\n\r\n",
                        {.drop_expect = true, .identity = true, .new_length = true, .length = 7}),
              "POST /prompt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: identity\r\n"
              "Content-Length: 7\r\n\r\n");
}

TEST(RequestHead, refuses_what_two_readers_could_read_differently) {
    const std::string begin = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (const char* const lines : {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                    "Content-Length: 5\r\nContent-Length: 6\r\n",
                                    "Content-Length: 5\r\nContent-Length: 5\r\n",
                                    "Content-Length: 5, 5\r\n",
                                    "Content-Length: +5\r\n",
                                    "Content-Length: -1\r\n",
                                    "Content-Length: 0x5\r\n",
                                    "Content-Length: \r\n",
                                    "Content-Length: 5 5\r\n",
                                    "Content-Length: 99999999999999999999\r\n",
                                    "Transfer-Encoding: gzip, chunked\r\n",
                                    "Transfer-Encoding: xchunked\r\n",
                                    "Transfer-Encoding:\r\n",
                                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                    "Transfer-Encoding : chunked\r\n",
                                    "Content-Length : 5\r\n",
                                    " folded: 1\r\n",
                                    "X: 1\r\n folded\r\n",
                                    "X: 1\r\n\tfolded\r\n",
                                    "X\r\n",
                                    ": x\r\n",
                                    "X Y: 1\r\n",
                                    "X: a\nY: b\r\n",
                                    "X: a\rY: b\r\n",
                                    "X: a\x01\r\n",
                                    "Host: b\r\n",
                                    "X\xff: 1\r\n"})
        EXPECT_EQ(fault_of(begin + lines + "\r\n").status, 400) << lines;
    const std::string nul("X: a\0b\r\n", 8);
    EXPECT_EQ(fault_of(begin + nul + "\r\n").status, 400);
    EXPECT_EQ(fault_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status, 400);
}

TEST(RequestHead, refuses_broken_request_lines) {
    for (const char* const line :
         {"GET /", "GET  / HTTP/1.1", "GET /a b HTTP/1.1", " GET / HTTP/1.1", "G(T / HTTP/1.1", "",
          "GET /\x01 HTTP/1.1", "GET /\t HTTP/1.1"})
        EXPECT_EQ(fault_of(std::string(line) + "\r\nHost: a\r\n\r\n").status, 400) << line;
    for (const char* const version : {"HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1x", "HTTP/11"})
        EXPECT_EQ(fault_of("GET / " + std::string(version) + "\r\n\r\n").status, 505) << version;
}

TEST(RequestHead, has_limits) {
    std::string many = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 10'000; ++i) many += "a:b\r\n";
    EXPECT_EQ(fault_of(many + "\r\n").status, 431);
    EXPECT_EQ(fault_of("GET /" + std::string(70'000, 'a')).status, 431);  // no end in sight
    EXPECT_EQ(fault_of("GET /" + std::string(60'000, 'a') + " HTTP/1.1\r\n\r\n").status, 0);
}

TEST(RequestHead, is_complete_only_at_its_blank_line) {
    const std::string head = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    RequestView view;
    for (std::size_t n = 0; n < head.size(); ++n)
        EXPECT_EQ(parse_request(head.substr(0, n), {}, view).state, HeadState::Incomplete) << n;
    EXPECT_EQ(parse_request(head, {}, view).bytes, head.size());
}

TEST(RequestHead, says_whether_the_connection_stays) {
    const auto stays = [](const std::string& bytes) {
        RequestView view;
        EXPECT_EQ(parse_request(bytes, {}, view).state, HeadState::Complete);
        return view.keep_alive;
    };
    EXPECT_TRUE(stays("GET / HTTP/1.1\r\n\r\n"));
    EXPECT_FALSE(stays("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"));
    EXPECT_FALSE(stays("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_TRUE(stays("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

Framing framing_of(const std::string& bytes, bool to_head = false) {
    ResponseView view;
    const HeadResult result = parse_response(bytes, {}, to_head, view);
    EXPECT_EQ(result.state, HeadState::Complete) << bytes;
    return view.framing;
}

TEST(ResponseHead, knows_where_its_body_ends) {
    EXPECT_EQ(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Framing::Length);
    EXPECT_EQ(framing_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
              Framing::Chunked);
    EXPECT_EQ(framing_of("HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilClose);
    for (const char* const status : {"100 Continue", "103 x", "204 No Content", "304 Not Modified"})
        EXPECT_EQ(framing_of("HTTP/1.1 " + std::string(status) + "\r\nContent-Length: 5\r\n\r\n"),
                  Framing::None)
            << status;
    EXPECT_EQ(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true), Framing::None);
}

TEST(ResponseHead, passes_byte_for_byte_but_for_the_connection) {
    const std::string head =
        "HTTP/1.1 404 Not Found at all\r\nContent-Type: x\r\nConnection: close\r\nserver:Python\r\n"
        "Keep-Alive: 5\r\n\r\n";
    ResponseView view;
    ASSERT_EQ(parse_response(head, {}, false, view).state, HeadState::Complete);
    const Headers own = {{"X-Plimsoll", "1"}};
    std::string out;
    append_response_head(out, view, start_line(head), {.close = true, .add = &own});
    EXPECT_EQ(out,
              "HTTP/1.1 404 Not Found at all\r\nContent-Type: x\r\nserver:Python\r\nX-Plimsoll: "
              "1\r\nConnection: close\r\n\r\n");
}

TEST(ResponseHead, refuses_what_is_none) {
    ResponseView view;
    for (const char* const bytes :
         {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
          "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/2 200\r\n\r\n"})
        EXPECT_EQ(parse_response(bytes, {}, false, view).state, HeadState::Faulty) << bytes;
}

}  // namespace
}  // namespace plimsoll::net
