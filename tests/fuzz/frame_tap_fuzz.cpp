// SPDX-License-Identifier: Apache-2.0
// A WebSocket's bytes, cut anywhere: they pass as they came, and what is heard does not depend on
// the cuts.
#include "base/check.h"
#include "net/relay/frame_tap.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace plimsoll;

namespace {

struct Passed {
    std::string bytes;
    std::string heard;
};

// In pieces of `size` bytes; texts that begin with 'x' are exchanged for `text`, where given.
Passed pass(std::string_view stream, std::size_t size, const char* text) {
    Passed out;
    net::FrameTap::Listener listener;
    listener.message_bytes_max = 1000;
    listener.message = [&](bool binary, bool whole, std::string_view bytes) {
        out.heard += binary ? 'b' : 't';
        out.heard += whole ? ':' : '!';
        out.heard += bytes;
    };
    listener.control = [&](unsigned opcode, std::string_view payload) {
        out.heard += static_cast<char>('0' + opcode % 10);
        out.heard += payload;
    };
    listener.rewrites = [text] { return text != nullptr; };
    listener.rewrite = [text](std::string_view one) -> std::optional<std::string> {
        if (!one.starts_with('x')) return std::nullopt;
        return text;
    };
    net::FrameTap tap(std::move(listener));
    std::string room;
    for (std::size_t at = 0; at < stream.size(); at += size)
        out.bytes += tap.feed(stream.substr(at, size), room);
    out.bytes += tap.take_rest();
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t cut = 1 + data[0] % 64U;
    const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    const Passed whole = pass(stream, stream.size() + 1, nullptr);
    const Passed cut_up = pass(stream, cut, nullptr);
    CHECK(whole.bytes == stream && cut_up.bytes == stream);
    CHECK(whole.heard == cut_up.heard);
    const Passed exchanged = pass(stream, stream.size() + 1, "a longer text");
    const Passed exchanged_cut = pass(stream, cut, "a longer text");
    CHECK(exchanged.bytes == exchanged_cut.bytes && exchanged.heard == exchanged_cut.heard);
    return 0;
}
