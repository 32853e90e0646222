// SPDX-License-Identifier: Apache-2.0
//
// Connections to the server: those that rest between two requests, and how to make new ones.
// Private to net. Threads: that of the loop.
#pragma once
#include "net/relay/relay.h"
#include "net/relay/tcp_socket.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace plimsoll::net {

struct UpstreamAddress {
    sockaddr_storage address{};
    socklen_t length = 0;
};
// All addresses of the name, in the system's order. Blocks. Unavailable when it has none.
[[nodiscard]] Result<std::vector<UpstreamAddress>> resolve(const Endpoint& upstream);

class UpstreamPool final : public TcpSocket::Owner {
  public:
    UpstreamPool(EventLoop& loop, const RelayOptions& options) : loop_(loop), options_(options) {}
    ~UpstreamPool() override;

    // A new era: no connection of an earlier one rests here again. False: they are the same as
    // before, and nothing changes.
    bool set_addresses(std::vector<UpstreamAddress> addresses, std::string text);
    [[nodiscard]] std::uint64_t era() const { return era_; }
    [[nodiscard]] const std::string& text() const { return text_; }  // "http://localhost:8188"

    enum class Use : std::uint8_t { Repeatable, Once };
    // A rested connection that is fit for the request, or null.
    [[nodiscard]] std::shared_ptr<TcpSocket> take(Use use);
    // Begins a new one to the address with that number (modulo all); null with the reason.
    [[nodiscard]] std::shared_ptr<TcpSocket> connect(std::size_t number, TcpSocket::Owner* owner,
                                                     std::string& why);
    [[nodiscard]] std::size_t addresses() const { return addresses_.size(); }
    // The address that answered last; the first attempt goes there.
    [[nodiscard]] std::size_t preferred() const { return preferred_; }
    void prefer(std::size_t number) { preferred_ = number % addresses_.size(); }
    // Lets a connection rest that was taken or made in that era.
    void put(std::shared_ptr<TcpSocket> leg, std::uint64_t era);
    void sweep();  // those that rested too long go
    void clear();
    [[nodiscard]] std::size_t size() const { return resting_.size(); }

    void on_socket(TcpSocket& socket) override;

  private:
    struct Resting {
        std::shared_ptr<TcpSocket> leg;
        std::chrono::nanoseconds since;
    };
    void drop(std::size_t index);

    EventLoop& loop_;
    const RelayOptions& options_;
    std::uint64_t era_ = 0;
    std::string text_;
    std::vector<UpstreamAddress> addresses_;
    std::size_t preferred_ = 0;
    std::vector<Resting> resting_;  // the newest last
};

}  // namespace plimsoll::net
