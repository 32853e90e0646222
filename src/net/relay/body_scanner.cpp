// SPDX-License-Identifier: Apache-2.0
#include "net/relay/body_scanner.h"

#include <algorithm>

namespace plimsoll::net {

namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_text(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7F) || c == '\t';
}

}  // namespace

void BodyScanner::start(Framing framing, std::uint64_t length, ChunkExtensions extensions) {
    framing_ = framing;
    extensions_ = extensions;
    left_ = framing == Framing::Length ? length : 0;
    digits_ = 0;
    line_bytes_ = 0;
    fault_ = {};
    switch (framing) {
        case Framing::None:
            state_ = State::Done;
            break;
        case Framing::Length:
            state_ = length == 0 ? State::Done : State::Data;
            break;
        case Framing::Chunked:
            state_ = State::Size;
            break;
        case Framing::UntilClose:
            state_ = State::Data;
            break;
    }
}

void BodyScanner::fail(std::string_view why) {
    state_ = State::Faulty;
    fault_ = why;
}

std::size_t BodyScanner::feed(std::string_view bytes, std::string* content) {
    if (framing_ == Framing::UntilClose) {
        if (content != nullptr) *content += bytes;
        return bytes.size();
    }
    std::size_t at = 0;
    while (at < bytes.size() && state_ != State::Done && state_ != State::Faulty) {
        if (state_ != State::Data) {
            step(bytes[at]);
            if (state_ == State::Faulty) return at;
            ++at;
            continue;
        }
        const std::size_t now =
            static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - at));
        if (content != nullptr) content->append(bytes, at, now);
        at += now;
        left_ -= now;
        if (left_ == 0) state_ = framing_ == Framing::Chunked ? State::DataCr : State::Done;
    }
    return at;
}

void BodyScanner::size_step(char c) {
    constexpr int kDigitsMax = 15;  // below 2^60: no sum of it overflows
    if (const int value = hex_value(c); value >= 0) {
        if (++digits_ > kDigitsMax) return fail("a chunk's size has too many digits");
        left_ = left_ << 4U | static_cast<unsigned>(value);
        return;
    }
    if (digits_ == 0) return fail("a chunk without a size");
    if (c == '\r') {
        state_ = State::SizeLf;
    } else if (extensions_ == ChunkExtensions::Pass && (c == ';' || c == ' ' || c == '\t')) {
        line_bytes_ = 0;
        state_ = State::Extension;
    } else {
        fail(c == ';' ? "chunk extensions are not passed on" : "a chunk's size is no number");
    }
}

void BodyScanner::trailer_step(char c) {
    if (++line_bytes_ > kTrailerBytesMax) return fail("the trailers are too large");
    if (state_ == State::TrailerStart && c == '\r') {
        state_ = State::EndLf;
    } else if (state_ == State::TrailerStart && (c == ' ' || c == '\t' || c == ':')) {
        fail("a folded or nameless trailer");
    } else if (c == '\r') {
        if (!named_) return fail("a trailer without a name");
        state_ = State::TrailerLf;
    } else if (!is_text(c)) {
        fail("a control character in a trailer");
    } else {
        if (state_ == State::TrailerStart) named_ = false;
        if (!named_ && (c == ' ' || c == '\t')) return fail("a space in a trailer's name");
        named_ = named_ || c == ':';
        state_ = State::Trailer;
    }
}

void BodyScanner::step(char c) {
    const auto expect = [&](char wanted, State next, std::string_view why) {
        if (c == wanted)
            state_ = next;
        else
            fail(why);
    };
    switch (state_) {
        case State::Size:
            return size_step(c);
        case State::Extension:
            if (++line_bytes_ > kExtensionBytesMax) return fail("a chunk's extension is too long");
            if (c == '\r')
                state_ = State::SizeLf;
            else if (!is_text(c))
                fail("a control character in a chunk's extension");
            return;
        case State::SizeLf:
            if (c != '\n') return fail("a chunk's size does not end with CRLF");
            digits_ = 0;
            line_bytes_ = 0;
            state_ = left_ == 0 ? State::TrailerStart : State::Data;
            return;
        case State::DataCr:
            return expect('\r', State::DataLf, "a chunk is longer than it says");
        case State::DataLf:
            return expect('\n', State::Size, "a chunk does not end with CRLF");
        case State::TrailerStart:
        case State::Trailer:
            return trailer_step(c);
        case State::TrailerLf:
            return expect('\n', State::TrailerStart, "a trailer does not end with CRLF");
        case State::EndLf:
            return expect('\n', State::Done, "the last chunk does not end with CRLF");
        case State::Data:
        case State::Done:
        case State::Faulty:
            return;
    }
}

}  // namespace plimsoll::net
