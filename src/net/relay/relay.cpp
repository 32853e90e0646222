// SPDX-License-Identifier: Apache-2.0
#include "net/relay/relay.h"

#include "base/log.h"
#include "net/relay/session.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>
#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSweepEvery{1'000};          // chosen: deadlines here are seconds
constexpr milliseconds kAcceptPause{50};            // chosen: until a descriptor may be free again
constexpr std::size_t kScratchBytes = 256U << 10U;  // measured: more does not move faster
constexpr int kBacklog = 1024;                      // chosen
constexpr int kAcceptsMax = 64;                     // chosen: in one turn

RelayPolicy& plain_policy() {
    static RelayPolicy policy;
    return policy;
}

Result<UpstreamAddress> parse_address(const std::string& text, int port) {
    UpstreamAddress address;
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&address.address);
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address.address);
    const auto network_port = htons(static_cast<std::uint16_t>(port));
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = network_port;
        address.length = sizeof *v4;
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = network_port;
        address.length = sizeof *v6;
    } else {
        return fail(Errc::InvalidInput,
                    fmt::format("'{}:{}' is no address to listen on", text, port));
    }
    return address;
}

int port_of(const sockaddr_storage& address) {
    if (address.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

class EpollRelay final : public Relay, public Pollable {
  public:
    explicit EpollRelay(RelayOptions options, RelayPolicy* policy) {
        core_.options = std::move(options);
        core_.policy = policy == nullptr ? &plain_policy() : policy;
        core_.scratch.resize(kScratchBytes);
    }
    ~EpollRelay() override {
        stop(milliseconds(0));
        if (listener_ >= 0) ::close(listener_);
        // Sessions look at the core while they go.
        core_.sessions.clear();
        core_.pool.reset();
        core_.loop.reset();
    }
    EpollRelay(const EpollRelay&) = delete;
    EpollRelay& operator=(const EpollRelay&) = delete;

    Result<void> begin() {
        TRY_ASSIGN(core_.loop, EventLoop::create(*core_.options.clock));
        core_.pool = std::make_unique<UpstreamPool>(*core_.loop, core_.options);
        TRY_ASSIGN(auto addresses, resolve(core_.options.upstream));
        TRY_DO(listen());
        TRY_DO(check_no_circle(addresses));
        core_.pool->set_addresses(std::move(addresses), core_.options.upstream.text());
        thread_ = std::thread([this] { core_.loop->run(); });
        return {};
    }

    [[nodiscard]] int port() const override { return port_; }

    Result<void> set_upstream(const Endpoint& upstream) override {
        TRY_ASSIGN(auto addresses, resolve(upstream));
        TRY_DO(check_no_circle(addresses));
        post([this, upstream, addresses = std::move(addresses)]() mutable {
            core_.options.upstream = upstream;
            if (!core_.pool->set_addresses(std::move(addresses), upstream.text())) return;
            for (const auto& session : all_sessions()) session->leave_former_server();
        });
        return {};
    }

    void send_to(TunnelId id, std::string text) override {
        post([this, id, text = std::move(text)] {
            if (const auto found = core_.tunnels.find(id); found != core_.tunnels.end())
                found->second->inject(text);
        });
    }

    void set_tunnel_key(TunnelId id, std::string key) override {
        post([this, id, key = std::move(key)]() mutable {
            if (const auto found = core_.tunnels.find(id); found != core_.tunnels.end())
                found->second->set_key(std::move(key));
        });
    }

    void post(std::function<void()> function) override { core_.loop->post(std::move(function)); }

    void post_after(milliseconds wait, std::function<void()> function) override {
        post([this, wait, function = std::move(function)]() mutable {
            core_.loop->after(wait, std::move(function));
        });
    }

    RelayCounts counts() override {
        if (!thread_.joinable()) return {};
        std::promise<RelayCounts> promise;
        post([&] {
            promise.set_value({.sessions = core_.sessions.size(),
                               .tunnels = core_.tunnels.size(),
                               .idle_legs = core_.pool->size(),
                               .whole_bytes = core_.whole_bytes,
                               .requests = core_.requests});
        });
        return promise.get_future().get();
    }

    void stop(milliseconds grace) override {
        if (!thread_.joinable()) return;
        const auto until = std::chrono::steady_clock::now() + grace;
        post([this] {
            core_.stopping = true;
            core_.loop->forget(listener_);
            core_.pool->clear();
            for (const auto& session : all_sessions()) session->end_politely();
        });
        // Real time: a relay that is stopped by a test must stop, whatever its clock says.
        while (counts().sessions != 0 && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(milliseconds(5));
        std::promise<void> done;
        post([&] {
            for (const auto& session : all_sessions()) session->close();
            done.set_value();
        });
        done.get_future().wait();
        core_.loop->stop();
        thread_.join();
    }

    // A client knocks.
    void on_ready(std::uint32_t /*events*/) override {
        for (int i = 0; i < kAcceptsMax; ++i) {
            const int descriptor =
                ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (descriptor < 0) {
                if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                    pause_accepting();
                return;
            }
            // Above the limit the client sees its connection end and may come again.
            if (core_.sessions.size() >= core_.options.connections_max || core_.stopping) {
                ::close(descriptor);
                continue;
            }
            const auto session = std::make_shared<Session>(core_);
            auto socket = TcpSocket::adopt(*core_.loop, descriptor, session.get());
            if (!socket) continue;
            core_.sessions.emplace(session.get(), session);
            session->begin(std::move(socket));
            begin_sweeping();
        }
    }

  private:
    Result<void> listen() {
        TRY_ASSIGN(const UpstreamAddress where,
                   parse_address(core_.options.address, core_.options.port));
        listener_ =
            ::socket(where.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const int one = 1;
        sockaddr_storage bound{};
        socklen_t length = sizeof bound;
        const bool listens =
            listener_ >= 0 &&
            ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
            ::bind(listener_, reinterpret_cast<const sockaddr*>(&where.address), where.length) ==
                0 &&
            ::listen(listener_, kBacklog) == 0 &&
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length) == 0;
        if (!listens)
            return fail(Errc::Unavailable,
                        fmt::format("cannot listen on {}:{}: {}", core_.options.address,
                                    core_.options.port, std::strerror(errno)));
        port_ = port_of(bound);
        if (!core_.loop->watch_level(listener_, *this))
            return fail(Errc::Unavailable, "no room to watch the listening socket");
        return {};
    }

    // A relay in front of itself would pass its own requests on for ever.
    Result<void> check_no_circle(const std::vector<UpstreamAddress>& addresses) const {
        sockaddr_storage own{};
        socklen_t length = sizeof own;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&own), &length);
        for (const UpstreamAddress& one : addresses)
            if (one.length == length && std::memcmp(&one.address, &own, length) == 0)
                return fail(Errc::InvalidInput,
                            fmt::format("{}:{} is both where it listens and where it would pass "
                                        "requests on to",
                                        core_.options.address, port_));
        return {};
    }

    [[nodiscard]] std::vector<std::shared_ptr<Session>> all_sessions() const {
        std::vector<std::shared_ptr<Session>> all;
        all.reserve(core_.sessions.size());
        for (const auto& [key, session] : core_.sessions) all.push_back(session);
        return all;
    }

    void pause_accepting() {
        log::warning("no descriptor is left for another connection");
        core_.loop->forget(listener_);
        core_.loop->after(kAcceptPause, [this] {
            if (!core_.stopping) (void)core_.loop->watch_level(listener_, *this);
        });
    }

    // Once a second while anybody is there; an idle relay sleeps.
    void begin_sweeping() {
        if (std::exchange(sweeping_, true)) return;
        core_.loop->after(kSweepEvery, [this] {
            sweeping_ = false;
            core_.pool->sweep();
            for (const auto& session : all_sessions())
                if (core_.sessions.contains(session.get())) session->sweep();
            if (!core_.sessions.empty() || core_.pool->size() != 0) begin_sweeping();
        });
    }

    RelayCore core_;
    int listener_ = -1;
    int port_ = 0;
    bool sweeping_ = false;
    std::thread thread_;
};

}  // namespace

RelayAnswer RelayPolicy::unreachable(std::string_view /*method*/, std::string_view /*target*/,
                                     int status, const std::string& why) {
    return {.status = status,
            .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
            .body = fmt::format("{}: the server cannot be reached: {}", status, why)};
}

Result<std::unique_ptr<Relay>> Relay::start(RelayOptions options, RelayPolicy* policy) {
    auto relay = std::make_unique<EpollRelay>(std::move(options), policy);
    TRY_DO(relay->begin());
    return std::unique_ptr<Relay>(std::move(relay));
}

}  // namespace plimsoll::net
