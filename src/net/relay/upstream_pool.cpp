// SPDX-License-Identifier: Apache-2.0
#include "net/relay/upstream_pool.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace plimsoll::net {

Result<std::vector<UpstreamAddress>> resolve(const Endpoint& upstream) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* list = nullptr;
    const int error = ::getaddrinfo(upstream.host.c_str(), fmt::format("{}", upstream.port).c_str(),
                                    &hints, &list);
    if (error != 0)
        return fail(Errc::Unavailable,
                    fmt::format("{} has no address: {}", upstream.host, ::gai_strerror(error)));
    std::vector<UpstreamAddress> addresses;
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
        UpstreamAddress address;
        address.length = one->ai_addrlen;
        std::memcpy(&address.address, one->ai_addr, one->ai_addrlen);
        addresses.push_back(address);
    }
    ::freeaddrinfo(list);
    return addresses;
}

UpstreamPool::~UpstreamPool() {
    clear();
}

bool UpstreamPool::set_addresses(std::vector<UpstreamAddress> addresses, std::string text) {
    const auto same = [](const UpstreamAddress& a, const UpstreamAddress& b) {
        return a.length == b.length && std::memcmp(&a.address, &b.address, a.length) == 0;
    };
    if (text == text_ && std::ranges::equal(addresses, addresses_, same)) return false;
    clear();
    ++era_;
    addresses_ = std::move(addresses);
    text_ = std::move(text);
    preferred_ = 0;
    return true;
}

std::shared_ptr<TcpSocket> UpstreamPool::take(Use use) {
    const auto limit = use == Use::Once ? options_.unsafe_leg_wait : options_.leg_wait;
    if (resting_.empty() || loop_.now() - resting_.back().since > limit) return nullptr;
    auto leg = std::move(resting_.back().leg);
    resting_.pop_back();
    leg->set_owner(nullptr);
    // What happened to it since the last turn is not told yet.
    if (use == Use::Once && leg->has_news()) {
        leg->close();
        loop_.bury(std::move(leg));
        return take(use);
    }
    return leg;
}

std::shared_ptr<TcpSocket> UpstreamPool::connect(std::size_t number, TcpSocket::Owner* owner,
                                                 std::string& why) {
    const UpstreamAddress& to = addresses_[number % addresses_.size()];
    int error = 0;
    auto leg = TcpSocket::connect(loop_, to.address, to.length, owner, error);
    if (!leg) why = std::strerror(error);
    return leg;
}

void UpstreamPool::put(std::shared_ptr<TcpSocket> leg, std::uint64_t era) {
    if (era != era_ || resting_.size() >= options_.idle_legs_max) {
        leg->set_owner(nullptr);
        leg->close();
        loop_.bury(std::move(leg));
        return;
    }
    leg->set_owner(this);
    resting_.push_back({std::move(leg), loop_.now()});
}

void UpstreamPool::drop(std::size_t index) {
    auto leg = std::move(resting_[index].leg);
    resting_.erase(resting_.begin() + static_cast<std::ptrdiff_t>(index));
    leg->set_owner(nullptr);
    leg->close();
    loop_.bury(std::move(leg));
}

// Whatever happens on a connection that rests ends it: the server closed, or said something that
// nobody asked for.
void UpstreamPool::on_socket(TcpSocket& socket) {
    if (!socket.is_readable()) return;
    for (std::size_t i = 0; i < resting_.size(); ++i)
        if (resting_[i].leg.get() == &socket) return drop(i);
}

void UpstreamPool::sweep() {
    while (!resting_.empty() && loop_.now() - resting_.front().since > options_.leg_wait) drop(0);
}

void UpstreamPool::clear() {
    while (!resting_.empty()) drop(resting_.size() - 1);
}

}  // namespace plimsoll::net
