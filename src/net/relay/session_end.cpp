// SPDX-License-Identifier: Apache-2.0
// How exchanges and connections end: answers of our own, the last words, who waited too long.
#include "net/relay/session.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::nanoseconds;

}  // namespace

void Session::refuse(const HeadFault& fault) {
    exchange_.close = true;
    say({.status = fault.status,
         .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
         .body = fmt::format("{}: {}", fault.status, fault.why)});
}

// An answer of our own ends the exchange.
void Session::say(const RelayAnswer& answer) {
    const bool bodiless = answer.status == 204 || answer.status == 304 || answer.status < 200;
    std::string text =
        fmt::format("HTTP/1.1 {} {}\r\n", answer.status, reason_phrase(answer.status));
    bool has_type = false;
    bool has_length = bodiless;
    const auto length = [&](std::string_view name) {
        if (!std::exchange(has_length, true))
            fmt::format_to(std::back_inserter(text), "{}: {}\r\n", name, answer.body.size());
    };
    for (const Header& header : answer.headers) {
        const auto is = [&](std::string_view name) { return has_header({header}, name); };
        if (is("content-length"))
            length(header.name);
        else if (!is("transfer-encoding") && !is("connection") && !is("keep-alive"))
            text.append(header.name).append(": ").append(header.value).append("\r\n");
        has_type = has_type || is("content-type");
    }
    if (!has_type && !answer.body.empty())
        text += "Content-Type: application/json; charset=utf-8\r\n";
    length("Content-Length");
    // What is here of the body goes; what is not would be taken for the next request.
    if (!request_body_.done()) in_.erase(0, request_body_.feed(in_));
    if (!request_body_.done()) exchange_.close = true;
    if (exchange_.close) text += "Connection: close\r\n";
    text += "\r\n";
    client_->write(text, exchange_.is_head || bodiless ? std::string_view() : answer.body);
    finish_exchange();
}

// The answer has been said: the next request, or the end.
void Session::finish_exchange() {
    drop_leg();
    // A handshake that was refused: its key is anybody's, and whoever waits for its end may go.
    if (exchange_.websocket) {
        leave_tunnel();
        predecessor_.reset();
        key_.clear();
    }
    discharge();
    kept_ = {};
    collected_ = {};
    shown_ = {};
    call_ = nullptr;
    new_body_ = {};
    collecting_ = false;
    answer_begun_ = false;
    answer_sent_ = false;
    answer_done_ = false;
    answer_head_in_.clear();
    request_sent_ = false;
    upload_broken_ = false;
    if (!request_body_.done()) exchange_.close = true;
    touch();
    if (exchange_.close || core_.stopping) return linger();
    phase_ = Phase::Head;
    head_began_ = nanoseconds(0);
}

// Closing with unread bytes at hand would reset the connection, and the client could lose the
// answer: what it still sends is read and dropped for a while.
void Session::linger() {
    phase_ = Phase::Lingering;
    touch();
    head_began_ = core_.loop->now();
    in_.clear();
    client_->finish();
    drain();
}

bool Session::drain() {
    if (client_->is_broken()) {
        close();
        return false;
    }
    const std::size_t got = client_->read(core_.scratch);
    if (client_->has_ended()) {
        if (client_->unsent() == 0) close();
        return false;
    }
    return got != 0;
}

void Session::close() {
    if (is_over()) return;
    const auto self = shared_from_this();
    phase_ = Phase::Closed;
    leave_tunnel();
    drop_leg();
    discharge();
    call_ = nullptr;
    if (client_ != nullptr) {
        client_->set_owner(nullptr);
        client_->close();
        core_.loop->bury(std::exchange(client_, nullptr));
    }
    core_.sessions.erase(this);
    core_.loop->bury(self);
}

void Session::end_politely() {
    const auto self = shared_from_this();
    if (phase_ == Phase::Tunnel || phase_ == Phase::Orphan) {
        // 1001: going away
        constexpr std::string_view kGoingAway("\x03\xe9", 2);
        if (to_client_ != nullptr && to_client_->is_at_gap())
            client_->write(encode_frame(8, kGoingAway, Sender::Server));
        if (leg_ != nullptr && to_server_ != nullptr && to_server_->is_at_gap())
            leg_->write(encode_frame(8, kGoingAway, Sender::Client));
        leave_tunnel();
        drop_leg();
        return linger();
    }
    if (phase_ == Phase::Head && head_began_ == nanoseconds(0)) close();
}

// Who has waited too long for what.
void Session::sweep() {
    const RelayOptions& options = core_.options;
    const nanoseconds now = core_.loop->now();
    const nanoseconds idle = now - touched_;
    const auto self = shared_from_this();
    if (client_->unsent() == 0 || client_->taken() != client_taken_) {
        client_taken_ = client_->taken();
        taken_at_ = now;
    }
    if (now - taken_at_ > options.stall_wait) {
        client_->abort();
        return close();
    }
    switch (phase_) {
        case Phase::Head:
            if (head_began_ == nanoseconds(0)) {
                if (idle > options.idle_wait) return close();
                return;
            }
            if (now - head_began_ > options.head_wait)
                refuse({408, "the head of the request did not come to an end"});
            break;
        case Phase::Reading:
            if (idle > options.stall_wait) refuse({408, "the body did not come to an end"});
            break;
        case Phase::Passing:
            if (leg_ != nullptr && !leg_->is_connected() &&
                now - connect_began_ > options.connect_wait)
                connect_failed("it does not answer");
            else if (request_sent_ && leg_ != nullptr && !request_body_.done() && !upload_broken_ &&
                     !answer_begun_ && leg_->unsent() == 0 && idle > options.stall_wait)
                refuse({408, "the body did not come to an end"});
            else if (answer_done_ && idle > options.stall_wait)
                close();  // it has its answer, and sends no more of what was asked
            else if (idle > options.answer_wait)
                unreachable(504, "no answer came");
            break;
        case Phase::Lingering:
            if (now - head_began_ > options.linger_wait) close();
            return;
        case Phase::Tunnel:
            if (full_since_ == nanoseconds(0) || now - full_since_ <= options.tunnel_full_wait)
                return;
            client_->abort();
            return close();
        case Phase::Deciding:
        case Phase::Orphan:
        case Phase::Closed:
            return;
    }
}

}  // namespace plimsoll::net
