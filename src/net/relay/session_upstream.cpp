// SPDX-License-Identifier: Apache-2.0
// The server's side of a session: its connection, the request on its way there, the answer back.
#include "net/relay/session.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::net {

void Session::begin_upstream() {
    connect_tries_ = 0;
    connect_began_ = core_.loop->now();
    leg_era_ = core_.pool->era();
    leg_is_used_ = false;
    // A handshake takes its connection with it, HTTP/1.0 ends with it.
    if (!exchange_.websocket && !exchange_.old)
        leg_ = core_.pool->take(exchange_.repeatable ? UpstreamPool::Use::Repeatable
                                                     : UpstreamPool::Use::Once);
    if (leg_ == nullptr) return try_connect();
    leg_is_used_ = true;
    leg_->set_owner(this);
    send_request();
}

void Session::try_connect() {
    std::string why;
    leg_era_ = core_.pool->era();
    leg_ = core_.pool->connect(core_.pool->preferred() + connect_tries_, this, why);
    ++connect_tries_;
    if (leg_ == nullptr) return connect_failed(why);
    if (leg_->is_connected()) send_request();
}

void Session::connect_failed(const std::string& why) {
    drop_leg();
    if (connect_tries_ < core_.pool->addresses()) return try_connect();
    core_.tell_upstream(false, why);
    const bool may_wait = exchange_.websocket && !core_.stopping && !client_->is_hung_up() &&
                          core_.loop->now() - connect_began_ < core_.options.handshake_wait;
    if (!may_wait) return unreachable(502, why);
    core_.loop->after(core_.options.handshake_retry, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self || self->phase_ != Phase::Passing || self->leg_ != nullptr) return;
        self->connect_tries_ = 0;
        self->try_connect();
        if (!self->is_over()) self->pump();
    });
}

void Session::send_request() {
    core_.pool->prefer(core_.pool->preferred() + (leg_is_used_ ? 0 : connect_tries_ - 1));
    core_.tell_upstream(true, core_.pool->text());
    request_sent_ = true;
    if (!leg_->write(request_head_, new_body_)) upload_broken_ = true;
    new_body_ = {};
}

// The client's body on its way. True: something moved.
bool Session::move_body() {
    if (!request_sent_ || request_body_.done() || upload_broken_ || leg_->unsent() != 0)
        return false;
    const std::string_view bytes = next_bytes();
    if (bytes.empty()) {
        // Half a request is none: the server sees its connection end.
        if (client_->has_ended()) close();
        return false;
    }
    const std::size_t used = request_body_.feed(bytes);
    keep_rest(bytes.substr(used));
    if (request_body_.is_faulty()) {
        if (answer_sent_) {
            client_->abort();
            close();
        } else {
            refuse({400, request_body_.fault()});
        }
        return true;
    }
    // A server that takes no more may still have an answer: it is read.
    if (!leg_->write(bytes.substr(0, used))) upload_broken_ = true;
    if (answer_done_ && request_body_.done()) answer_complete(0);
    return true;
}

bool Session::move_answer() {
    if (!request_sent_ || leg_ == nullptr || (client_->unsent() != 0 && !collecting_)) return false;
    const std::size_t got = leg_->read(core_.scratch);
    if (answer_done_ && (got != 0 || leg_->has_ended())) {
        drop_leg();
        linger();
        return true;
    }
    if (got != 0) {
        take_answer({core_.scratch.data(), got});
        return true;
    }
    if (!leg_->has_ended()) return false;
    answer_ended();
    return true;
}

void Session::take_answer(std::string_view bytes) {
    while (!answer_begun_) {
        switch (take_answer_head(bytes)) {
            case Head::More:
            case Head::Over:
                return;
            case Head::Interim:
                continue;
            case Head::Final:
                break;
        }
    }
    take_answer_body(bytes);
}

// Takes one head off the bytes. Over: the answer is no longer this function's business.
Session::Head Session::take_answer_head(std::string_view& bytes) {
    const bool in_parts = !answer_head_in_.empty();
    if (in_parts) answer_head_in_ += bytes;
    const std::string_view text = in_parts ? answer_head_in_ : bytes;
    ResponseView& response = core_.response;
    const HeadResult result =
        parse_response(text, core_.options.answer_limits, exchange_.is_head, response);
    if (result.state == HeadState::Incomplete) {
        if (!in_parts) answer_head_in_.assign(text);
        return Head::More;
    }
    const bool is_upgrade = response.status == 101 && exchange_.websocket;
    if (result.state == HeadState::Faulty || (response.status == 101 && !is_upgrade)) {
        unreachable(502, fmt::format("its answer is no HTTP: {}",
                                     result.state == HeadState::Faulty
                                         ? result.fault.why
                                         : "an upgrade that nobody asked for"));
        return Head::Over;
    }
    core_.text.clear();
    const bool is_interim = response.status < 200 && !is_upgrade;
    if (is_interim) {
        // The client of a request that was read whole has had its 100 already.
        if (!exchange_.old && !(call_ != nullptr && response.status == 100)) {
            append_response_head(core_.text, response, start_line(text), {});
            client_->write(core_.text);
        }
    } else if (is_upgrade) {
        append_response_head(core_.text, response, start_line(text), {.upgrade = true});
        client_->write(core_.text);
    } else {
        begin_answer(response, start_line(text));
    }
    // Behind the head. Bytes that came before these were all of it.
    const std::size_t behind = text.size() - result.bytes;
    const std::string rest = in_parts ? std::string(text.substr(result.bytes)) : std::string();
    answer_head_in_.clear();
    if (is_upgrade) {
        const std::string first(in_parts ? std::string_view(rest) : text.substr(result.bytes));
        begin_tunnel();
        if (phase_ == Phase::Tunnel && !first.empty())
            client_->write(to_client_->feed(first, room_));
        return Head::Over;
    }
    // `bytes` ends where `text` ends: what is behind the head lies in it.
    bytes = bytes.substr(bytes.size() - std::min(behind, bytes.size()));
    return is_interim ? Head::Interim : Head::Final;
}

// The head of the answer is in: it is put together in core_.text, and leaves with the first bytes.
void Session::begin_answer(const ResponseView& response, std::string_view start) {
    answer_begun_ = true;
    answer_body_.start(response.framing, response.length, ChunkExtensions::Pass);
    answer_keeps_ = response.keep_alive && response.framing != Framing::UntilClose;
    exchange_.close = exchange_.close || !answer_keeps_;
    // An answer in HTTP/1.0 need not say that it is the last.
    append_response_head(
        core_.text, response, start,
        {.close = exchange_.close && response.version_minor != 0, .add = &wish_.answer_headers});
    collecting_ = wish_.answer_bytes_max != 0 && (response.framing != Framing::Length ||
                                                  response.length <= wish_.answer_bytes_max);
    if (!collecting_) return;
    collected_ = core_.text;
    collected_head_ = collected_.size();
    shown_ = {.status = response.status};
    for (const FieldView& field : response.fields)
        if (!is_hop_field(response, field))
            shown_.headers.push_back({std::string(field.name), std::string(field.value)});
    shown_.headers.insert(shown_.headers.end(), wish_.answer_headers.begin(),
                          wish_.answer_headers.end());
    core_.text.clear();
}

void Session::take_answer_body(std::string_view bytes) {
    const std::size_t used = answer_body_.feed(bytes);
    if (answer_body_.is_faulty()) {
        if (!collecting_) {
            client_->abort();  // what it has must not look whole
            return close();
        }
        return unreachable(502, fmt::format("its answer is broken: {}", answer_body_.fault()));
    }
    if (collecting_) {
        collect(bytes.substr(0, used));
    } else {
        answer_sent_ = true;
        if (!client_->write(core_.text, bytes.substr(0, used))) return close();
        core_.text.clear();
    }
    if (answer_body_.done()) answer_complete(bytes.size() - used);
}

void Session::collect(std::string_view bytes) {
    collected_ += bytes;
    charge(bytes.size());
    if (collected_.size() - collected_head_ <= wish_.answer_bytes_max && !is_overcharged()) return;
    // Too large to be shown: it passes as it came.
    collecting_ = false;
    answer_sent_ = true;
    core_.text.clear();
    client_->write(std::exchange(collected_, {}));
}

void Session::answer_ended() {
    if (!answer_begun_) {
        // A connection that rested may have been closed by the server at any time; a request that
        // may be sent twice gets a new one.
        const bool again = leg_is_used_ && exchange_.repeatable && answer_head_in_.empty();
        drop_leg();
        if (!again) return unreachable(502, "it closed the connection without an answer");
        request_sent_ = false;
        leg_is_used_ = false;
        connect_tries_ = 0;
        return try_connect();
    }
    if (answer_body_.end()) return answer_complete(0);
    if (collecting_)
        return unreachable(502, "it closed the connection in the middle of its answer");
    // The client sees the connection end before the body does.
    drop_leg();
    linger();
}

// The server's connection serves again, or ends.
void Session::rest_leg(std::size_t unused_bytes) {
    // A server that says more than one answer is not asked again on that connection.
    if (answer_keeps_ && unused_bytes == 0 && request_body_.done() && !upload_broken_ &&
        !exchange_.old && leg_->unsent() == 0 && !leg_->is_hung_up() && !core_.stopping)
        core_.pool->put(std::exchange(leg_, nullptr), leg_era_);
    else
        drop_leg();
}

void Session::answer_complete(std::size_t unused_bytes) {
    // A server may answer before it has the whole request, and goes on reading it, to serve on.
    answer_done_ = !collecting_ && !request_body_.done() && !exchange_.close && !upload_broken_ &&
                   unused_bytes == 0 && !leg_->is_hung_up();
    if (answer_done_) return;
    rest_leg(unused_bytes);
    if (!collecting_) return finish_exchange();
    const std::string_view body = std::string_view(collected_).substr(collected_head_);
    const std::string_view start = collected_;
    (void)parse_response(start.substr(0, collected_head_), core_.options.answer_limits,
                         exchange_.is_head, core_.response);
    if (core_.response.framing == Framing::Chunked) {
        BodyScanner scanner;
        scanner.start(Framing::Chunked, 0, ChunkExtensions::Pass);
        scanner.feed(body, &shown_.body);
    } else {
        shown_.body = body;
    }
    show_answer(shown_);
}

// To the policy, which answers or lets it pass.
void Session::show_answer(RelayAnswer answer) {
    phase_ = Phase::Deciding;
    answer_begun_ = true;
    core_.policy->on_answer(call_, std::move(answer));
}

void Session::unreachable(int status, const std::string& why) {
    drop_leg();
    if (answer_sent_) {
        client_->abort();
        return close();
    }
    if (exchange_.websocket) exchange_.close = true;
    RelayAnswer answer = core_.policy->unreachable(exchange_.method, exchange_.target, status, why);
    if (call_ == nullptr || wish_.answer_bytes_max == 0) return say(answer);
    collected_.clear();
    collecting_ = false;
    shown_ = std::move(answer);
    show_answer(shown_);
}

void Session::drop_leg() {
    if (leg_ == nullptr) return;
    leg_->set_owner(nullptr);
    leg_->close();
    core_.loop->bury(std::exchange(leg_, nullptr));
}

}  // namespace plimsoll::net
