// SPDX-License-Identifier: Apache-2.0
//
// What tools/bench_gateway.py asks of a proxy, once straight and once through it: progress messages
// on WebSockets, and how long single requests take.
//
//   gateway_load serve RATE one|all CLIENTS   prints its port; RATE times a second one message, to
//                                             one client after the other or to all of them
//   gateway_load read PORT CLIENTS SECONDS    opens the sockets, says what came
//   gateway_load ask PORT PATH COUNT          as many requests on one connection, one at a time
//
// The last two print one line of JSON.
// Each message carries its number and when it was sent (CLOCK_MONOTONIC, which both share).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
constexpr std::string_view kNumber = "\"value\": ";
constexpr std::string_view kSent = "\"sent\": ";

std::int64_t now_ns() {
    return Clock::now().time_since_epoch().count();
}

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void set_no_delay(int socket) {
    const int one = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Reads a head; what follows it is not expected yet.
bool read_head(int socket) {
    std::string text;
    while (!text.ends_with("\r\n\r\n")) {
        char byte = 0;
        if (::recv(socket, &byte, 1, 0) != 1) return false;
        text += byte;
    }
    return true;
}

bool send_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

// A text frame of some 150 bytes, as ComfyUI's progress message is.
std::string message(std::uint64_t number) {
    const std::string text =
        "{\"type\": \"progress\", \"data\": {" + std::string(kNumber) + std::to_string(number) +
        ", \"max\": 20, \"prompt_id\": \"0b8e5f4e-1d0a-4a43-9c3f-1f3f5d1c2b3a\", "
        "\"node\": \"3\", " +
        std::string(kSent) + std::to_string(now_ns()) + "}}";
    return std::string{'\x81', '\x7e', static_cast<char>(text.size() >> 8U),
                       static_cast<char>(text.size() & 0xFFU)} +
           text;
}

constexpr std::string_view kReader = "GET /ws?clientId=reader-";

int serve(double rate, bool to_all, std::size_t clients) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(listener, 128) != 0)
        return 1;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    for (;;) {
        std::vector<int> sockets;
        // Others look in too (the daemon asks for /system_stats and listens): only readers stay.
        while (sockets.size() < clients) {
            const int socket = ::accept(listener, nullptr, nullptr);
            if (socket < 0) return 1;
            std::array<char, 4096> head{};
            const auto got = ::recv(socket, head.data(), head.size(), 0);
            const bool is_handshake =
                got > 0 &&
                std::string_view(head.data(), static_cast<std::size_t>(got)).starts_with(kReader);
            if (!is_handshake || !send_all(socket, kSwitch)) {
                ::close(socket);
                continue;
            }
            set_no_delay(socket);
            sockets.push_back(socket);
        }
        const auto period = std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / rate));
        auto due = Clock::now() + std::chrono::milliseconds(200);
        bool open = true;
        for (std::uint64_t number = 0; open; ++number, due += period) {
            std::this_thread::sleep_until(due);
            if (to_all) {
                for (const int socket : sockets) open = send_all(socket, message(number)) && open;
            } else {
                const std::size_t one = number % sockets.size();
                open = send_all(sockets[one], message(number / sockets.size()));
            }
        }
        for (const int socket : sockets) ::close(socket);
    }
}

// The waits in milliseconds at half and at 99 of a hundred.
void print_waits(std::vector<std::int64_t>& waits, std::uint64_t disordered) {
    std::ranges::sort(waits);
    const auto at = [&](double share) {
        if (waits.empty()) return 0.0;
        const auto index = static_cast<std::size_t>(share * static_cast<double>(waits.size() - 1));
        return static_cast<double>(waits[index]) / 1e6;
    };
    std::printf("{\"messages\": %zu, \"disordered\": %llu, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n",
                waits.size(), static_cast<unsigned long long>(disordered), at(0.5), at(0.99));
}

struct Reader {
    int socket = -1;
    std::string bytes;
    std::uint64_t next = 0;
};

std::int64_t field(std::string_view text, std::string_view name) {
    const auto at = text.find(name);
    std::int64_t value = -1;
    if (at != std::string_view::npos)
        std::from_chars(text.data() + at + name.size(), text.data() + text.size(), value);
    return value;
}

int read(int port, std::size_t clients, double seconds) {
    std::vector<Reader> readers(clients);
    std::vector<pollfd> polls;
    for (std::size_t i = 0; i < clients; ++i) {
        Reader& one = readers[i];
        one.socket = ::socket(AF_INET, SOCK_STREAM, 0);
        const sockaddr_in address = loopback(port);
        if (::connect(one.socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            return 1;
        if (!send_all(one.socket, std::string(kReader) + std::to_string(i) +
                                      " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
                                      "websocket\r\n\r\n") ||
            !read_head(one.socket))
            return 1;
        polls.push_back({one.socket, POLLIN, 0});
    }
    std::vector<std::int64_t> waits;
    std::uint64_t disordered = 0;
    std::array<char, 1 << 16> piece{};
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    while (Clock::now() < until) {
        if (::poll(polls.data(), polls.size(), 100) <= 0) continue;
        for (std::size_t i = 0; i < clients; ++i) {
            if (polls[i].revents == 0) continue;
            Reader& one = readers[i];
            const auto got = ::recv(one.socket, piece.data(), piece.size(), 0);
            if (got <= 0) return 1;
            const std::int64_t now = now_ns();
            one.bytes.append(piece.data(), static_cast<std::size_t>(got));
            std::size_t at = 0;
            while (one.bytes.size() - at >= 4) {
                const auto size =
                    static_cast<std::size_t>(static_cast<unsigned char>(one.bytes[at + 2]) << 8U |
                                             static_cast<unsigned char>(one.bytes[at + 3]));
                if (one.bytes.size() - at < 4 + size) break;
                const std::string_view text(one.bytes.data() + at + 4, size);
                if (field(text, kNumber) != static_cast<std::int64_t>(one.next++)) ++disordered;
                waits.push_back(now - field(text, kSent));
                at += 4 + size;
            }
            one.bytes.erase(0, at);
        }
    }
    print_waits(waits, disordered);
    for (const Reader& one : readers) ::close(one.socket);
    return 0;
}

int ask(int port, std::string_view path, int count) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(port);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return 1;
    set_no_delay(socket);
    const std::string request = "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n";
    std::vector<std::int64_t> waits;
    std::vector<char> piece(1U << 18U);
    for (int i = 0; i < count; ++i) {
        const std::int64_t began = now_ns();
        if (!send_all(socket, request)) return 1;
        std::string head;
        std::size_t left = 1;
        while (left != 0) {
            const auto got = ::recv(socket, piece.data(), piece.size(), 0);
            if (got <= 0) return 1;
            if (head.ends_with("\r\n\r\n")) {
                left -= static_cast<std::size_t>(got);
                continue;
            }
            head.append(piece.data(), static_cast<std::size_t>(got));
            const auto end = head.find("\r\n\r\n");
            if (end == std::string::npos) continue;
            const std::size_t body = head.size() - end - 4;
            head.resize(end + 4);
            left = static_cast<std::size_t>(field(head, "Content-Length: ")) - body;
        }
        waits.push_back(now_ns() - began);
    }
    print_waits(waits, 0);
    ::close(socket);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    if (what == "serve" && argc == 5)
        return serve(std::atof(argv[2]), std::string_view(argv[3]) == "all",
                     static_cast<std::size_t>(std::atoi(argv[4])));
    if (what == "read" && argc == 5)
        return read(std::atoi(argv[2]), static_cast<std::size_t>(std::atoi(argv[3])),
                    std::atof(argv[4]));
    if (what == "ask" && argc == 5) return ask(std::atoi(argv[2]), argv[3], std::atoi(argv[4]));
    std::fprintf(stderr, "usage: see the top of bench/gateway_load.cpp\n");
    return 2;
}
