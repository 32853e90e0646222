// SPDX-License-Identifier: Apache-2.0
// After an upgrade: both directions pass, and the relay listens along.
#include "net/relay/session.h"

#include <utility>

namespace plimsoll::net {

namespace {

constexpr std::size_t kToServerBytesMax = 256U << 10U;  // chosen: then the client has to wait
// For a server to answer our goodbye; then the connection is closed without.
constexpr std::chrono::milliseconds kGoodbyeWait{1'000};  // chosen

constexpr unsigned kClose = 8;
constexpr unsigned kPing = 9;
constexpr unsigned kPong = 10;

}  // namespace

// The handshake of a socket waits until the server has forgotten the older one of the same key:
// ComfyUI keeps one socket for each id, and the end of the older would take the newer with it.
void Session::await_turn() {
    if (key_.empty()) return begin_upstream();
    const auto older = core_.tunnel_of_key.find(key_);
    Session* const other = older == core_.tunnel_of_key.end() ? nullptr : older->second;
    core_.tunnel_of_key[key_] = this;
    const bool has_gone = other == nullptr || other == this ||
                          (other->phase_ == Phase::Orphan && other->leg_ == nullptr);
    if (has_gone) return begin_upstream();
    other->successors_.push_back(weak_from_this());
    predecessor_ = other->weak_from_this();
    // One that is still being opened gives way as soon as it is open.
    if (other->phase_ == Phase::Tunnel) other->give_way();
}

FrameTap::Listener Session::hear_client() {
    FrameTap::Listener listener;
    // An orphan answers by itself: to its client it is a socket on which nothing happens.
    listener.control = [this](unsigned opcode, std::string_view payload) {
        if (phase_ != Phase::Orphan) return;
        if (opcode == kPing) client_->write(encode_frame(kPong, payload, Sender::Server));
        if (opcode != kClose) return;
        client_->write(encode_frame(kClose, payload.substr(0, 2), Sender::Server));
        exchange_.close = true;
    };
    return listener;
}

FrameTap::Listener Session::hear_server() {
    FrameTap::Listener listener;
    if (!listens_) return listener;
    listener.message_bytes_max = core_.options.heard_bytes_max;
    listener.message = [this](bool binary, bool whole, std::string_view bytes) {
        core_.policy->on_tunnel_message(tunnel_id_, binary, whole, bytes);
    };
    listener.rewrites = [this] { return core_.policy->rewrites(); };
    listener.rewrite = [this](std::string_view text) { return core_.policy->rewrite(text); };
    return listener;
}

void Session::begin_tunnel() {
    phase_ = Phase::Tunnel;
    tunnel_id_ = exchange_.number;
    exchange_.close = false;
    to_server_ = std::make_unique<FrameTap>(hear_client());
    to_client_ = std::make_unique<FrameTap>(hear_server());
    core_.tunnels[tunnel_id_] = this;
    if (listens_) core_.policy->on_tunnel_open(tunnel_id_, key_);
    if (!successors_.empty()) return give_way();
    leave_former_server();  // it may have changed during the handshake
}

// Its client would wait for the messages of jobs that run elsewhere; clients open a socket anew.
void Session::leave_former_server() {
    if ((phase_ == Phase::Tunnel || phase_ == Phase::Orphan) && leg_era_ != core_.pool->era())
        end_politely();
}

void Session::set_key(std::string key) {
    if (phase_ != Phase::Tunnel || !key_.empty()) return;
    key_ = std::move(key);
    core_.tunnel_of_key.try_emplace(key_, this);
}

bool Session::pass_to_server() {
    if (leg_ == nullptr || leg_->unsent() > kToServerBytesMax) return false;
    const std::string_view bytes = next_bytes();
    if (!bytes.empty()) {
        leg_->write(to_server_->feed(bytes, room_));
        return true;
    }
    if (!client_->has_ended()) return false;
    if (client_->is_broken()) {
        close();
        return false;
    }
    // The server may have more to say; its own end comes through pass_to_client.
    leg_->write(to_server_->take_rest());
    leg_->finish();
    return false;
}

// ComfyUI sends to all its sockets from one task, one after the other: it must not wait for a
// client that reads slowly, as long as there is room for what waits, and never for long.
bool Session::pass_to_client() {
    if (leg_ == nullptr) return false;
    const std::size_t room = core_.options.tunnel_queue_bytes_max;
    const bool was_full = full_since_ != std::chrono::nanoseconds(0);
    if (client_->unsent() > (was_full ? room / 2 : room)) {
        if (!was_full) full_since_ = core_.loop->now();
        return false;
    }
    full_since_ = std::chrono::nanoseconds(0);
    const std::size_t got = leg_->read(core_.scratch);
    if (got != 0) {
        if (!client_->write(to_client_->feed({core_.scratch.data(), got}, room_))) close();
        return true;
    }
    if (!leg_->has_ended()) return false;
    client_->write(to_client_->take_rest());
    leave_tunnel();
    drop_leg();
    linger();
    return true;
}

void Session::inject(const std::string& text) {
    if (phase_ != Phase::Tunnel) return;
    constexpr unsigned kText = 1;
    client_->write(to_client_->inject(encode_frame(kText, text, Sender::Server)));
}

// The server's side ends, the client's stays open and silent, as it would at the server itself.
void Session::give_way() {
    const auto self = shared_from_this();
    // In the middle of a message nothing of ours could follow.
    const bool can_go_on = to_client_->is_at_gap();
    if (core_.tunnels.erase(tunnel_id_) != 0 && listens_) core_.policy->on_tunnel_close(tunnel_id_);
    phase_ = Phase::Orphan;
    constexpr std::string_view kNormal("\x03\xe8", 2);  // 1000
    if (to_server_->is_at_gap())
        leg_->write(encode_frame(kClose, kNormal, Sender::Client));
    else
        leg_->finish();
    core_.loop->after(kGoodbyeWait, [weak = weak_from_this()] {
        const auto one = weak.lock();
        if (!one || one->phase_ != Phase::Orphan || one->leg_ == nullptr) return;
        one->drop_leg();
        one->let_successors_go();
        one->serve_orphan();
    });
    if (!can_go_on) {
        client_->abort();
        // The leg still ends politely: whoever waits must not come before it did.
        client_->set_owner(nullptr);
    }
}

bool Session::serve_orphan() {
    bool moved = false;
    if (leg_ != nullptr) {
        moved = leg_->read(core_.scratch) != 0;
        if (leg_->has_ended()) {
            drop_leg();
            let_successors_go();
        }
    }
    if (!client_->is_open()) {
        if (leg_ == nullptr) close();
        return moved;
    }
    // Each ping is answered: a client that takes no answers gets no further ones.
    if (client_->unsent() > kToServerBytesMax) return moved;
    const std::string_view bytes = next_bytes();
    if (!bytes.empty()) (void)to_server_->feed(bytes, room_);
    if (exchange_.close && leg_ == nullptr) {
        linger();
        return true;
    }
    if (client_->has_ended() && leg_ == nullptr) {
        close();
        return false;
    }
    return moved || !bytes.empty();
}

// The tunnel is no longer one: nobody sends to it, nobody waits for it.
void Session::leave_tunnel() {
    if (tunnel_id_ != 0 && core_.tunnels.erase(tunnel_id_) != 0 && listens_)
        core_.policy->on_tunnel_close(tunnel_id_);
    tunnel_id_ = 0;
    if (!key_.empty()) {
        const auto newest = core_.tunnel_of_key.find(key_);
        if (newest != core_.tunnel_of_key.end() && newest->second == this) {
            core_.tunnel_of_key.erase(newest);
            // One that gives up waiting: whoever comes next has to wait for the same.
            const auto older = predecessor_.lock();
            if (older && !older->is_over() && older->leg_ != nullptr && older->key_ == key_)
                core_.tunnel_of_key[key_] = older.get();
        }
    }
    let_successors_go();
}

void Session::let_successors_go() {
    for (const auto& weak : std::exchange(successors_, {})) {
        core_.loop->after(std::chrono::milliseconds(0), [weak] {
            const auto next = weak.lock();
            if (!next || next->phase_ != Phase::Passing || next->request_sent_) return;
            next->predecessor_.reset();
            next->begin_upstream();
            if (!next->is_over()) next->pump();
        });
    }
}

}  // namespace plimsoll::net
