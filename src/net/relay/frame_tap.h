// SPDX-License-Identifier: Apache-2.0
//
// Listens along one direction of a WebSocket: knows where frames and messages begin and end, hands
// whole messages to whoever listens, and passes the bytes on as they are. It may put messages of
// our own between two messages, and exchange or withhold a short text; nothing else ever changes.
// A stream that is no WebSocket (any more) passes unread. Input is untrusted. RFC 6455.
//
// Threads: no shared state.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::net {

// Text messages that may be exchanged are held until they are whole: they are this short. Chosen: a
// status message has 100 bytes, an error with its inputs and a long trace a hundred thousand.
inline constexpr std::size_t kRewriteBytesMax = 1U << 20U;

struct Frame {
    bool fin = true;
    unsigned reserved = 0;  // the three bits
    unsigned opcode = 0;    // 0 continued, 1 text, 2 binary, 8 close, 9 ping, 10 pong
    bool masked = false;
    std::array<unsigned char, 4> mask{};
    std::uint64_t length = 0;
    std::size_t head_bytes = 0;
};
enum class FrameState : std::uint8_t { Incomplete, Complete, Faulty };
// The head of a frame at the start of the bytes. Faulty: a length above 2^63, or a control frame
// that is fragmented or longer than 125 bytes.
[[nodiscard]] FrameState parse_frame(std::string_view bytes, Frame& out);
// A whole frame as a server sends it, or as a client does (with a mask of zeros, which leaves the
// payload as it is: masks protect browsers from scripts, and there is none here).
enum class Sender : std::uint8_t { Server, Client };
[[nodiscard]] std::string encode_frame(unsigned opcode, std::string_view payload, Sender sender);

class FrameTap {
  public:
    struct Listener {
        // A message that has passed; `whole` false where it was cut at the limit. Not called where
        // unset.
        std::function<void(bool binary, bool whole, std::string_view bytes)> message;
        std::size_t message_bytes_max = 0;
        // Ping, pong, close.
        std::function<void(unsigned opcode, std::string_view payload)> control;
        // Whether texts may be exchanged now, and with what; with an empty one: it does not pass,
        // and `message` hears it as it came.
        std::function<bool()> rewrites;
        std::function<std::optional<std::string>(std::string_view text)> rewrite;
    };
    explicit FrameTap(Listener listener) : listener_(std::move(listener)) {}

    // The bytes to pass on for those that came: a part of them, or of `room`, valid until the next
    // call. Up to 14 bytes of an incomplete head and a short text that may be exchanged stay back
    // until the rest comes.
    [[nodiscard]] std::string_view feed(std::string_view bytes, std::string& room);
    // The stream ended: what stayed back.
    [[nodiscard]] std::string take_rest();

    // A frame of our own for the next gap between messages. What can be sent now is returned.
    [[nodiscard]] std::string inject(std::string frame);
    // Between two messages, with nothing held back; false for ever in a stream that is no
    // WebSocket.
    [[nodiscard]] bool is_at_gap() const {
        return !opaque_ && left_ == 0 && !continued_ && held_.empty();
    }
    [[nodiscard]] bool is_opaque() const { return opaque_; }

  private:
    struct Walk;
    enum class Begun : std::uint8_t { Frame, Exchanged, HeldBack };
    // One frame's head, or the whole of a short text.
    Begun begin_frame(Walk& walk);
    bool exchange_text(Walk& walk, const Frame& frame);
    void pass_payload(Walk& walk);
    void hear(std::string_view payload);
    void end_frame();
    void put_injections(Walk& walk);

    Listener listener_;
    bool opaque_ = false;
    bool continued_ = false;  // inside a fragmented message
    std::uint64_t left_ = 0;  // payload bytes of the frame that have not passed
    Frame frame_;
    std::uint64_t passed_ = 0;  // payload bytes of the frame that have
    std::string held_;
    std::vector<std::string> waiting_;
    std::string message_;  // heard so far
    bool message_binary_ = false;
    bool message_whole_ = true;
    std::string control_;
};

}  // namespace plimsoll::net
