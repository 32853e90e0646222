// SPDX-License-Identifier: Apache-2.0
#include "net/relay/session.h"

#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::nanoseconds;

// Of all requests that are kept to be looked at; further ones pass unseen.
constexpr std::size_t kWholeBytesMax = 512U << 20U;  // chosen: four of the largest
constexpr int kTurnsMax = 64;  // chosen: reads of one session before others have their turn

}  // namespace

// The policy's handle. It outlives sessions and may be used from any thread.
class Call final : public RelayCall {
  public:
    Call(RelayCore& core, std::weak_ptr<Session> session, std::uint64_t number, RequestHead head,
         std::string body)
        : core_(core),
          session_(std::move(session)),
          number_(number),
          head_(std::move(head)),
          body_(std::move(body)) {}

    [[nodiscard]] std::uint64_t number() const override { return number_; }
    [[nodiscard]] const RequestHead& head() const override { return head_; }
    [[nodiscard]] const std::string& body() const override { return body_; }
    void forward(ForwardWish wish) override {
        if (!wish.body) wish.body = body_;
        tell([number = number_, wish = std::move(wish)](Session& session) mutable {
            session.forward(number, std::move(wish), true);
        });
    }
    void answer(RelayAnswer answer) override {
        tell([number = number_, answer = std::move(answer)](Session& session) mutable {
            session.answer_call(number, std::move(answer));
        });
    }
    void pass() override {
        tell([number = number_](Session& session) { session.pass_answer(number); });
    }

  private:
    template <class F>
    void tell(F function) {
        core_.loop->post([session = session_, function = std::move(function)]() mutable {
            if (const auto one = session.lock()) function(*one);
        });
    }
    RelayCore& core_;
    std::weak_ptr<Session> session_;
    std::uint64_t number_;
    RequestHead head_;
    std::string body_;
};

void RelayCore::tell_upstream(bool is_reachable, const std::string& why) {
    if (std::exchange(reachable, is_reachable) != is_reachable)
        policy->on_upstream(is_reachable, why);
}

Session::~Session() {
    core_.whole_bytes -= kept_.size();
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
               core_.whole_bytes + request.length <= kWholeBytesMax &&
               core_.policy->passage(request) == RelayPolicy::Passage::Whole) {
        kept_.assign(head);
        kept_head_ = head.size();
        core_.whole_bytes += kept_.size();
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

// Keeps the body as it comes. True: something moved.
bool Session::read_whole() {
    if (request_body_.done()) {
        hand_over();
        return true;
    }
    const std::string_view bytes = next_bytes();
    if (bytes.empty()) {
        if (client_->has_ended()) close();  // nobody waits for an answer to half a request
        return false;
    }
    const std::size_t used = request_body_.feed(bytes);
    kept_.append(bytes.substr(0, used));
    core_.whole_bytes += used;
    keep_rest(bytes.substr(used));
    if (request_body_.is_faulty()) {
        refuse({400, request_body_.fault()});
        return true;
    }
    if (kept_.size() - kept_head_ > core_.options.whole_bytes_max) {
        // Too large to be looked at: it passes as it came, the rest behind it.
        log::warning("a request body above {} bytes passes without being looked at",
                     core_.options.whole_bytes_max);
        const HeadLimits& limits = core_.options.request_limits;
        (void)parse_request(std::string_view(kept_).substr(0, kept_head_), limits, core_.request);
        append_request_head(request_head_, core_.request, {.drop_expect = true});
        new_body_ = kept_.substr(kept_head_);
        core_.whole_bytes -= kept_.size();
        kept_ = {};
        phase_ = Phase::Passing;
        begin_upstream();
    }
    return true;
}

// The request is whole: the policy gets it.
void Session::hand_over() {
    const std::string_view kept = kept_;
    (void)parse_request(kept.substr(0, kept_head_), core_.options.request_limits, core_.request);
    const RequestView& view = core_.request;
    RequestHead head{.method = exchange_.method,
                     .target = exchange_.target,
                     .version_minor = view.version_minor,
                     .headers = {},
                     .keep_alive = view.keep_alive};
    for (const FieldView& field : view.fields)
        head.headers.push_back({std::string(field.name), std::string(field.value)});
    std::string body;
    if (view.framing == Framing::Chunked) {
        BodyScanner scanner;
        scanner.start(Framing::Chunked, 0, ChunkExtensions::Refuse);
        scanner.feed(kept.substr(kept_head_), &body);
    } else {
        body = kept.substr(kept_head_);
    }
    core_.whole_bytes -= kept_.size() - kept_head_;
    kept_.resize(kept_head_);
    kept_.shrink_to_fit();
    phase_ = Phase::Deciding;
    call_ = std::make_shared<Call>(core_, weak_from_this(), exchange_.number, std::move(head),
                                   std::move(body));
    core_.policy->on_request(call_);
}

void Session::forward(std::uint64_t exchange, ForwardWish wish, bool has_body) {
    if (phase_ != Phase::Deciding || exchange_.number != exchange || answer_begun_) return;
    const auto self = shared_from_this();
    wish_ = std::move(wish);
    new_body_ = has_body && wish_.body ? *std::exchange(wish_.body, std::nullopt) : std::string();
    (void)parse_request(kept_, core_.options.request_limits, core_.request);
    append_request_head(request_head_, core_.request,
                        {.close = exchange_.old,
                         .drop_expect = true,
                         .identity = wish_.answer_bytes_max != 0,
                         .new_length = exchange_.has_body || !new_body_.empty(),
                         .length = new_body_.size()});
    core_.whole_bytes -= kept_.size();
    kept_ = {};
    phase_ = Phase::Passing;
    begin_upstream();
    if (!is_over()) pump();
}

void Session::answer_call(std::uint64_t exchange, RelayAnswer answer) {
    if (phase_ != Phase::Deciding || exchange_.number != exchange) return;
    const auto self = shared_from_this();
    say(answer);
    if (!is_over()) pump();
}

void Session::pass_answer(std::uint64_t exchange) {
    if (phase_ != Phase::Deciding || exchange_.number != exchange || !answer_begun_) return;
    const auto self = shared_from_this();
    if (collected_.empty()) {
        say(std::exchange(shown_, {}));
    } else {
        client_->write(std::exchange(collected_, {}));
        finish_exchange();
    }
    if (!is_over()) pump();
}

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
    core_.whole_bytes -= kept_.size();
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
