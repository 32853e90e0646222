// SPDX-License-Identifier: Apache-2.0
// Heads and bodies of both sides from any bytes: what is taken must come out again as a head that
// is taken, and a body must end at the same byte however it is cut.
#include "base/check.h"
#include "net/relay/body_scanner.h"
#include "net/relay/http_head.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace plimsoll;

namespace {

void scan_body(const net::HeadView& head, std::string_view bytes, net::ChunkExtensions extensions) {
    net::BodyScanner whole;
    whole.start(head.framing, head.length, extensions);
    std::string content;
    const std::size_t used = whole.feed(bytes, &content);
    CHECK(used <= bytes.size() && content.size() <= used);
    net::BodyScanner single;
    single.start(head.framing, head.length, extensions);
    std::size_t at = 0;
    while (at < bytes.size() && single.feed(bytes.substr(at, 1)) == 1) ++at;
    CHECK(at == used && single.done() == whole.done() && single.is_faulty() == whole.is_faulty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    net::RequestView request;
    const net::HeadResult result = net::parse_request(bytes, {}, request);
    if (result.state == net::HeadState::Complete) {
        std::string again;
        net::append_request_head(again, request, {});
        net::RequestView passed;
        const net::HeadResult second = net::parse_request(again, {}, passed);
        CHECK(second.state == net::HeadState::Complete && second.bytes == again.size());
        CHECK(passed.framing == request.framing && passed.length == request.length);
        CHECK(passed.target == request.target && passed.method == request.method);
        scan_body(request, bytes.substr(result.bytes), net::ChunkExtensions::Refuse);
    }
    net::ResponseView response;
    const net::HeadResult answer = net::parse_response(bytes, {}, false, response);
    if (answer.state == net::HeadState::Complete) {
        std::string again;
        net::append_response_head(again, response, net::start_line(bytes), {});
        net::ResponseView passed;
        CHECK(net::parse_response(again, {}, false, passed).state == net::HeadState::Complete);
        CHECK(passed.framing == response.framing && passed.status == response.status);
        scan_body(response, bytes.substr(answer.bytes), net::ChunkExtensions::Pass);
    }
    return 0;
}
