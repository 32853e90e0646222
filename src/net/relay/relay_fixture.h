// SPDX-License-Identifier: Apache-2.0
//
// Both ends of a relay for its tests: a client and a server that say exactly the bytes they are
// told, on free ports of this machine. Blocking, with one patience for everything. Only tests
// include this.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::net {

class RawPeer {
  public:
    explicit RawPeer(int descriptor) : descriptor_(descriptor) {
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    ~RawPeer() { close(); }
    RawPeer(const RawPeer&) = delete;
    RawPeer& operator=(const RawPeer&) = delete;

    static std::unique_ptr<RawPeer> connect(int port) {
        const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto peer = std::make_unique<RawPeer>(descriptor);
        if (::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            peer->close();
        return peer;
    }

    [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }
    // What was read beyond a mark stays for the next call. Less than asked for: the end came.
    std::string read_until(std::string_view mark) {
        std::size_t at = 0;
        while ((at = buffer_.find(mark)) == std::string::npos)
            if (!fill()) return std::exchange(buffer_, {});
        return take(at + mark.size());
    }
    std::string read_exactly(std::size_t count) {
        while (buffer_.size() < count && fill()) {
        }
        return take(std::min(count, buffer_.size()));
    }
    std::string read_to_end() {
        while (fill()) {
        }
        return std::exchange(buffer_, {});
    }
    // The other side's end, cleanly or by a reset, is the next thing that comes.
    bool ends() { return buffer_.empty() && !fill() && !timed_out_; }
    [[nodiscard]] bool was_reset() const { return reset_; }
    void finish() { ::shutdown(descriptor_, SHUT_WR); }
    void close() {
        if (descriptor_ >= 0) ::close(descriptor_);
        descriptor_ = -1;
    }
    void reset() {
        const linger now{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }
    void set_receive_room(int bytes) {
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    [[nodiscard]] int descriptor() const { return descriptor_; }

  private:
    std::string take(std::size_t count) {
        std::string text = buffer_.substr(0, count);
        buffer_.erase(0, count);
        return text;
    }
    bool fill() {
        std::array<char, 1 << 16> piece{};
        const auto got = ::recv(descriptor_, piece.data(), piece.size(), 0);
        if (got <= 0) {
            timed_out_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
            reset_ = got < 0 && errno == ECONNRESET;
            return false;
        }
        buffer_.append(piece.data(), static_cast<std::size_t>(got));
        return true;
    }

    int descriptor_;
    std::string buffer_;
    bool timed_out_ = false;
    bool reset_ = false;
};

// Calls `serve` for each connection, on a thread of its own, with the connection's number from 0.
class RawServer {
  public:
    using Serve = std::function<void(RawPeer&, int number)>;
    explicit RawServer(Serve serve, int port = 0) : serve_(std::move(serve)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int one = 1;
        ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        is_open_ = ::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                   ::listen(listener_, 64) == 0;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { accept(); });
    }
    ~RawServer() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
        for (std::thread& one : serving_) one.join();
    }
    RawServer(const RawServer&) = delete;
    RawServer& operator=(const RawServer&) = delete;

    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] bool is_open() const { return is_open_; }
    [[nodiscard]] int connections() const { return connections_; }

  private:
    void accept() {
        for (;;) {
            const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (descriptor < 0) return;
            serving_.emplace_back([this, descriptor, number = connections_++] {
                RawPeer peer(descriptor);
                serve_(peer, number);
            });
        }
    }

    Serve serve_;
    int listener_ = -1;
    int port_ = 0;
    bool is_open_ = false;
    std::atomic<int> connections_ = 0;
    std::thread thread_;
    std::vector<std::thread> serving_;
};

}  // namespace plimsoll::net
