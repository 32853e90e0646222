// SPDX-License-Identifier: Apache-2.0
#include "net/scripted_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <atomic>
#include <thread>
#include <utility>

namespace plimsoll::net {

namespace {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;
}  // namespace

// One thread for each connection, all synchronous: simple enough to be trusted by a test.
struct ScriptedServer::State {
    asio::io_context io;
    asio::ip::tcp::acceptor acceptor{io, {asio::ip::make_address("127.0.0.1"), 0}};
    std::function<Reply(const Request&)> answer;
    std::function<SocketScript(const std::string&)> sockets;
    mutable std::mutex mutex;
    std::vector<Request> requests;
    std::vector<std::weak_ptr<asio::ip::tcp::socket>> open;
    std::vector<std::thread> connections;
    std::atomic<bool> stopping = false;
    std::thread accepting;

    void accept() {
        while (!stopping) {
            auto socket = std::make_shared<asio::ip::tcp::socket>(io);
            error_code error;
            acceptor.accept(*socket, error);
            if (error || stopping) return;
            const std::lock_guard lock(mutex);
            open.push_back(socket);
            connections.emplace_back([this, socket] { serve(*socket); });
        }
    }

    void serve(asio::ip::tcp::socket& socket) {
        error_code error;
        beast::flat_buffer buffer;
        http::request_parser<http::string_body> parser;
        parser.body_limit(64ULL << 20U);
        http::read(socket, buffer, parser, error);
        if (error) return;
        const auto message = parser.release();
        const Request request{std::string(message.method_string()), std::string(message.target()),
                              message.body()};
        {
            const std::lock_guard lock(mutex);
            requests.push_back(request);
        }
        if (websocket::is_upgrade(message) && sockets) return serve_socket(socket, message);
        const Reply reply = answer(request);
        if (reply.hang) {
            char byte = 0;
            socket.read_some(asio::buffer(&byte, 1),
                             error);  // until the client or the server's end closes
            return;
        }
        if (!reply.cut && !reply.raw.empty()) asio::write(socket, asio::buffer(reply.raw), error);
        if (!reply.cut && reply.raw.empty()) {
            http::response<http::string_body> response(static_cast<http::status>(reply.status), 11);
            response.set(http::field::content_type, reply.content_type);
            response.keep_alive(false);
            response.body() = reply.body;
            response.prepare_payload();
            http::write(socket, response, error);
        }
        socket.shutdown(asio::ip::tcp::socket::shutdown_both, error);
        socket.close(error);
    }

    template <class Message>
    void serve_socket(asio::ip::tcp::socket& socket, const Message& message) {
        error_code error;
        const SocketScript script = sockets(std::string(message.target()));
        websocket::stream<asio::ip::tcp::socket&> stream(socket);
        stream.accept(message, error);
        for (const SocketFrame& frame : script.frames) {
            if (error) return;
            stream.binary(frame.binary);
            stream.write(asio::buffer(frame.bytes), error);
        }
        if (script.drop) {
            socket.close(error);
            return;
        }
        beast::flat_buffer ignored;
        while (!error) stream.read(ignored, error);
    }
};

ScriptedServer::ScriptedServer(std::function<Reply(const Request&)> answer,
                               std::function<SocketScript(const std::string&)> sockets)
    : state_(std::make_unique<State>()) {
    state_->answer = std::move(answer);
    state_->sockets = std::move(sockets);
    state_->accepting = std::thread([state = state_.get()] { state->accept(); });
}

ScriptedServer::~ScriptedServer() {
    state_->stopping = true;
    error_code ignored;
    // Wakes the accepting thread: closing an acceptor does not end a blocking accept.
    asio::ip::tcp::socket wake(state_->io);
    wake.connect(state_->acceptor.local_endpoint(), ignored);
    state_->accepting.join();
    for (const auto& weak : state_->open)
        if (const auto socket = weak.lock())
            socket->shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    for (std::thread& connection : state_->connections) connection.join();
}

int ScriptedServer::port() const {
    return state_->acceptor.local_endpoint().port();
}

std::vector<ScriptedServer::Request> ScriptedServer::requests() const {
    const std::lock_guard lock(state_->mutex);
    return state_->requests;
}

}  // namespace plimsoll::net
