// SPDX-License-Identifier: Apache-2.0
//
// Who is connected by WebSocket, and what they are told. ComfyUI has one table from sid to socket
// and one queue of messages; the order of messages to a socket is the order of the calls here.
//
// Threads: send_* and the questions from any; the rest on the server's thread.
#pragma once
#include "net/server.h"
#include "simulator/python_value.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::simulator {

enum class BinaryEvent : std::uint32_t { PreviewImage = 1, Text = 3, PreviewWithMetadata = 4 };

class MessageHub {
  public:
    // `post` runs a function on the server's thread, in order.
    explicit MessageHub(std::function<void(std::function<void()>)> post);

    // To one socket, or to all where `sid` is nullopt; nobody where that sid is not connected.
    void send_json(std::string_view event, const Dict& data, const std::optional<std::string>& sid);
    void send_binary(BinaryEvent event, std::string_view payload,
                     const std::optional<std::string>& sid);
    [[nodiscard]] bool supports_preview_metadata(const std::optional<std::string>& sid) const;

    // What the running prompt's owner is told when it comes back.
    void set_running(std::optional<std::string> client_id);
    void set_last_node(std::optional<std::string> node_id);
    [[nodiscard]] std::optional<std::string> client_id() const;
    // The node to tell a socket that connects under this sid.
    [[nodiscard]] std::optional<std::string> node_for(const std::string& sid) const;

    // A socket takes the place of an older one with its sid. As in the real server, the older one
    // then takes the newer one away when it closes: `remove` goes by sid alone.
    void add(const std::string& sid, std::shared_ptr<net::ServerSocket> socket);
    void remove(const std::string& sid);
    void set_flags(const std::string& sid, const Dict& flags);
    void send_now(std::string_view event, const Dict& data, const std::string& sid);
    // Cuts every socket, as a process that dies does.
    void cut_all();
    // Lets go of all sockets; nobody is told.
    void forget_all();

    // Cuts the socket that would get this message (counted over all sockets from 1), once.
    void drop_at(std::optional<int> message);

  private:
    struct Client {
        std::string sid;
        std::shared_ptr<net::ServerSocket> socket;
        Dict flags;
    };
    struct Outgoing {
        std::shared_ptr<const std::string> bytes;
        bool binary = false;
        std::optional<std::string> sid;
    };
    // Posts made on the server's own thread may overtake others: the order is that of `outgoing_`.
    void enqueue(std::string bytes, bool binary, const std::optional<std::string>& sid);
    void deliver_all();
    void deliver(const std::shared_ptr<const std::string>& bytes, bool binary,
                 const std::optional<std::string>& sid);
    void send_to(Client& client, const std::shared_ptr<const std::string>& bytes, bool binary);

    std::function<void(std::function<void()>)> post_;
    mutable std::mutex mutex_;
    std::vector<Client> clients_;
    std::mutex outgoing_mutex_;
    std::deque<Outgoing> outgoing_;
    std::optional<std::string> client_id_;
    std::optional<std::string> last_node_;
    std::optional<int> drop_at_;
    int sent_ = 0;
};

[[nodiscard]] std::string encode_message(std::string_view event, const Dict& data);

}  // namespace plimsoll::simulator
