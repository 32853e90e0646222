// SPDX-License-Identifier: Apache-2.0
#include "gateway/sockets.h"

#include <utility>

namespace plimsoll::gateway {

void Sockets::open(net::TunnelId id, std::string client_id) {
    const std::lock_guard lock(mutex_);
    sockets_[id] = std::move(client_id);
}

std::string Sockets::close(net::TunnelId id) {
    const std::lock_guard lock(mutex_);
    auto node = sockets_.extract(id);
    return node.empty() ? std::string() : std::move(node.mapped());
}

void Sockets::name(net::TunnelId id, std::string client_id) {
    const std::lock_guard lock(mutex_);
    if (const auto found = sockets_.find(id); found != sockets_.end())
        found->second = std::move(client_id);
}

std::string Sockets::client_id(net::TunnelId id) const {
    const std::lock_guard lock(mutex_);
    const auto found = sockets_.find(id);
    return found == sockets_.end() ? std::string() : found->second;
}

std::vector<net::TunnelId> Sockets::all() const {
    const std::lock_guard lock(mutex_);
    std::vector<net::TunnelId> ids;
    for (const auto& [id, client_id] : sockets_) ids.push_back(id);
    return ids;
}

std::vector<net::TunnelId> Sockets::of(const std::string& client_id) const {
    const std::lock_guard lock(mutex_);
    std::vector<net::TunnelId> ids;
    for (const auto& [id, name] : sockets_)
        if (name == client_id) ids.push_back(id);
    return ids;
}

std::vector<std::string> Sockets::client_ids() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [id, name] : sockets_)
        if (!name.empty()) names.push_back(name);
    return names;
}

}  // namespace plimsoll::gateway
