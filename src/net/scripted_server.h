// SPDX-License-Identifier: Apache-2.0
//
// A small server for tests of clients: answers what the test wrote down, on a free port of this
// machine, from one thread of its own. Only tests include this.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::net {

class ScriptedServer {
  public:
    struct Request {
        std::string method;
        std::string target;
        std::string body;
    };
    struct Reply {
        int status = 200;
        std::string body;
        std::string content_type = "application/json; charset=utf-8";
        std::string raw;    // sent instead of everything else, byte for byte
        bool cut = false;   // close without an answer
        bool hang = false;  // never answer
    };
    struct SocketFrame {
        std::string bytes;
        bool binary = false;
    };
    // The frames of one WebSocket connection; then it is cut (drop) or kept open until the client
    // closes.
    struct SocketScript {
        std::vector<SocketFrame> frames;
        bool drop = false;
    };

    // `answer` is called for every HTTP request, `sockets` hands out a script for each WebSocket;
    // both from the server's thread.
    explicit ScriptedServer(std::function<Reply(const Request&)> answer,
                            std::function<SocketScript(const std::string& target)> sockets = {});
    ~ScriptedServer();
    ScriptedServer(const ScriptedServer&) = delete;
    ScriptedServer& operator=(const ScriptedServer&) = delete;

    [[nodiscard]] int port() const;
    [[nodiscard]] std::vector<Request> requests() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace plimsoll::net
