// SPDX-License-Identifier: Apache-2.0
// A request that the policy looks at: kept until it is whole, handed over, and what comes of it.
#include "net/relay/session.h"

#include "base/log.h"

#include <utility>

namespace plimsoll::net {

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
    charge(used);
    keep_rest(bytes.substr(used));
    if (request_body_.is_faulty()) {
        refuse({400, request_body_.fault()});
        return true;
    }
    const std::size_t body_bytes = kept_.size() - kept_head_;
    if (body_bytes > core_.options.whole_bytes_max || is_overcharged()) {
        // Too large to be looked at: it passes as it came, the rest behind it. What is kept of it
        // counts until the server has it.
        log::warning("a request body passes without being looked at: {} bytes of it, {} of all",
                     body_bytes, core_.whole_bytes);
        const HeadLimits& limits = core_.options.request_limits;
        (void)parse_request(std::string_view(kept_).substr(0, kept_head_), limits, core_.request);
        append_request_head(request_head_, core_.request, {.drop_expect = true});
        new_body_ = kept_.substr(kept_head_);
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

}  // namespace plimsoll::net
