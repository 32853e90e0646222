// SPDX-License-Identifier: Apache-2.0
//
// The seam between the gateway and whoever decides about prompts. The gateway moves bytes and knows
// nothing of memory or queues; a PromptHook sees the few requests that matter (`POST /prompt`, the
// queue's routes) and says what becomes of them. Without a hook the gateway is a plain proxy.
//
// The gateway fails open: a hook that throws, or answers later than its deadline, is passed over
// and the request goes on as it came. So that a prompt can never be forwarded *and* held, a hook
// calls PromptCall::take before it makes anything lasting.
//
// Threads: decide, answer and amend run on the gateway's workers, several at once; the observer's
// functions on one thread of their own, in order; the functions marked noexcept on the thread that
// moves all bytes, so they must only look at an atomic or two. HookDoor: any thread.
#pragma once
#include "base/error.h"
#include "gateway/prompt_body.h"
#include "net/http_message.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace plimsoll::gateway {

// The routes that a hook may ask for. Each exists bare and below /api (`Jobs...` only below /api,
// as ComfyUI has them); percent-escaped spellings (`/%70rompt`) are recognised.
enum class Route : std::uint8_t {
    Other,
    PostPrompt,   // POST /prompt
    GetPrompt,    // GET /prompt: {"exec_info": {"queue_remaining": N}}
    GetQueue,     // GET /queue
    PostQueue,    // POST /queue: clear, delete
    Interrupt,    // POST /interrupt
    Free,         // POST /free
    GetHistory,   // GET /history
    HistoryItem,  // GET /history/{prompt_id}
    PostHistory,  // POST /history: clear, delete
    Jobs,         // GET /api/jobs
    Job,          // GET /api/jobs/{id}
    CancelJob,    // POST /api/jobs/{id}/cancel
    CancelJobs,   // POST /api/jobs/cancel
};
[[nodiscard]] std::string_view route_name(Route route);  // "POST /prompt"

// A request that was read whole for the hook.
struct ClientRequest {
    std::uint64_t number = 0;  // counts the requests of this process from 1
    Route route = Route::Other;
    std::string method;
    std::string target;    // as sent: neither decoded nor normalised
    std::string argument;  // {prompt_id} or {id} of the route, decoded; else empty
    net::Headers headers;  // as sent; may hold secrets (Authorization, Cookie): never log them
    std::string body;      // as sent; of POST /prompt it may hold secrets too
};

// An answer that the gateway gives itself, or ComfyUI's before it is passed on.
struct Answer {
    int status = 200;
    net::Headers headers;  // Content-Type is added where it is missing, Content-Length always
    std::string body;
};

// Fields may be left unnamed where one of these is made.
// NOLINTBEGIN(readability-redundant-member-init)
// ComfyUI's own shape of a refusal: {"error": {type, message, details, extra_info}, "node_errors"}.
// `node_errors` is the text of a JSON object.
struct Refusal {
    int status = 400;
    std::string type;     // "plimsoll_over_budget"; a type of our own stays on the node until the
                          // next attempt, ComfyUI's own range types go when the widget is edited
    std::string message;  // shown as "message: details"
    std::string details;
    std::string node_errors = "{}";
    net::Headers headers = {};  // added to the answer
};
// One entry of node_errors: marks `input` (may be empty) of the node.
struct NodeError {
    std::string node_id;  // the key in `prompt`
    std::string class_type;
    std::string type;
    std::string message;
    std::string details;
    std::string input = {};
    std::vector<std::string> dependent_outputs = {};
};
// The text of a `node_errors` object in ComfyUI's spelling; entries of one node are put together.
[[nodiscard]] std::string encode_node_errors(const std::vector<NodeError>& errors);

// What becomes of a prompt:
struct Forward {
    std::optional<std::string> body = {};  // nullopt: the client's bytes, untouched
    net::Headers answer_headers = {};      // added to ComfyUI's answer; lists the edits
    // A JSON object that takes the place of an empty `node_errors` in ComfyUI's 200 answer: marks
    // nodes without stopping the job. "" or "{}": nothing.
    std::string node_errors = {};
};
struct Hold {
    std::string prompt_id;     // the client's, or a new lower-case UUID
    std::string number = "0";  // the JSON text that the client reads: "3", "-2", "7.0"
    net::Headers answer_headers = {};
    std::string node_errors = "{}";
};
// NOLINTEND(readability-redundant-member-init)
using PromptDecision = std::variant<Forward, Hold, Refusal>;

// One POST /prompt on its way to the hook.
class PromptCall {
  public:
    explicit PromptCall(ClientRequest request) : request_(std::move(request)) {}
    PromptCall(const PromptCall&) = delete;
    PromptCall& operator=(const PromptCall&) = delete;

    [[nodiscard]] const ClientRequest& request() const { return request_; }
    // The fields of the body; parsed when first asked for. Corrupt where it is no JSON (also where
    // it is packed with Content-Encoding), InvalidInput where it is no object.
    [[nodiscard]] const Result<PromptBody>& body();

    // The hook makes something lasting of this prompt (it will answer Hold or Refusal after it
    // wrote). True: the prompt is the hook's, the deadline no longer counts, and a throw afterwards
    // means "nothing was kept" and forwards it. False: too late, it has been forwarded already; the
    // decision will not be looked at, so nothing may be kept.
    [[nodiscard]] bool take() {
        State expected = State::Open;
        return state_.compare_exchange_strong(expected, State::Taken) || expected == State::Taken;
    }
    // The gateway gives up waiting. True: it may forward; a take from now on fails.
    [[nodiscard]] bool give_up() {
        State expected = State::Open;
        return state_.compare_exchange_strong(expected, State::Late);
    }
    [[nodiscard]] bool is_late() const { return state_ == State::Late; }

  private:
    enum class State : std::uint8_t { Open, Taken, Late };
    ClientRequest request_;
    std::atomic<State> state_ = State::Open;
    std::once_flag parsed_;
    std::optional<Result<PromptBody>> body_;
};

// A WebSocket message as ComfyUI sent it to one client.
struct UpstreamMessage {
    std::string client_id;  // the socket's; empty until ComfyUI gave it one
    bool binary = false;
    bool whole = true;  // false: cut off at kObservedBytesMax
    std::string bytes;
};
inline constexpr std::size_t kObservedBytesMax = 4U << 20U;  // chosen: no JSON message is near it
// Heard but not yet taken by a slow observer; beyond it messages are dropped for the observer (not
// for clients) and counted.
inline constexpr std::size_t kObservedQueueBytesMax = 64U << 20U;  // chosen

// Hears what passes, after it was passed on. Never delays a client.
class GatewayObserver {
  public:
    virtual ~GatewayObserver() = default;
    virtual void on_message(const UpstreamMessage& message) { (void)message; }
    // So many messages were dropped before the next one.
    virtual void on_lost(std::uint64_t messages) { (void)messages; }
    // ComfyUI refused a connection that a client's request needed, or took one again.
    virtual void on_upstream(bool reachable, const std::string& why) { (void)reachable, (void)why; }
    // ComfyUI's answer to a prompt that was forwarded for a client: `number` is the request's.
    virtual void on_prompt_answered(std::uint64_t number, int status, const std::string& body) {
        (void)number, (void)status, (void)body;
    }
    // A client's socket opened (its id is known) or closed.
    virtual void on_client(const std::string& client_id, bool connected) {
        (void)client_id, (void)connected;
    }
};

// What the gateway lends to its hook, from attach to detach.
class HookDoor {
  public:
    virtual ~HookDoor() = default;
    // Text for all clients' sockets (`/ws`), or for that with this client id; queued behind what
    // ComfyUI sent, never inside a fragmented message. Unknown ids are no error: as in ComfyUI the
    // message is lost.
    virtual void broadcast(std::string text) = 0;
    virtual void send_to(const std::string& client_id, std::string text) = 0;
    [[nodiscard]] virtual std::vector<std::string> client_ids() const = 0;
    // Where prompts go: "http://127.0.0.1:8188".
    [[nodiscard]] virtual std::string upstream_url() const = 0;
};

class PromptHook {
  public:
    virtual ~PromptHook() = default;

    // Called once before the first request and once after the last.
    virtual void attach(HookDoor& door) { (void)door; }
    virtual void detach() {}

    // What becomes of a prompt. Within the gateway's deadline unless the call was taken.
    [[nodiscard]] virtual PromptDecision decide(PromptCall& call) = 0;

    // Whether requests of this route (never PostPrompt) are to be shown to `answer` and `amend` at
    // this moment; false costs nothing. Asked for each request.
    [[nodiscard]] virtual bool wants(Route route) const noexcept {
        (void)route;
        return false;
    }
    // An answer in ComfyUI's place, or nullopt: ask ComfyUI. The hook may act (drop held jobs) and
    // still return nullopt: then ComfyUI gets the request as it came.
    [[nodiscard]] virtual std::optional<Answer> answer(const ClientRequest& request) {
        (void)request;
        return std::nullopt;
    }
    // ComfyUI's answer, read whole (asked for unpacked: Accept-Encoding identity). nullopt: pass it
    // on as it is. When ComfyUI cannot be reached `upstream.status` is 502 and the body ours.
    [[nodiscard]] virtual std::optional<Answer> amend(const ClientRequest& request,
                                                      const Answer& upstream) {
        (void)request, (void)upstream;
        return std::nullopt;
    }

    // Whether `withholds` is to be asked at this moment.
    [[nodiscard]] virtual bool may_withhold() const noexcept { return false; }
    // Whether a text that ComfyUI sends to a client is not for its eyes: the failure of a job that
    // is tried again. Asked for the types named in is_about_a_run alone, on the thread that moves
    // all bytes: a short look. The observer hears it in any case.
    [[nodiscard]] virtual bool withholds(std::string_view text) {
        (void)text;
        return false;
    }

    // Added to `queue_remaining` of every status message that passes; only that number's digits
    // change.
    [[nodiscard]] virtual std::int64_t held_jobs() const noexcept { return 0; }
};

}  // namespace plimsoll::gateway
