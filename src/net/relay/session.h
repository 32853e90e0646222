// SPDX-License-Identifier: Apache-2.0
//
// One client's connection through the relay: a request, its answer, the next request; or, after an
// upgrade, a tunnel. Private to net.
//
//   Head ──> Passing ──────────────────────────────> Head
//     │  └─> Reading ─> Deciding ─> Passing ─> (Deciding) ─┘
//     └────> Passing ─> Tunnel ─> Orphan
//   anything ──> Lingering ──> Closed
//
// Threads: that of the loop, but for what RelayCall says.
#pragma once
#include "net/relay/body_scanner.h"
#include "net/relay/frame_tap.h"
#include "net/relay/http_head.h"
#include "net/relay/relay.h"
#include "net/relay/tcp_socket.h"
#include "net/relay/upstream_pool.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace plimsoll::net {

class Session;

// What all sessions of a relay share; outlives them.
struct RelayCore {
    RelayOptions options;
    RelayPolicy* policy = nullptr;  // never null while it runs
    std::unique_ptr<EventLoop> loop;
    std::unique_ptr<UpstreamPool> pool;
    std::unordered_map<Session*, std::shared_ptr<Session>> sessions;
    std::unordered_map<TunnelId, Session*> tunnels;
    std::unordered_map<std::string, Session*> tunnel_of_key;  // the newest
    std::vector<char> scratch;  // what was read last, until it is passed on
    std::string text;           // a head while it is put together
    RequestView request;        // reused, see parse_request
    ResponseView response;
    std::uint64_t requests = 0;
    std::size_t whole_bytes = 0;  // kept of requests and answers that are read whole, all together
    bool stopping = false;
    bool reachable = true;

    void tell_upstream(bool is_reachable, const std::string& why);
};

class Session final : public TcpSocket::Owner, public std::enable_shared_from_this<Session> {
  public:
    explicit Session(RelayCore& core) : core_(core) {}
    ~Session() override;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void begin(std::shared_ptr<TcpSocket> client);
    void on_socket(TcpSocket& socket) override;
    void sweep();  // looks at the deadlines
    void end_politely();
    // The server is another one now: a WebSocket to the former is told goodbye.
    void leave_former_server();
    void close();

    // Of RelayCall; `exchange` says which request was meant.
    void forward(std::uint64_t exchange, ForwardWish wish, bool has_body);
    void answer_call(std::uint64_t exchange, RelayAnswer answer);
    void pass_answer(std::uint64_t exchange);

    void inject(const std::string& text);
    void set_key(std::string key);
    [[nodiscard]] TunnelId tunnel_id() const { return tunnel_id_; }

  private:
    friend class Call;
    enum class Phase : std::uint8_t {
        Head,       // waits for a request
        Reading,    // its body is kept for the policy
        Deciding,   // the policy has it
        Passing,    // it passes to the server, the answer to the client
        Tunnel,     // both directions pass
        Orphan,     // another socket has this one's key: nothing will come any more
        Lingering,  // the last words are said
        Closed,
    };
    // Of the request in progress.
    struct Exchange {
        std::uint64_t number = 0;
        std::string method;
        std::string target;
        bool is_head = false;
        bool repeatable = false;  // may be sent twice
        bool old = false;         // HTTP/1.0
        bool websocket = false;
        bool close = false;  // the client's connection ends with the answer
        bool has_body = false;
        bool awaits_100 = false;  // the client sends its body after 100 Continue
    };

    // session.cpp: the client's side
    void pump();
    bool read_head();
    void begin_exchange(const RequestView& request, std::string_view head);
    [[nodiscard]] std::string_view next_bytes();
    void keep_rest(std::string_view rest);
    // So many bytes more are kept for this exchange, until it ends.
    void charge(std::size_t bytes);
    void discharge();
    [[nodiscard]] bool is_overcharged() const;

    // session_policy.cpp: what the policy looks at
    bool read_whole();
    void hand_over();

    // session_end.cpp
    void refuse(const HeadFault& fault);
    void say(const RelayAnswer& answer);
    void finish_exchange();
    void linger();
    bool drain();

    // session_upstream.cpp: the server's side
    void begin_upstream();
    void try_connect();
    void connect_failed(const std::string& why);
    void send_request();
    bool move_body();
    bool move_answer();
    // What came of the answer.
    void take_answer(std::string_view bytes);
    enum class Head : std::uint8_t { More, Interim, Final, Over };
    [[nodiscard]] Head take_answer_head(std::string_view& bytes);
    void begin_answer(const ResponseView& response, std::string_view start);
    void take_answer_body(std::string_view bytes);
    void collect(std::string_view bytes);
    void answer_ended();
    void answer_complete(std::size_t unused_bytes);
    void rest_leg(std::size_t unused_bytes);
    void show_answer(RelayAnswer answer);
    void unreachable(int status, const std::string& why);
    void drop_leg();

    // session_tunnel.cpp
    void await_turn();
    void begin_tunnel();
    [[nodiscard]] FrameTap::Listener hear_client();
    [[nodiscard]] FrameTap::Listener hear_server();
    bool pass_to_server();
    bool pass_to_client();
    void give_way();  // becomes an orphan
    bool serve_orphan();
    void leave_tunnel();
    void let_successors_go();

    [[nodiscard]] bool is_over() const { return phase_ == Phase::Closed; }
    void touch() { touched_ = core_.loop->now(); }

    RelayCore& core_;
    std::shared_ptr<TcpSocket> client_;
    std::shared_ptr<TcpSocket> leg_;  // to the server
    Phase phase_ = Phase::Head;
    std::chrono::nanoseconds touched_{0};     // the last progress
    std::chrono::nanoseconds head_began_{0};  // 0: none of it is here
    std::string in_;                          // of the client, not used yet
    Exchange exchange_;

    std::string request_head_;  // as it goes to the server; kept while it may be sent again
    BodyScanner request_body_;
    std::string kept_;  // the head, then the body as it came, of a request that is read whole
    std::size_t kept_head_ = 0;
    std::size_t charged_ = 0;  // of RelayCore::whole_bytes
    std::string new_body_;     // what goes to the server in place of the client's body
    std::shared_ptr<RelayCall> call_;
    ForwardWish wish_;

    std::uint64_t leg_era_ = 0;   // of the pool, when it was taken or made
    bool leg_is_used_ = false;    // it served a request before
    bool request_sent_ = false;   // its head has left
    bool upload_broken_ = false;  // the server takes no more of the body
    std::size_t connect_tries_ = 0;
    std::chrono::nanoseconds connect_began_{0};
    std::string answer_head_in_;  // of the server, incomplete
    bool answer_begun_ = false;   // its head is complete
    bool answer_sent_ = false;    // something of it has gone to the client
    bool answer_done_ = false;    // all of it has, while the request is still coming
    bool answer_keeps_ = false;   // the server's connection may serve again
    BodyScanner answer_body_;
    bool collecting_ = false;  // the answer is read whole
    std::string collected_;    // head for the client, then the body as it came
    std::size_t collected_head_ = 0;
    RelayAnswer shown_;  // what the policy sees of it

    TunnelId tunnel_id_ = 0;
    std::string key_;
    bool listens_ = false;
    std::unique_ptr<FrameTap> to_server_;
    std::unique_ptr<FrameTap> to_client_;
    std::string room_;
    std::chrono::nanoseconds full_since_{0};  // too much waits for the client; 0: it does not
    std::vector<std::weak_ptr<Session>> successors_;  // wait for this one's leg to end
    std::weak_ptr<Session> predecessor_;              // whose end this one waits for
    std::uint64_t client_taken_ = 0;                  // bytes, when it last took some
    std::chrono::nanoseconds taken_at_{0};            // when that was, or when it had all
};

}  // namespace plimsoll::net
