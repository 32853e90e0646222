// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway.h"

#include "base/log.h"
#include "gateway/comfyui_text.h"
#include "gateway/origin.h"
#include "gateway/route.h"
#include "gateway/side_threads.h"
#include "gateway/sockets.h"

#include <fmt/format.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace plimsoll::gateway {

namespace {

// Of an answer that the hook may amend: /queue with 500 held jobs of 50 KB each has 25 MB.
constexpr std::size_t kAmendedBytesMax = 64U << 20U;
constexpr std::size_t kPromptAnswerBytesMax = 4U << 20U;  // chosen: node_errors of a large graph
constexpr std::size_t kHookCallsMax = 4096;               // chosen: that wait for a thread
// A request comes after all that its client has heard: the observer is to have heard that, too,
// before the hook is asked. It takes microseconds; one that hangs holds nobody up for longer.
constexpr std::chrono::milliseconds kHeardWait{250};  // chosen: a quarter of the hook's own wait

bool is_socket_route(std::string_view target) {
    const std::string_view path = target.substr(0, target.find('?'));
    return path == "/ws" || path == "/api/ws";
}

std::string client_id_of(std::string_view target) {
    const auto mark = target.find('?');
    if (mark == std::string_view::npos) return {};
    for (const net::QueryField& field : net::parse_query(target.substr(mark + 1)))
        if (field.name == "clientId") return field.value;
    return {};
}

// A function of the hook, whose exceptions are its own matter: nullopt for one that threw.
template <class F>
auto guarded(std::string_view what, F function) -> std::optional<decltype(function())> {
    try {
        return function();
    } catch (const std::exception& error) {
        log::error("the gateway's hook failed on {}, the request goes on as it came: {}", what,
                   error.what());
    } catch (...) {
        log::error("the gateway's hook failed on {}, the request goes on as it came", what);
    }
    return std::nullopt;
}

class RelayGateway final : public Gateway, public net::RelayPolicy, public HookDoor {
  public:
    explicit RelayGateway(GatewayOptions options)
        : options_(std::move(options)),
          hook_threads_(options_.hook == nullptr ? 0 : options_.hook_threads, kHookCallsMax),
          observer_thread_(options_.observer == nullptr ? 0 : 1, kObservedQueueBytesMax),
          url_(options_.upstream.text()) {}
    ~RelayGateway() override { stop(std::chrono::milliseconds(0)); }
    RelayGateway(const RelayGateway&) = delete;
    RelayGateway& operator=(const RelayGateway&) = delete;

    Result<void> begin() {
        net::RelayOptions relay = options_.relay;
        relay.address = options_.address;
        relay.port = options_.port;
        relay.upstream = options_.upstream;
        relay.clock = options_.clock;
        relay.heard_bytes_max = kObservedBytesMax;
        // The first request may come before `start` returns: it waits for the lock.
        const std::lock_guard lock(starting_);
        TRY_ASSIGN(relay_, net::Relay::start(std::move(relay), this));
        if (options_.hook != nullptr) options_.hook->attach(*this);
        return {};
    }

    [[nodiscard]] int port() const override { return relay_->port(); }
    [[nodiscard]] net::RelayCounts counts() override { return relay_->counts(); }

    Result<void> set_upstream(const net::Endpoint& upstream) override {
        TRY_DO(relay_->set_upstream(upstream));
        const std::lock_guard lock(mutex_);
        url_ = upstream.text();
        return {};
    }

    void stop(std::chrono::milliseconds grace) override {
        if (relay_ == nullptr || std::exchange(stopped_, true)) return;
        relay_->stop(grace);
        hook_threads_.stop();
        observer_thread_.stop();
        if (options_.hook != nullptr) options_.hook->detach();
    }

    // HookDoor
    void broadcast(std::string text) override {
        for (const net::TunnelId id : sockets_.all()) relay_->send_to(id, text);
    }
    void send_to(const std::string& client_id, std::string text) override {
        for (const net::TunnelId id : sockets_.of(client_id)) relay_->send_to(id, text);
    }
    [[nodiscard]] std::vector<std::string> client_ids() const override {
        return sockets_.client_ids();
    }
    [[nodiscard]] std::string upstream_url() const override {
        const std::lock_guard lock(mutex_);
        return url_;
    }

    // net::RelayPolicy, on the relay's thread
    Passage passage(const net::RequestView& request) override {
        if (options_.hook == nullptr) return Passage::Through;
        const Route route = match_route(request.method, request.target).route;
        if (route == Route::Other) return Passage::Through;
        if (route != Route::PostPrompt && !options_.hook->wants(route)) return Passage::Through;
        // ComfyUI will refuse it: nobody acts on it before.
        return is_from_another_site(request.value("host"), request.value("origin"),
                                    request.value("sec-fetch-site"))
                   ? Passage::Through
                   : Passage::Whole;
    }
    void on_request(std::shared_ptr<net::RelayCall> call) override;
    void on_answer(std::shared_ptr<net::RelayCall> call, net::RelayAnswer answer) override;
    net::RelayAnswer unreachable(std::string_view method, std::string_view target, int status,
                                 const std::string& why) override;

    std::string tunnel_key(const net::RequestView& request) override {
        {
            const std::lock_guard wait_for_start(starting_);
        }
        return is_socket_route(request.target) ? client_id_of(request.target) : std::string();
    }
    bool listens(const net::RequestView& request) override {
        return is_socket_route(request.target);
    }
    void on_tunnel_open(net::TunnelId id, const std::string& key) override {
        sockets_.open(id, key);
        if (!key.empty()) tell_client(key, true);
    }
    void on_tunnel_close(net::TunnelId id) override {
        if (const std::string client_id = sockets_.close(id); !client_id.empty())
            tell_client(client_id, false);
    }
    void on_tunnel_message(net::TunnelId id, bool binary, bool whole,
                           std::string_view bytes) override;
    bool rewrites() override {
        return options_.hook != nullptr &&
               (options_.hook->held_jobs() != 0 || options_.hook->may_withhold());
    }
    std::optional<std::string> rewrite(std::string_view text) override {
        if (is_about_a_run(text) && options_.hook->may_withhold()) {
            const auto withheld =
                guarded("a message", [&] { return options_.hook->withholds(text); });
            if (withheld.value_or(false)) return std::string();
        }
        return raise_queue_remaining(text, options_.hook->held_jobs());
    }
    void on_upstream(bool reachable, const std::string& why) override {
        if (reachable)
            log::info("the gateway reaches ComfyUI at {}", why);
        else
            log::warning("the gateway does not reach ComfyUI at {}: {}", upstream_url(), why);
        observe(
            [reachable, why](GatewayObserver& observer) { observer.on_upstream(reachable, why); });
    }

  private:
    // What is known of a call between its request and its answer.
    struct Pending {
        ClientRequest request;
        std::shared_ptr<PromptCall> prompt;  // of POST /prompt
        std::string node_errors;             // for its answer
        std::uint64_t heard = 0;             // given to the observer when it came
        std::atomic<int> stage = 0;          // the deadline of an earlier one means nothing
    };
    using PendingPtr = std::shared_ptr<Pending>;

    void decide(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending);
    void act(net::RelayCall& call, Pending& pending, PromptDecision decision);
    void forward(net::RelayCall& call, Pending& pending, Forward forward);
    void ask(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending);
    using Settle = std::function<void(std::optional<Answer>)>;
    // Once the hook's time is over; nothing, where it has answered.
    void give_up_later(const std::shared_ptr<Settle>& settle) {
        relay_->post_after(options_.hook_wait, [late = std::weak_ptr(settle)] {
            if (const auto one = late.lock()) (*one)(std::nullopt);
        });
    }
    void amend(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending,
               net::RelayAnswer answer);

    template <class F>
    void observe(F function, std::size_t weight = 1) {
        if (options_.observer == nullptr) return;
        if (!observer_thread_.run(
                [this, function = std::move(function)] {
                    if (const auto lost = lost_.exchange(0); lost != 0)
                        options_.observer->on_lost(lost);
                    function(*options_.observer);
                },
                weight))
            ++lost_;
    }
    void tell_client(const std::string& client_id, bool connected) {
        observe([client_id, connected](GatewayObserver& observer) {
            observer.on_client(client_id, connected);
        });
    }

    GatewayOptions options_;
    std::mutex starting_;
    Sockets sockets_;
    mutable std::mutex mutex_;
    std::atomic<std::uint64_t> lost_ = 0;
    bool stopped_ = false;
    SideThreads hook_threads_;
    SideThreads observer_thread_;
    std::string url_;
    std::unique_ptr<net::Relay> relay_;
};

void RelayGateway::on_request(std::shared_ptr<net::RelayCall> call) {
    {
        const std::lock_guard wait_for_start(starting_);
    }
    MatchedRoute matched = match_route(call->head().method, call->head().target);
    const auto pending = std::make_shared<Pending>();
    pending->request = {.number = call->number(),
                        .route = matched.route,
                        .method = call->head().method,
                        .target = call->head().target,
                        .argument = std::move(matched.argument),
                        .headers = call->head().headers,
                        .body = call->body()};
    if (options_.observer != nullptr) pending->heard = observer_thread_.given();
    call->companion = pending;
    if (matched.route != Route::PostPrompt) return ask(call, pending);
    pending->prompt = std::make_shared<PromptCall>(std::move(pending->request));
    decide(call, pending);
}

void RelayGateway::decide(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending) {
    const bool runs = hook_threads_.run([this, call, pending] {
        PromptCall& prompt = *pending->prompt;
        (void)observer_thread_.wait_for(pending->heard, kHeardWait);
        auto decision = guarded("POST /prompt", [&] { return options_.hook->decide(prompt); });
        // Whoever was given up on must not be listened to any more.
        if (prompt.take()) act(*call, *pending, decision ? std::move(*decision) : Forward{});
    });
    if (!runs && pending->prompt->give_up()) {
        log::warning("the gateway's hook is too busy: a prompt goes on as it came");
        return forward(*call, *pending, {});
    }
    // What was decided in time, or whose client has left, is not kept for the deadline's sake.
    relay_->post_after(options_.hook_wait, [this, late_call = std::weak_ptr(call),
                                            late = std::weak_ptr(pending)] {
        const auto same_call = late_call.lock();
        const auto same = late.lock();
        if (!same_call || !same || !same->prompt->give_up()) return;
        log::warning("the gateway's hook did not decide within {} ms: a prompt goes on as it came",
                     options_.hook_wait.count());
        forward(*same_call, *same, {});
    });
}

void RelayGateway::act(net::RelayCall& call, Pending& pending, PromptDecision decision) {
    if (auto* const on = std::get_if<Forward>(&decision))
        return forward(call, pending, std::move(*on));
    const auto* const hold = std::get_if<Hold>(&decision);
    Answer answer =
        hold != nullptr ? encode_held(*hold) : encode_refusal(std::get<Refusal>(decision));
    call.answer({answer.status, std::move(answer.headers), std::move(answer.body)});
}

void RelayGateway::forward(net::RelayCall& call, Pending& pending, Forward forward) {
    net::ForwardWish wish{.body = std::move(forward.body),
                          .answer_headers = std::move(forward.answer_headers)};
    const bool is_looked_at = options_.observer != nullptr ||
                              (!forward.node_errors.empty() && forward.node_errors != "{}");
    pending.node_errors = std::move(forward.node_errors);
    if (is_looked_at) wish.answer_bytes_max = kPromptAnswerBytesMax;
    call.forward(std::move(wish));
}

// The other routes: the hook may answer, else ComfyUI does and the hook may amend it.
void RelayGateway::ask(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending) {
    const auto settle = std::make_shared<Settle>([call, pending](std::optional<Answer> answer) {
        int stage = 0;
        if (!pending->stage.compare_exchange_strong(stage, 1)) return;  // it was too late
        if (!answer) return call->forward({.answer_bytes_max = kAmendedBytesMax});
        call->answer({answer->status, std::move(answer->headers), std::move(answer->body)});
    });
    const bool runs = hook_threads_.run([this, pending, settle] {
        (void)observer_thread_.wait_for(pending->heard, kHeardWait);
        auto answer = guarded(route_name(pending->request.route),
                              [&] { return options_.hook->answer(pending->request); });
        (*settle)(answer ? std::move(*answer) : std::nullopt);
    });
    if (!runs) return (*settle)(std::nullopt);
    give_up_later(settle);
}

void RelayGateway::on_answer(std::shared_ptr<net::RelayCall> call, net::RelayAnswer answer) {
    const auto pending = std::static_pointer_cast<Pending>(call->companion);
    if (pending == nullptr) return call->pass();
    if (pending->prompt == nullptr) return amend(call, pending, std::move(answer));
    observe([number = call->number(), status = answer.status, body = answer.body](
                GatewayObserver& observer) { observer.on_prompt_answered(number, status, body); },
            answer.body.size());
    std::string marked = with_node_errors(answer.body, pending->node_errors);
    if (answer.status != 200 || marked == answer.body) return call->pass();
    answer.body = std::move(marked);
    call->answer(std::move(answer));
}

void RelayGateway::amend(const std::shared_ptr<net::RelayCall>& call, const PendingPtr& pending,
                         net::RelayAnswer answer) {
    const auto settle = std::make_shared<Settle>([call, pending](std::optional<Answer> amended) {
        int stage = 1;
        if (!pending->stage.compare_exchange_strong(stage, 2)) return;
        if (!amended) return call->pass();
        call->answer({amended->status, std::move(amended->headers), std::move(amended->body)});
    });
    const auto upstream = std::make_shared<Answer>(
        Answer{answer.status, std::move(answer.headers), std::move(answer.body)});
    const bool runs = hook_threads_.run([this, pending, settle, upstream] {
        auto amended = guarded(route_name(pending->request.route),
                               [&] { return options_.hook->amend(pending->request, *upstream); });
        (*settle)(amended ? std::move(*amended) : std::nullopt);
    });
    if (!runs) return (*settle)(std::nullopt);
    give_up_later(settle);
}

net::RelayAnswer RelayGateway::unreachable(std::string_view method, std::string_view target,
                                           int status, const std::string& why) {
    const std::string details = fmt::format("ComfyUI at {}: {}", upstream_url(), why);
    if (match_route(method, target).route == Route::PostPrompt) {
        Answer answer = encode_refusal({.status = status,
                                        .type = "comfyui_unreachable",
                                        .message = "Plimsoll's gateway got no answer from ComfyUI",
                                        .details = details});
        return {answer.status, std::move(answer.headers), std::move(answer.body)};
    }
    return {.status = status,
            .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
            .body = fmt::format("{}: Plimsoll's gateway got no answer from ComfyUI. {}\n", status,
                                details)};
}

void RelayGateway::on_tunnel_message(net::TunnelId id, bool binary, bool whole,
                                     std::string_view bytes) {
    std::string client_id = sockets_.client_id(id);
    if (client_id.empty() && !binary) {
        // ComfyUI names a socket that came without an id in its first message.
        if (auto sid = sid_of_status(bytes); sid && !sid->empty()) {
            client_id = std::move(*sid);
            sockets_.name(id, client_id);
            relay_->set_tunnel_key(id, client_id);
            tell_client(client_id, true);
        }
    }
    if (options_.observer == nullptr) return;
    observe([message = UpstreamMessage{.client_id = std::move(client_id),
                                       .binary = binary,
                                       .whole = whole,
                                       .bytes = std::string(bytes)}](
                GatewayObserver& observer) { observer.on_message(message); },
            bytes.size() + sizeof(UpstreamMessage));
}

}  // namespace

Result<std::unique_ptr<Gateway>> Gateway::start(GatewayOptions options) {
    auto gateway = std::make_unique<RelayGateway>(std::move(options));
    TRY_DO(gateway->begin());
    return std::unique_ptr<Gateway>(std::move(gateway));
}

}  // namespace plimsoll::gateway
