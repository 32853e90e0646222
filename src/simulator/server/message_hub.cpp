// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/message_hub.h"

#include <algorithm>
#include <utility>

namespace plimsoll::simulator {

namespace {

void append_big_endian(std::string& into, std::uint32_t value) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) into += static_cast<char>(value >> shift);
}

}  // namespace

std::string encode_message(std::string_view event, const Dict& data) {
    return dump_python_json(Dict{{"type", Value(event)}, {"data", Value(data)}});
}

MessageHub::MessageHub(std::function<void(std::function<void()>)> post) : post_(std::move(post)) {}

void MessageHub::send_json(std::string_view event, const Dict& data,
                           const std::optional<std::string>& sid) {
    enqueue(encode_message(event, data), false, sid);
}

void MessageHub::send_binary(BinaryEvent event, std::string_view payload,
                             const std::optional<std::string>& sid) {
    std::string frame;
    frame.reserve(payload.size() + 4);
    append_big_endian(frame, static_cast<std::uint32_t>(event));
    frame += payload;
    enqueue(std::move(frame), true, sid);
}

void MessageHub::enqueue(std::string bytes, bool binary, const std::optional<std::string>& sid) {
    {
        const std::lock_guard lock(outgoing_mutex_);
        outgoing_.push_back({std::make_shared<const std::string>(std::move(bytes)), binary, sid});
    }
    post_([this] { deliver_all(); });
}

void MessageHub::deliver_all() {
    std::deque<Outgoing> ready;
    {
        const std::lock_guard lock(outgoing_mutex_);
        ready.swap(outgoing_);
    }
    for (const Outgoing& message : ready) deliver(message.bytes, message.binary, message.sid);
}

void MessageHub::deliver(const std::shared_ptr<const std::string>& bytes, bool binary,
                         const std::optional<std::string>& sid) {
    const std::lock_guard lock(mutex_);
    for (Client& client : clients_)
        if (!sid || client.sid == *sid) send_to(client, bytes, binary);
}

void MessageHub::send_to(Client& client, const std::shared_ptr<const std::string>& bytes,
                         bool binary) {
    ++sent_;
    if (drop_at_ && sent_ >= *drop_at_) {
        drop_at_.reset();
        client.socket->cut_when_sent();
        return;
    }
    client.socket->send(bytes, binary);
}

bool MessageHub::supports_preview_metadata(const std::optional<std::string>& sid) const {
    if (!sid) return false;
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(clients_, *sid, &Client::sid);
    if (found == clients_.end()) return false;
    const Value* const flag = found->flags.find("supports_preview_metadata");
    return flag != nullptr && flag->as_bool() != nullptr && *flag->as_bool();
}

void MessageHub::set_running(std::optional<std::string> client_id) {
    const std::lock_guard lock(mutex_);
    client_id_ = std::move(client_id);
}
void MessageHub::set_last_node(std::optional<std::string> node_id) {
    const std::lock_guard lock(mutex_);
    last_node_ = std::move(node_id);
}
std::optional<std::string> MessageHub::client_id() const {
    const std::lock_guard lock(mutex_);
    return client_id_;
}
std::optional<std::string> MessageHub::node_for(const std::string& sid) const {
    const std::lock_guard lock(mutex_);
    return client_id_ == sid ? last_node_ : std::nullopt;
}

void MessageHub::add(const std::string& sid, std::shared_ptr<net::ServerSocket> socket) {
    const std::lock_guard lock(mutex_);
    std::erase_if(clients_, [&](const Client& client) { return client.sid == sid; });
    clients_.push_back({.sid = sid, .socket = std::move(socket), .flags = {}});
}

void MessageHub::remove(const std::string& sid) {
    const std::lock_guard lock(mutex_);
    std::erase_if(clients_, [&](const Client& client) { return client.sid == sid; });
}

void MessageHub::set_flags(const std::string& sid, const Dict& flags) {
    const std::lock_guard lock(mutex_);
    for (Client& client : clients_)
        if (client.sid == sid) client.flags = flags;
}

void MessageHub::send_now(std::string_view event, const Dict& data, const std::string& sid) {
    deliver(std::make_shared<const std::string>(encode_message(event, data)), false, sid);
}

void MessageHub::cut_all() {
    const std::lock_guard lock(mutex_);
    for (Client& client : clients_) client.socket->cut();
    clients_.clear();
}

void MessageHub::forget_all() {
    const std::lock_guard lock(mutex_);
    clients_.clear();
}

void MessageHub::drop_at(std::optional<int> message) {
    const std::lock_guard lock(mutex_);
    drop_at_ = message;
    sent_ = 0;
}

}  // namespace plimsoll::simulator
