// SPDX-License-Identifier: Apache-2.0
//
// A client that sees what is on the wire: header names and order, frames and pings. For tests of
// servers; trusts the server it tests. Blocking, with one patience for everything.
//
// Threads: one object, one thread.
#pragma once
#include "net/http_message.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::simulator {

struct WireAnswer {
    std::string version;
    int status = 0;
    std::string reason;
    net::Headers headers;
    std::string body;  // without chunk framing
};

class WireConnection {
  public:
    explicit WireConnection(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        timeval patience{.tv_sec = 15, .tv_usec = 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        open_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~WireConnection() { ::close(socket_); }
    WireConnection(const WireConnection&) = delete;
    WireConnection& operator=(const WireConnection&) = delete;

    [[nodiscard]] bool is_open() const { return open_; }
    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                open_ = false;
                return;
            }
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    // False when nothing more comes (closed, or the patience is over).
    bool fill() {
        std::array<char, 1 << 16> piece{};
        const auto got = ::recv(socket_, piece.data(), piece.size(), 0);
        if (got <= 0) {
            open_ = false;
            return false;
        }
        buffer_.append(piece.data(), static_cast<std::size_t>(got));
        return true;
    }
    // False when no byte came within the wait; the connection stays good.
    bool fill_within(std::chrono::milliseconds wait) {
        timeval patience{.tv_sec = wait.count() / 1000, .tv_usec = (wait.count() % 1000) * 1000};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(socket_, &set);
        if (::select(socket_ + 1, &set, nullptr, nullptr, &patience) <= 0) return false;
        return fill();
    }
    std::optional<std::string> read_until(std::string_view mark) {
        std::size_t at = 0;
        while ((at = buffer_.find(mark)) == std::string::npos)
            if (!fill()) return std::nullopt;
        std::string text = buffer_.substr(0, at);
        buffer_.erase(0, at + mark.size());
        return text;
    }
    std::string read_exactly(std::size_t count) {
        while (buffer_.size() < count && fill()) {
        }
        std::string text = buffer_.substr(0, count);
        buffer_.erase(0, text.size());
        return text;
    }

    // Reads one answer; `bodiless` for HEAD.
    std::optional<WireAnswer> read_answer(bool bodiless) {
        WireAnswer answer;
        const auto head = read_until("\r\n\r\n");
        if (!head) return std::nullopt;
        std::size_t at = head->find("\r\n");
        const std::string first = head->substr(0, at);
        answer.version = first.substr(0, 8);
        answer.status = std::atoi(first.substr(9, 3).c_str());
        answer.reason = first.size() > 13 ? first.substr(13) : "";
        while (at != std::string::npos) {
            const std::size_t next = head->find("\r\n", at + 2);
            const std::string line = head->substr(at + 2, next - at - 2);
            const auto colon = line.find(": ");
            answer.headers.push_back({line.substr(0, colon), line.substr(colon + 2)});
            at = next;
        }
        if (bodiless || answer.status == 204 || answer.status == 304 || answer.status == 101)
            return answer;
        if (net::header_value(answer.headers, "Transfer-Encoding") == "chunked") {
            for (;;) {
                const auto size_text = read_until("\r\n");
                if (!size_text) return std::nullopt;
                const auto size = std::strtoul(size_text->c_str(), nullptr, 16);
                answer.body += read_exactly(size);
                read_exactly(2);
                if (size == 0) return answer;
            }
        }
        const std::string length(net::header_value(answer.headers, "Content-Length"));
        answer.body = read_exactly(std::strtoul(length.c_str(), nullptr, 10));
        return answer;
    }

    std::string buffer_;  // NOLINT: the socket class reads frames from it

  private:
    int socket_;
    bool open_ = false;
};

struct WireFrame {
    int opcode = 0;  // 1 text, 2 binary, 8 close, 10 pong
    std::string bytes;
};

class WireSocket {
  public:
    WireSocket(int port, const std::string& target, const net::Headers& extra) : connection_(port) {
        std::string request =
            "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
            "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: 9xyw5p2Uk13RPpl5VN013Q==\r\n";
        for (const net::Header& header : extra)
            request += header.name + ": " + header.value + "\r\n";
        connection_.send(request + "\r\n");
        if (auto answer = connection_.read_answer(false)) handshake = std::move(*answer);
    }
    ~WireSocket() {
        if (inflating_) inflateEnd(&stream_);
    }
    WireSocket(const WireSocket&) = delete;
    WireSocket& operator=(const WireSocket&) = delete;

    WireAnswer handshake;

    void send(int opcode, std::string_view bytes) {
        std::string frame(1, static_cast<char>(0x80 | opcode));
        if (bytes.size() < 126) {
            frame += static_cast<char>(0x80U | bytes.size());
        } else {
            frame += static_cast<char>(0x80U | 126U);
            frame += static_cast<char>(bytes.size() >> 8U);
            frame += static_cast<char>(bytes.size());
        }
        constexpr std::string_view kMask = "mask";
        frame += kMask;
        for (std::size_t i = 0; i < bytes.size(); ++i)
            frame += static_cast<char>(bytes[i] ^ kMask[i % 4]);
        connection_.send(frame);
    }

    // The next whole frame that is there within the wait.
    std::optional<WireFrame> read(std::chrono::milliseconds wait) {
        const auto until = std::chrono::steady_clock::now() + wait;
        for (;;) {
            if (auto frame = take()) return frame;
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                until - std::chrono::steady_clock::now());
            if (left.count() < 0 || !connection_.is_open()) return std::nullopt;
            connection_.fill_within(std::max(left, std::chrono::milliseconds(1)));
        }
    }
    [[nodiscard]] bool is_open() const { return connection_.is_open(); }

  private:
    // permessage-deflate with context takeover: one stream for the life of the socket.
    std::string inflate_message(std::string packed) {
        if (!inflating_) inflateInit2(&stream_, -MAX_WBITS);
        inflating_ = true;
        packed += std::string_view("\0\0\xFF\xFF", 4);
        std::string text;
        std::array<char, 1 << 14> piece{};
        stream_.next_in = reinterpret_cast<Bytef*>(packed.data());
        stream_.avail_in = static_cast<uInt>(packed.size());
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
            stream_.avail_out = static_cast<uInt>(piece.size());
            if (inflate(&stream_, Z_SYNC_FLUSH) != Z_OK) break;
            text.append(piece.data(), piece.size() - stream_.avail_out);
        } while (stream_.avail_in > 0 || stream_.avail_out == 0);
        return text;
    }

    std::optional<WireFrame> take() {
        const std::string& buffer = connection_.buffer_;
        if (buffer.size() < 2) return std::nullopt;
        const auto byte = [&](std::size_t i) {
            return static_cast<std::size_t>(static_cast<unsigned char>(buffer[i]));
        };
        std::size_t length = byte(1) & 0x7FU;
        std::size_t head = 2;
        if (length == 126) {
            head = 4;
            if (buffer.size() < head) return std::nullopt;
            length = byte(2) << 8U | byte(3);
        } else if (length == 127) {
            head = 10;
            if (buffer.size() < head) return std::nullopt;
            length = 0;
            for (std::size_t i = 2; i < 10; ++i) length = length << 8U | byte(i);
        }
        if (buffer.size() < head + length) return std::nullopt;
        WireFrame frame{static_cast<int>(byte(0) & 0x0FU), buffer.substr(head, length)};
        if ((byte(0) & 0x40U) != 0) frame.bytes = inflate_message(frame.bytes);
        connection_.buffer_.erase(0, head + length);
        return frame;
    }

    WireConnection connection_;
    z_stream stream_{};
    bool inflating_ = false;
};

}  // namespace plimsoll::simulator
