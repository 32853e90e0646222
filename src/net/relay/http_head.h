// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 heads as a relay needs them: found in a buffer, checked strictly, and written anew with
// every line that is not about the connection byte for byte as it came. Where two readers could
// disagree about where a message ends (both lengths, folded lines, bare line feeds, spaces before a
// colon...) the head is refused. Input is untrusted. Pure.
//
// Enters through: bytes.   Leaves through: RequestView, ResponseView (views into those bytes).
// Threads: no shared state.
#pragma once
#include "net/http_message.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::net {

struct FieldView {
    std::string_view name;
    std::string_view value;  // without the white space around it
    std::string_view line;   // the whole line, its CRLF included
};

// How a message says where its body ends.
enum class Framing : std::uint8_t { None, Length, Chunked, UntilClose };

struct HeadLimits {
    std::size_t bytes_max = 64U << 10U;  // chosen: eight times aiohttp's longest line
    std::size_t fields_max = 512;        // chosen: browsers send about 20
};

// Why a head is refused: the status that says so, and a text without anything of the client's.
struct HeadFault {
    int status = 400;
    std::string_view why;
};

struct HeadView {
    int version_minor = 1;
    std::vector<FieldView> fields;
    // The options of all Connection fields: "close", "upgrade", names of fields that end here.
    std::vector<std::string_view> connection;
    Framing framing = Framing::None;
    std::uint64_t length = 0;  // of Framing::Length
    bool keep_alive = true;    // what version and Connection say

    [[nodiscard]] std::string_view value(std::string_view name) const;  // the first, or empty
    [[nodiscard]] bool has(std::string_view name) const;
    [[nodiscard]] bool has_option(std::string_view option) const;
};
struct RequestView : HeadView {
    std::string_view method;
    std::string_view target;
    bool expects_100 = false;
    bool websocket = false;  // asks to become one
};
struct ResponseView : HeadView {
    int status = 0;
    std::string_view reason;
};

// One head in a growing buffer. Incomplete: call again with more bytes of the same buffer.
enum class HeadState : std::uint8_t { Incomplete, Complete, Faulty };
struct HeadResult {
    HeadState state = HeadState::Incomplete;
    std::size_t bytes = 0;  // of the head with its blank line, when complete
    HeadFault fault{};      // when faulty
};
// `out` is reused: its vectors keep their room. Up to two empty lines before a request are skipped.
[[nodiscard]] HeadResult parse_request(std::string_view buffer, const HeadLimits& limits,
                                       RequestView& out);
// `to_head`: the answer to HEAD, which has no body whatever it says.
[[nodiscard]] HeadResult parse_response(std::string_view buffer, const HeadLimits& limits,
                                        bool to_head, ResponseView& out);

// Does the field concern one connection only (RFC 9110, section 7.6.1)? Transfer-Encoding does not
// count: chunks are passed on as they are.
[[nodiscard]] bool is_hop_field(const HeadView& head, const FieldView& field);

struct RequestRewrite {
    bool upgrade = false;      // keep Upgrade and Connection; offer no WebSocket extensions
    bool close = false;        // the server is to close the connection afterwards
    bool drop_expect = false;  // the body is at hand already
    bool identity = false;     // the answer must not be packed: an Accept-Encoding says so
    bool new_length = false;   // the body was read whole: Content-Length is `length`
    std::uint64_t length = 0;
};
void append_request_head(std::string& out, const RequestView& request,
                         const RequestRewrite& rewrite);

struct ResponseRewrite {
    bool close = false;            // the client's connection ends with this answer
    bool upgrade = false;          // 101: Upgrade and Connection pass, extensions do not
    const Headers* add = nullptr;  // fields of our own
};
void append_response_head(std::string& out, const ResponseView& response, std::string_view start,
                          const ResponseRewrite& rewrite);
// The start line of the response in the buffer that it was parsed from, CRLF included.
[[nodiscard]] std::string_view start_line(std::string_view buffer);

}  // namespace plimsoll::net
