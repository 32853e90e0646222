// SPDX-License-Identifier: Apache-2.0
//
// A connected (or connecting) TCP socket of an EventLoop: reads when asked, sends at once what the
// kernel takes and keeps the rest. Whoever writes looks at `unsent` first: that is the
// back-pressure.
// Threads: that of its loop.
#pragma once
#include "net/relay/event_loop.h"

#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::net {

class TcpSocket final : public Pollable, public std::enable_shared_from_this<TcpSocket> {
  public:
    // Told of every change: bytes came, room came, the other side ended.
    class Owner {
      public:
        virtual ~Owner() = default;
        virtual void on_socket(TcpSocket& socket) = 0;
    };
    // Takes the descriptor, which must not block. Null: the loop has no room for it.
    [[nodiscard]] static std::shared_ptr<TcpSocket> adopt(EventLoop& loop, int descriptor,
                                                          Owner* owner);
    // Begins to connect: `is_connected` or `is_broken` tells the end. Null: no descriptor, or
    // refused at once (`why` says it).
    [[nodiscard]] static std::shared_ptr<TcpSocket> connect(EventLoop& loop,
                                                            const sockaddr_storage& address,
                                                            socklen_t length, Owner* owner,
                                                            int& why);
    ~TcpSocket() override { close(); }
    TcpSocket(const TcpSocket&) = delete;
    TcpSocket& operator=(const TcpSocket&) = delete;

    void set_owner(Owner* owner) { owner_ = owner; }
    void on_ready(std::uint32_t events) override;
    // Asks to be told again in the next turn: its owner left something undone to let others go on.
    void again() { loop_.again(shared_from_this()); }

    [[nodiscard]] bool is_connected() const { return connected_; }
    [[nodiscard]] bool is_broken() const { return error_ != 0; }
    [[nodiscard]] int error() const { return error_; }
    [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
    // Something can be read, or has ended.
    [[nodiscard]] bool is_readable() const { return readable_ && is_open(); }
    // Nothing more will come.
    [[nodiscard]] bool has_ended() const { return ended_; }
    // The other side is gone altogether.
    [[nodiscard]] bool is_reset() const { return reset_ || error_ != 0; }
    // The other side said that it sends no more, though bytes may still be there to be read.
    [[nodiscard]] bool is_hung_up() const { return hung_up_; }

    // Asks the kernel whether anything came or ended.
    [[nodiscard]] bool has_news() const;
    // Bytes read; 0: none now, or none any more (has_ended).
    [[nodiscard]] std::size_t read(std::span<char> into);
    // Sends or keeps both, in order. False: broken.
    bool write(std::string_view first, std::string_view second = {});
    [[nodiscard]] std::size_t unsent() const { return out_.size() - sent_; }
    // Bytes that the kernel has taken so far: progress.
    [[nodiscard]] std::uint64_t taken() const { return taken_; }
    // Says that nothing more follows, once what is unsent has left.
    void finish();
    void close();
    // Closes with a reset: the other side must not take what it got for the whole.
    void abort();

  private:
    TcpSocket(EventLoop& loop, int descriptor, Owner* owner, bool connected)
        : loop_(loop), descriptor_(descriptor), owner_(owner), connected_(connected) {}
    [[nodiscard]] ssize_t send_now(std::string_view first, std::string_view second) const;
    void flush();
    void settle_connect();
    void break_with(int error);
    void break_writing(int error);

    EventLoop& loop_;
    int descriptor_;
    Owner* owner_;
    bool connected_;
    bool readable_ = false;
    bool hung_up_ = false;
    bool reset_ = false;
    bool ended_ = false;
    bool finishing_ = false;
    bool finished_ = false;
    int error_ = 0;
    std::string out_;
    std::size_t sent_ = 0;  // of out_
    std::uint64_t taken_ = 0;
};

}  // namespace plimsoll::net
