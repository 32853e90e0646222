// SPDX-License-Identifier: Apache-2.0
#include "net/relay/frame_tap.h"

#include <algorithm>
#include <utility>

namespace plimsoll::net {

namespace {

constexpr unsigned kText = 1;
constexpr unsigned kFirstControl = 8;
constexpr std::uint64_t kControlBytesMax = 125;

unsigned byte_at(std::string_view bytes, std::size_t at) {
    return static_cast<unsigned char>(bytes[at]);
}

}  // namespace

FrameState parse_frame(std::string_view bytes, Frame& out) {
    if (bytes.size() < 2) return FrameState::Incomplete;
    out.fin = (byte_at(bytes, 0) & 0x80U) != 0;
    out.reserved = (byte_at(bytes, 0) >> 4U) & 7U;
    out.opcode = byte_at(bytes, 0) & 0x0FU;
    out.masked = (byte_at(bytes, 1) & 0x80U) != 0;
    const unsigned short_length = byte_at(bytes, 1) & 0x7FU;
    const std::size_t length_bytes = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    out.head_bytes = 2 + length_bytes + (out.masked ? 4 : 0);
    // Refused before all of it is there: nobody waits for the rest of a broken head.
    if (out.opcode >= kFirstControl && (!out.fin || short_length > kControlBytesMax))
        return FrameState::Faulty;
    if (bytes.size() < out.head_bytes) return FrameState::Incomplete;
    out.length = short_length;
    if (length_bytes != 0) {
        out.length = 0;
        for (std::size_t i = 0; i < length_bytes; ++i)
            out.length = out.length << 8U | byte_at(bytes, 2 + i);
    }
    if (out.length >> 63U != 0) return FrameState::Faulty;
    if (out.masked)
        for (std::size_t i = 0; i < 4; ++i)
            out.mask[i] = static_cast<unsigned char>(byte_at(bytes, 2 + length_bytes + i));
    return FrameState::Complete;
}

std::string encode_frame(unsigned opcode, std::string_view payload, Sender sender) {
    std::string frame(1, static_cast<char>(0x80U | opcode));
    const unsigned mask = sender == Sender::Client ? 0x80U : 0;
    const auto put = [&](unsigned byte) { frame += static_cast<char>(byte); };
    if (payload.size() < 126) {
        put(mask | static_cast<unsigned>(payload.size()));
    } else if (payload.size() < 65536) {
        put(mask | 126U);
        put(static_cast<unsigned>(payload.size()) >> 8U);
        put(static_cast<unsigned>(payload.size()) & 0xFFU);
    } else {
        put(mask | 127U);
        for (unsigned shift = 64; shift > 0; shift -= 8)
            put(static_cast<unsigned>(std::uint64_t{payload.size()} >> (shift - 8)) & 0xFFU);
    }
    if (sender == Sender::Client) frame.append(4, '\0');
    return frame.append(payload);
}

// Where feed stands. What passes is [begin, at) of the bytes while nothing was exchanged; from then
// on it is collected in `room`.
struct FrameTap::Walk {
    std::string_view bytes;
    std::string& room;
    std::size_t at = 0;
    std::size_t begin = 0;
    bool in_room = false;

    void flush() {
        room.append(bytes, begin, at - begin);
        begin = at;
        in_room = true;
    }
};

std::string_view FrameTap::feed(std::string_view bytes, std::string& room) {
    if (opaque_) return bytes;
    room.clear();
    std::string joined;
    if (!held_.empty()) {
        joined = std::exchange(held_, {});
        joined += bytes;
        bytes = joined;
    }
    Walk walk{bytes, room};
    while (walk.at < bytes.size() && !opaque_) {
        const Begun begun = left_ == 0 ? begin_frame(walk) : Begun::Frame;
        if (begun == Begun::HeldBack) break;
        if (begun == Begun::Frame) pass_payload(walk);
    }
    if (opaque_) walk.at = bytes.size();
    // `joined` dies here: what came out of it must lie in the room.
    if (!walk.in_room && joined.empty()) return bytes.substr(walk.begin, walk.at - walk.begin);
    walk.flush();
    return room;
}

bool FrameTap::exchange_text(Walk& walk, const Frame& frame) {
    const std::string_view came = walk.bytes.substr(walk.at + frame.head_bytes, frame.length);
    const auto text = listener_.rewrite(came);
    if (!text) return false;
    walk.flush();
    if (!text->empty()) walk.room += encode_frame(kText, *text, Sender::Server);
    if (listener_.message)
        listener_.message(false, true, text->empty() ? came : std::string_view(*text));
    walk.at += frame.head_bytes + static_cast<std::size_t>(frame.length);
    walk.begin = walk.at;
    put_injections(walk);
    return true;
}

FrameTap::Begun FrameTap::begin_frame(Walk& walk) {
    const std::string_view rest = walk.bytes.substr(walk.at);
    Frame frame;
    const FrameState state = parse_frame(rest, frame);
    if (state == FrameState::Faulty || (state == FrameState::Complete && frame.reserved != 0)) {
        opaque_ = true;
        waiting_.clear();
        return Begun::Frame;
    }
    if (state == FrameState::Incomplete) {
        held_ = rest;
        return Begun::HeldBack;
    }
    const bool may_change = frame.opcode == kText && frame.fin && !frame.masked && !continued_ &&
                            frame.length <= kRewriteBytesMax && listener_.rewrites &&
                            listener_.rewrites();
    if (may_change) {
        if (rest.size() - frame.head_bytes < frame.length) {
            held_ = rest;
            return Begun::HeldBack;
        }
        if (exchange_text(walk, frame)) return Begun::Exchanged;
    }
    frame_ = frame;
    passed_ = 0;
    left_ = frame.length;
    walk.at += frame.head_bytes;
    if (frame.opcode >= kFirstControl) {
        control_.clear();
    } else if (frame.opcode != 0) {
        message_.clear();
        message_binary_ = frame.opcode != kText;
        message_whole_ = true;
    }
    if (frame.opcode < kFirstControl) continued_ = !frame.fin;
    return Begun::Frame;
}

void FrameTap::pass_payload(Walk& walk) {
    if (opaque_) return;
    const auto now =
        static_cast<std::size_t>(std::min<std::uint64_t>(left_, walk.bytes.size() - walk.at));
    hear(walk.bytes.substr(walk.at, now));
    walk.at += now;
    left_ -= now;
    passed_ += now;
    if (left_ != 0) return;
    end_frame();
    put_injections(walk);
}

void FrameTap::hear(std::string_view payload) {
    const bool is_control = frame_.opcode >= kFirstControl;
    if (is_control ? !listener_.control : !listener_.message) return;
    std::string& into = is_control ? control_ : message_;
    const std::size_t limit =
        is_control ? static_cast<std::size_t>(kControlBytesMax) : listener_.message_bytes_max;
    const std::size_t room = limit - std::min(limit, into.size());
    if (payload.size() > room) {
        payload = payload.substr(0, room);
        message_whole_ = message_whole_ && is_control;
    }
    const std::size_t from = into.size();
    into += payload;
    if (!frame_.masked) return;
    for (std::size_t i = 0; i < payload.size(); ++i)
        into[from + i] =
            static_cast<char>(byte_at(into, from + i) ^ frame_.mask[(passed_ + i) % 4]);
}

void FrameTap::end_frame() {
    if (frame_.opcode >= kFirstControl) {
        if (listener_.control) listener_.control(frame_.opcode, control_);
    } else if (frame_.fin && listener_.message) {
        listener_.message(message_binary_, message_whole_, message_);
        message_.clear();
        constexpr std::size_t kKeptBytes = 64U << 10U;  // chosen: a picture's room is given back
        if (message_.capacity() > kKeptBytes) message_.shrink_to_fit();
    }
}

void FrameTap::put_injections(Walk& walk) {
    if (waiting_.empty() || continued_) return;
    walk.flush();
    for (const std::string& frame : waiting_) walk.room += frame;
    waiting_.clear();
}

std::string FrameTap::inject(std::string frame) {
    if (opaque_) return {};
    // What is held back has not passed: the gap is before it.
    if (left_ == 0 && !continued_) return frame;
    waiting_.push_back(std::move(frame));
    return {};
}

std::string FrameTap::take_rest() {
    return std::exchange(held_, {});
}

}  // namespace plimsoll::net
