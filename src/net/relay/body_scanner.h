// SPDX-License-Identifier: Apache-2.0
//
// Finds where a message body ends while its bytes pass by: by length, by chunks (their framing
// checked strictly and passed on as it is) or at the end of the connection. Input is untrusted.
// Threads: no shared state.
#pragma once
#include "net/relay/http_head.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::net {

inline constexpr std::size_t kTrailerBytesMax = 16U << 10U;   // chosen: nobody sends any
inline constexpr std::size_t kExtensionBytesMax = 4U << 10U;  // chosen, of one chunk

// Extensions have a meaning for nobody here, and readers disagree about their line ends: a client's
// are refused, a server's passed on.
enum class ChunkExtensions : std::uint8_t { Refuse, Pass };

class BodyScanner {
  public:
    void start(Framing framing, std::uint64_t length, ChunkExtensions extensions);
    // How many of the bytes belong to the body. Fewer than all: it is done, or faulty there.
    // `content`, where given, receives the body itself, without chunk framing.
    std::size_t feed(std::string_view bytes, std::string* content = nullptr);
    // The connection ended: true where that is the end of the body.
    [[nodiscard]] bool end() const { return done() || framing_ == Framing::UntilClose; }
    [[nodiscard]] bool done() const { return state_ == State::Done; }
    [[nodiscard]] bool is_faulty() const { return state_ == State::Faulty; }
    [[nodiscard]] std::string_view fault() const { return fault_; }

  private:
    enum class State : std::uint8_t {
        Size,
        Extension,
        SizeLf,
        Data,
        DataCr,
        DataLf,
        TrailerStart,
        Trailer,
        TrailerLf,
        EndLf,
        Done,
        Faulty,
    };
    void step(char c);
    void size_step(char c);
    void trailer_step(char c);
    void fail(std::string_view why);

    Framing framing_ = Framing::None;
    ChunkExtensions extensions_ = ChunkExtensions::Refuse;
    State state_ = State::Done;
    std::uint64_t left_ = 0;      // bytes of the body, or of the chunk
    int digits_ = 0;              // of the chunk's size
    std::size_t line_bytes_ = 0;  // of the extension, or of all trailers
    bool named_ = false;          // the trailer line had its colon
    std::string_view fault_;
};

}  // namespace plimsoll::net
