// SPDX-License-Identifier: Apache-2.0
//
// The clients' WebSockets (`/ws`) that are open now: whose they are, and how to reach them.
// Private to the gateway. Threads: any.
#pragma once
#include "net/relay/relay.h"

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace plimsoll::gateway {

class Sockets {
  public:
    void open(net::TunnelId id, std::string client_id);
    // The client's id of the socket that closed; empty where it was never known.
    std::string close(net::TunnelId id);
    void name(net::TunnelId id, std::string client_id);
    [[nodiscard]] std::string client_id(net::TunnelId id) const;
    [[nodiscard]] std::vector<net::TunnelId> all() const;
    [[nodiscard]] std::vector<net::TunnelId> of(const std::string& client_id) const;
    [[nodiscard]] std::vector<std::string> client_ids() const;

  private:
    mutable std::mutex mutex_;
    std::map<net::TunnelId, std::string> sockets_;
};

}  // namespace plimsoll::gateway
