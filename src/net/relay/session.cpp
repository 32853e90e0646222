// SPDX-License-Identifier: Apache-2.0
#include "net/relay/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::nanoseconds;

constexpr int kTurnsMax = 64;  // chosen: reads of one session before others have their turn

}  // namespace

void RelayCore::tell_upstream(bool is_reachable, const std::string& why) {
    if (std::exchange(reachable, is_reachable) != is_reachable)
        policy->on_upstream(is_reachable, why);
}

Session::~Session() {
    discharge();
}

void Session::charge(std::size_t bytes) {
    charged_ += bytes;
    core_.whole_bytes += bytes;
}

void Session::discharge() {
    core_.whole_bytes -= std::exchange(charged_, 0);
}

bool Session::is_overcharged() const {
    return core_.whole_bytes > core_.options.all_whole_bytes_max;
}

void Session::begin(std::shared_ptr<TcpSocket> client) {
    client_ = std::move(client);
    touch();
    taken_at_ = touched_;
    pump();
}

void Session::on_socket(TcpSocket& socket) {
    const auto self = shared_from_this();
    if (is_over()) return;
    if (leg_.get() == &socket && !request_sent_ && phase_ == Phase::Passing) {
        if (socket.is_broken())
            connect_failed(std::strerror(socket.error()));
        else if (socket.is_connected())
            send_request();
    }
    if (!is_over()) pump();
}

// Does whatever can be done without waiting.
void Session::pump() {
    for (int turn = 0; turn < kTurnsMax; ++turn) {
        bool moved = false;
        switch (phase_) {
            case Phase::Head:
                moved = read_head();
                break;
            case Phase::Reading:
                moved = read_whole();
                break;
            case Phase::Deciding:
                return;
            case Phase::Passing:
                if (client_->is_reset()) return close();
                moved = move_body();
                if (phase_ == Phase::Passing) moved = move_answer() || moved;
                break;
            case Phase::Tunnel:
                moved = pass_to_client();
                if (phase_ == Phase::Tunnel) moved = pass_to_server() || moved;
                break;
            case Phase::Orphan:
                moved = serve_orphan();
                break;
            case Phase::Lingering:
                moved = drain();
                break;
            case Phase::Closed:
                return;
        }
        if (!moved) return;
        touch();
    }
    if (client_ != nullptr) client_->again();
}

// What the client has sent and nobody has used; empty: nothing now. The rest goes to keep_rest.
std::string_view Session::next_bytes() {
    if (!in_.empty()) {
        // Into the scratch room, so that what is left may be put back.
        if (core_.scratch.size() < in_.size()) core_.scratch.resize(in_.size());
        std::ranges::copy(in_, core_.scratch.begin());
        const std::size_t size = in_.size();
        in_.clear();
        return {core_.scratch.data(), size};
    }
    const std::size_t got = client_->read(core_.scratch);
    return {core_.scratch.data(), got};
}

void Session::keep_rest(std::string_view rest) {
    in_.assign(rest);
}

bool Session::read_head() {
    // What was said before must have left: a client that does not read gets no further answers.
    if (client_->unsent() != 0 || core_.stopping) {
        if (core_.stopping && client_->unsent() == 0) close();
        return false;
    }
    const bool had_some = !in_.empty();
    std::string_view bytes;
    if (had_some) {
        const std::size_t got = client_->read(core_.scratch);
        in_.append(core_.scratch.data(), got);
        if (got == 0 && head_began_ != nanoseconds(0)) {
            if (client_->has_ended()) close();
            return false;
        }
        bytes = next_bytes();
    } else {
        bytes = next_bytes();
        if (bytes.empty()) {
            if (client_->has_ended()) close();
            return false;
        }
    }
    const HeadResult result = parse_request(bytes, core_.options.request_limits, core_.request);
    switch (result.state) {
        case HeadState::Incomplete:
            if (head_began_ == nanoseconds(0)) head_began_ = core_.loop->now();
            keep_rest(bytes);
            return client_->is_readable();
        case HeadState::Faulty:
            refuse(result.fault);
            return true;
        case HeadState::Complete:
            break;
    }
    head_began_ = nanoseconds(0);
    // The views point into the scratch room, which begin_exchange does not read into.
    in_.assign(bytes.substr(result.bytes));
    begin_exchange(core_.request, bytes.substr(0, result.bytes));
    return true;
}

void Session::begin_exchange(const RequestView& request, std::string_view head) {
    exchange_ = {.number = ++core_.requests,
                 .method = std::string(request.method),
                 .target = std::string(request.target),
                 .is_head = request.method == "HEAD",
                 .repeatable = request.framing == Framing::None &&
                               (request.method == "GET" || request.method == "HEAD" ||
                                request.method == "OPTIONS"),
                 .old = request.version_minor == 0,
                 .websocket = request.websocket,
                 .close = !request.keep_alive || request.version_minor == 0,
                 .has_body = request.framing != Framing::None,
                 .awaits_100 = request.expects_100};
    if (request.method == "CONNECT") return refuse({405, "CONNECT is not passed on"});
    if (request.websocket && (exchange_.has_body || request.method != "GET"))
        return refuse({400, "a WebSocket handshake is a GET without a body"});
    request_body_.start(request.framing, request.length, ChunkExtensions::Refuse);
    wish_ = {};
    new_body_.clear();
    call_ = nullptr;
    request_head_.clear();
    if (request.websocket) {
        key_ = core_.policy->tunnel_key(request);
        listens_ = core_.policy->listens(request);
    } else if (request.length <= core_.options.whole_bytes_max &&
               core_.whole_bytes + request.length <= core_.options.all_whole_bytes_max &&
               core_.policy->passage(request) == RelayPolicy::Passage::Whole) {
        kept_.assign(head);
        kept_head_ = head.size();
        charge(kept_.size());
        phase_ = Phase::Reading;
        if (exchange_.awaits_100 && in_.empty()) client_->write("HTTP/1.1 100 Continue\r\n\r\n");
        return;
    }
    append_request_head(request_head_, request,
                        {.upgrade = request.websocket, .close = exchange_.old});
    phase_ = Phase::Passing;
    if (request.websocket) return await_turn();
    begin_upstream();
}

}  // namespace plimsoll::net
