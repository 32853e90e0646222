// SPDX-License-Identifier: Apache-2.0
#include "net/relay/tcp_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace plimsoll::net {

namespace {

// A connection whose other side vanished without a word is found within two minutes.
constexpr int kProbeIdle_s = 60;  // chosen
constexpr int kProbeEvery_s = 15;
constexpr int kProbes = 4;
constexpr std::size_t kJoinedBytesMax = 2048;  // chosen: an answer about the queue

void set_options(int descriptor) {
    const auto set = [&](int level, int name, int value) {
        ::setsockopt(descriptor, level, name, &value, sizeof value);  // a socket works without
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeIdle_s);
    set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeEvery_s);
    set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

bool would_block(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

std::shared_ptr<TcpSocket> TcpSocket::adopt(EventLoop& loop, int descriptor, Owner* owner) {
    set_options(descriptor);
    std::shared_ptr<TcpSocket> socket(new TcpSocket(loop, descriptor, owner, true));
    if (!loop.watch(descriptor, *socket)) return nullptr;
    return socket;
}

std::shared_ptr<TcpSocket> TcpSocket::connect(EventLoop& loop, const sockaddr_storage& address,
                                              socklen_t length, Owner* owner, int& why) {
    const int descriptor =
        ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        why = errno;
        return nullptr;
    }
    set_options(descriptor);
    std::shared_ptr<TcpSocket> socket(new TcpSocket(loop, descriptor, owner, false));
    const int done = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), length);
    if (done != 0 && errno != EINPROGRESS) {
        why = errno;
        return nullptr;
    }
    socket->connected_ = done == 0;
    if (!loop.watch(descriptor, *socket)) {
        why = ENOMEM;
        return nullptr;
    }
    return socket;
}

void TcpSocket::settle_connect() {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return break_with(error);
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    // Writable is told for a socket that has not begun to connect, too.
    connected_ = ::getpeername(descriptor_, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
}

void TcpSocket::on_ready(std::uint32_t events) {
    if (!is_open()) return;
    const auto self = shared_from_this();
    if (!connected_) settle_connect();
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
    // Both directions are over: a reset, or our own end after theirs.
    if (connected_ && (events & (EPOLLHUP | EPOLLERR)) != 0) reset_ = true;
    if (connected_ && (events & EPOLLOUT) != 0) flush();
    if (owner_ != nullptr) owner_->on_socket(*this);
}

std::size_t TcpSocket::read(std::span<char> into) {
    if (!is_readable() || ended_) return 0;
    const auto got = ::recv(descriptor_, into.data(), into.size(), 0);
    if (got > 0) {
        // Fewer than asked for: the kernel has no more, and will say so when it has (epoll(7)). An
        // end may already have been told, it is read for.
        if (static_cast<std::size_t>(got) < into.size() && !hung_up_) readable_ = false;
        return static_cast<std::size_t>(got);
    }
    if (got < 0 && would_block(errno)) {
        readable_ = false;
        return 0;
    }
    if (got < 0) break_with(errno);
    ended_ = true;
    return 0;
}

ssize_t TcpSocket::send_now(std::string_view first, std::string_view second) const {
    if (second.empty()) return ::send(descriptor_, first.data(), first.size(), MSG_NOSIGNAL);
    // Two short pieces cost less as one than as a list of two (measured: 2 % of a small answer).
    std::array<char, kJoinedBytesMax> joined;
    if (first.size() + second.size() <= joined.size()) {
        const auto end = std::ranges::copy(first, joined.begin()).out;
        std::ranges::copy(second, end);
        return ::send(descriptor_, joined.data(), first.size() + second.size(), MSG_NOSIGNAL);
    }
    std::array<iovec, 2> parts{iovec{const_cast<char*>(first.data()), first.size()},
                               iovec{const_cast<char*>(second.data()), second.size()}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    return ::sendmsg(descriptor_, &message, MSG_NOSIGNAL);
}

bool TcpSocket::has_news() const {
    char byte = 0;
    const auto got = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || !would_block(errno);
}

bool TcpSocket::write(std::string_view first, std::string_view second) {
    if (!is_open() || error_ != 0) return false;
    if (connected_ && unsent() == 0 && !(first.empty() && second.empty())) {
        const auto sent = send_now(first, second);
        if (sent < 0 && !would_block(errno)) {
            break_writing(errno);
            return false;
        }
        auto done = sent < 0 ? 0 : static_cast<std::size_t>(sent);
        taken_ += done;
        const std::size_t of_first = std::min(done, first.size());
        first.remove_prefix(of_first);
        second.remove_prefix(done - of_first);
    }
    if (first.empty() && second.empty()) return true;
    if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
    }
    out_.append(first).append(second);
    return true;
}

void TcpSocket::flush() {
    while (unsent() != 0) {
        const auto sent = ::send(descriptor_, out_.data() + sent_, unsent(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (!would_block(errno)) break_writing(errno);
            break;
        }
        sent_ += static_cast<std::size_t>(sent);
        taken_ += static_cast<std::uint64_t>(sent);
    }
    constexpr std::size_t kKeptBytes = 64U << 10U;  // chosen: a busy connection keeps its room
    if (unsent() == 0) {
        sent_ = 0;
        if (out_.capacity() > kKeptBytes)
            out_ = {};
        else
            out_.clear();
    } else if (sent_ > out_.size() / 2) {
        out_.erase(0, sent_);
        sent_ = 0;
    }
    if (finishing_ && unsent() == 0 && !std::exchange(finished_, true))
        ::shutdown(descriptor_, SHUT_WR);
}

void TcpSocket::finish() {
    if (!is_open()) return;
    finishing_ = true;
    if (connected_) flush();
}

void TcpSocket::break_with(int error) {
    error_ = error;
    ended_ = true;
    readable_ = true;
    out_ = {};
    sent_ = 0;
}

// What the other side said before it took no more is still there to be read: an early answer.
void TcpSocket::break_writing(int error) {
    char byte = 0;
    const bool is_there_more = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    break_with(error);
    ended_ = !is_there_more;
}

void TcpSocket::close() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);  // epoll forgets it with the last descriptor
    descriptor_ = -1;
}

void TcpSocket::abort() {
    if (descriptor_ < 0) return;
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
}

}  // namespace plimsoll::net
