// SPDX-License-Identifier: Apache-2.0
//
// Plays recorded exchanges again and compares: every recorded request is sent again, in the
// recorded order, to a simulator, straight or through what stands in front of it; status, headers,
// bodies and the messages of every socket are compared (transcript.h says what cannot be).
// Simulated time passes only while the client waits for a message that had been seen in the
// recording by then, so a request meets the same moment of a job on a machine of any speed. For
// tests.
//
// Threads: no shared state.
#pragma once
#include "simulator/replay/transcript.h"
#include "simulator/replay/wire_client.h"
#include "simulator/simulated_comfyui.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <thread>

namespace plimsoll::simulator {

using std::chrono::milliseconds;

// In these, what a socket sees depends on when a request came: runs of steps and of equal queue
// lengths count as one, and queue lengths are compared apart from the rest.
inline const std::set<std::string> kTiming{
    "interrupt_sampling", "interrupt_with_previews", "queue_priority_clear", "reconnect_mid_run",
    "ws_protocol",        "queue_delete_pending",    "oom_with_pending"};

constexpr double kTimeSliceS = 0.1;  // simulated; chosen: short beside the recorded jobs

struct Message {
    enum class Kind { Status, Step, Other } kind = Kind::Other;
    std::string text;  // JSON, or a description of a binary frame
};

inline Message describe_text(const std::string& text) {
    const auto parsed = parse_python_json(text);
    const std::string type = parsed ? text_field(*parsed, "type") : "";
    Message message{Message::Kind::Other, text};
    if (type == "status" && parsed->get("data")->get("sid") == nullptr)
        message.kind = Message::Kind::Status;
    if (type == "progress") message.kind = Message::Kind::Step;
    if (type == "progress_state") {
        const Dict& nodes = *parsed->get("data")->get("nodes")->as_dict();
        const Value& last = (nodes.end() - 1)->second;
        if (text_field(last, "state") == "running" && last.get("value")->as_int() != nullptr)
            message.kind = Message::Kind::Step;
    }
    return message;
}

inline std::string_view picture_kind(std::string_view bytes) {
    if (bytes.starts_with("\x89PNG")) return "png";
    return bytes.starts_with("\xFF\xD8\xFF") ? "jpeg" : "?";
}

inline std::uint32_t big_endian(std::string_view bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4 && i < bytes.size(); ++i)
        value = value << 8U | static_cast<unsigned char>(bytes[i]);
    return value;
}

inline Message describe_binary(std::string_view bytes) {
    const std::uint32_t event = big_endian(bytes);
    Message message{Message::Kind::Other, fmt::format("binary {} ", event)};
    if (event == 1) {
        message.text +=
            fmt::format("format {} {}", big_endian(bytes.substr(4)), picture_kind(bytes.substr(8)));
        if (big_endian(bytes.substr(4)) == 1) message.kind = Message::Kind::Step;
    } else if (event == 4) {
        const std::uint32_t length = big_endian(bytes.substr(4));
        message.text += std::string(bytes.substr(8, length)) + " ";
        message.text += picture_kind(bytes.substr(8 + length));
        if (picture_kind(bytes.substr(8 + length)) == "jpeg") message.kind = Message::Kind::Step;
    } else {
        message.text += bytes.substr(4);
    }
    return message;
}

inline Message describe_recorded(const Value& line) {
    if (text_field(line, "kind") == "ws_text") return describe_text(text_field(line, "text"));
    const auto head = from_hex(text_field(line, "head_hex"));
    std::string bytes(head.begin(), head.end());
    // Only the first bytes of a picture are kept: the metadata is given apart.
    if (const Value* const meta = line.get("meta")) {
        const bool png = meta->as_str()->contains("image/png");
        return {png ? Message::Kind::Other : Message::Kind::Step,
                "binary 4 " + *meta->as_str() + (png ? " png" : " jpeg")};
    }
    return describe_binary(bytes);
}

// What is compared of a socket's messages.
inline std::vector<std::string> digest(const std::vector<Message>& messages, const IdMap& ids,
                                       bool timing) {
    std::vector<std::string> others;
    std::vector<std::string> statuses;
    for (const Message& message : messages) {
        std::string text = normalize_text(replace_ids(message.text, ids));
        if (const auto brace = text.find('{'); text.starts_with("binary 4") && brace == 9) {
            const auto end = text.rfind('}');
            text = "binary 4 " + normalize_text(text.substr(9, end - 8)) + text.substr(end + 1);
        }
        if (!timing) {
            others.push_back(text);
        } else if (message.kind == Message::Kind::Status) {
            if (statuses.empty() || statuses.back() != text) statuses.push_back(text);
        } else if (message.kind == Message::Kind::Step) {
            if (others.empty() || others.back() != "(steps)") others.emplace_back("(steps)");
        } else {
            others.push_back(text);
        }
    }
    others.insert(others.end(), statuses.begin(), statuses.end());
    return others;
}

class Replay {
  public:
    // `ids` are those of all scenarios of one server. `front`: the port of a proxy before it, which
    // does not negotiate permessage-deflate; 0: there is none.
    Replay(std::string scenario, SimulatedComfyUi& simulator, IdMap& ids, int front = 0)
        : scenario_(std::move(scenario)),
          simulator_(simulator),
          port_(front == 0 ? simulator.port() : front),
          through_proxy_(front != 0),
          timing_(kTiming.contains(scenario_)),
          ids_(ids) {}

    void play() {
        const auto lines = read_transcript(
            fmt::format("{}/simulator/transcripts/{}.jsonl.gz", PLIMSOLL_TEST_DATA, scenario_));
        ASSERT_FALSE(lines.empty()) << scenario_;
        std::map<std::string, const Value*> answers;
        for (const Value& line : lines)
            if (text_field(line, "kind") == "http_response")
                answers[python_str(*line.get("id"))] = &line;
        for (const Value& line : lines) {
            const std::string kind = text_field(line, "kind");
            if (kind == "ws_text" || kind == "ws_binary") {
                sockets_[text_field(line, "socket")].recorded.push_back(describe_recorded(line));
                continue;
            }
            if (kind == "ws_pong") {
                sockets_[text_field(line, "socket")].pongs.push_back(text_field(line, "text"));
                continue;
            }
            if (kind == "meta" || kind == "http_response" || kind == "ws_opened") continue;
            catch_up();
            if (kind == "http_request") exchange(line, *answers.at(python_str(*line.get("id"))));
            if (kind == "ws_open") open(line, lines);
            if (kind == "ws_send")
                sockets_[text_field(line, "socket")].wire->send(1, text_field(line, "text"));
            if (kind == "ws_ping")
                sockets_[text_field(line, "socket")].wire->send(9, text_field(line, "text"));
            if (kind == "ws_client_close") close(text_field(line, "socket"));
        }
        wait_idle();
    }

  private:
    struct Socket {
        std::unique_ptr<WireSocket> wire;
        std::vector<Message> recorded;
        std::vector<Message> seen;
        std::vector<std::string> pongs;
    };

    void listen(Socket& socket, milliseconds wait) {
        if (!socket.wire) return;
        simulator_.grant_time(kTimeSliceS);
        const auto frame = socket.wire->read(wait);
        if (!frame) return;
        if (frame->opcode == 1) socket.seen.push_back(describe_text(frame->bytes));
        if (frame->opcode == 2) socket.seen.push_back(describe_binary(frame->bytes));
        if (frame->opcode == 10) {
            EXPECT_FALSE(socket.pongs.empty()) << scenario_;
            if (!socket.pongs.empty()) EXPECT_EQ(frame->bytes, socket.pongs.front());
        }
    }

    // Until every socket has seen what it had seen in the recording by now.
    void catch_up() {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        for (auto& [name, socket] : sockets_)
            while (socket.wire &&
                   digest(socket.seen, {}, timing_).size() <
                       digest(socket.recorded, {}, timing_).size() &&
                   std::chrono::steady_clock::now() < until)
                listen(socket, milliseconds(20));
    }

    void wait_idle() const {
        for (int i = 0; i < 2000; ++i) {
            simulator_.grant_time(kTimeSliceS);
            WireConnection connection(port_);
            connection.send("GET /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            const auto answer = connection.read_answer(false);
            if (answer && answer->body.contains("\"queue_remaining\": 0")) return;
            std::this_thread::sleep_for(milliseconds(5));
        }
        ADD_FAILURE() << scenario_ << ": the queue never became empty";
    }

    void open(const Value& line, const std::vector<Value>& lines) {
        const std::string name = text_field(line, "socket");
        net::Headers extra;
        const Value* outcome = nullptr;
        for (const Value& other : lines) {
            const std::string kind = text_field(other, "kind");
            if ((kind == "ws_opened" || kind == "ws_refused") &&
                text_field(other, "socket") == name)
                outcome = &other;
        }
        ASSERT_NE(outcome, nullptr);
        for (const net::Header& header : headers_field(*outcome, "request_headers"))
            if (header.name.starts_with("Sec-WebSocket-Ext")) extra.push_back(header);
        const bool refused = text_field(*outcome, "kind") == "ws_refused";
        // Why it was refused is not in the recording but in its name.
        if (refused) extra.push_back({"Origin", "http://evil.example"});
        auto wire = std::make_unique<WireSocket>(port_, text_field(line, "target"), extra);
        auto recorded = headers_field(*outcome, refused ? "headers" : "response_headers");
        if (through_proxy_)
            std::erase_if(recorded, [](const net::Header& header) {
                return header.name == "Sec-WebSocket-Extensions";
            });
        EXPECT_EQ(static_cast<Int>(wire->handshake.status), *outcome->get("status")->as_int())
            << scenario_ << " " << name;
        compare_headers(scenario_ + " " + name, recorded, wire->handshake.headers, false);
        if (!refused) sockets_[name].wire = std::move(wire);
    }

    void close(const std::string& name) {
        Socket& socket = sockets_[name];
        catch_up();
        listen(socket, milliseconds(20));
        while (socket.wire->read(milliseconds(0))) {
        }
        socket.wire.reset();
        const auto recorded = digest(socket.recorded, ids_, timing_);
        const auto seen = digest(socket.seen, {}, timing_);
        for (std::size_t i = 0; i < std::max(recorded.size(), seen.size()); ++i) {
            const std::string want = i < recorded.size() ? recorded[i] : "(nothing)";
            const std::string got = i < seen.size() ? seen[i] : "(nothing)";
            EXPECT_EQ(want, got) << scenario_ << " socket " << name << " message " << i;
            if (want != got) return;
        }
    }

    void exchange(const Value& request, const Value& recorded) {
        const std::string method = text_field(request, "method");
        std::string target = replace_ids(text_field(request, "target"), ids_);
        if (const auto at = target.find("ComfyUI_temp_"); at != std::string::npos)
            target.replace(at, 18, our_temp_prefix());
        std::string body;
        if (const Value* const given = request.get("body"); given != nullptr && given->as_dict()) {
            const auto length = static_cast<std::size_t>(given->get("len")->number().value_or(0));
            if (given->get("text") != nullptr)
                body = replace_ids(*given->get("text")->as_str(), ids_);
            else if (given->get("b64") != nullptr)
                body = from_base64(*given->get("b64")->as_str());
            else
                body.assign(length,
                            static_cast<char>(from_hex(*given->get("head_hex")->as_str()).front()));
        }
        std::string head =
            fmt::format("{} {} {}\r\n", method, target, text_field(request, "version"));
        for (const net::Header& header : headers_field(request, "headers")) {
            std::string value = header.value;
            for (const auto* const port : {":18700", ":18710"})
                if (const auto at = value.find(port); at != std::string::npos)
                    value.replace(at, 6, fmt::format(":{}", port_));
            if (const auto known = values_.find(value); known != values_.end())
                value = known->second;
            if (header.name == "Content-Length") value = fmt::format("{}", body.size());
            head += fmt::format("{}: {}\r\n", header.name, value);
        }
        WireConnection connection(port_);
        connection.send(head + "\r\n" + body);
        const auto answer = connection.read_answer(method == "HEAD");
        const std::string where =
            fmt::format("{} #{} {} {}", scenario_, python_str(*request.get("id")), method,
                        target.substr(0, 80));
        ASSERT_TRUE(answer) << where;
        compare(where, target, recorded, *answer);
    }

    void compare(const std::string& where, const std::string& target, const Value& recorded,
                 const WireAnswer& answer) {
        EXPECT_EQ(static_cast<Int>(answer.status), *recorded.get("status")->as_int()) << where;
        EXPECT_EQ(answer.reason, text_field(recorded, "reason")) << where;
        EXPECT_EQ(answer.version, text_field(recorded, "version")) << where;
        const net::Headers headers = headers_field(recorded, "headers");
        const Value* const body = recorded.get("body");
        const Value* const text_value = body == nullptr ? nullptr : body->get("text");
        const std::string text = text_value == nullptr ? "" : *text_value->as_str();
        learn_id(text, answer.body);
        const auto length = static_cast<Int>(
            std::stoll("0" + std::string(net::header_value(headers, "Content-Length"))));
        // Where texts were left out of the recording its length says nothing.
        const bool same_length =
            length == static_cast<Int>(text.size()) && answer.body == replace_ids(text, ids_);
        compare_headers(where, headers, answer.headers, same_length);
        // Logs are the server's own; long texts were not kept.
        if (target.starts_with("/internal/logs") || text == "\"(long)\"") return;
        if (text_value != nullptr) {
            const auto ours = parse_python_json(answer.body);
            if (ours && !answer.body.empty())
                EXPECT_EQ(dump_python_json(*ours), answer.body) << where << ": not Python's style";
            EXPECT_EQ(normalize_text(replace_ids(text, ids_)), normalize_text(answer.body))
                << where;
        } else {
            EXPECT_FALSE(answer.body.empty()) << where;
        }
    }

    // "ComfyUI_temp_abcde", as this server says it.
    [[nodiscard]] std::string our_temp_prefix() const {
        for (const auto& [name, socket] : sockets_)
            for (const Message& message : socket.seen)
                if (const auto at = message.text.find("ComfyUI_temp_"); at != std::string::npos)
                    return message.text.substr(at, 18);
        return "ComfyUI_temp_?????";
    }

    void learn_id(const std::string& recorded, const std::string& ours) {
        const auto a = parse_python_json(recorded);
        const auto b = parse_python_json(ours);
        if (!a || !b || a->get("prompt_id") == nullptr || b->get("prompt_id") == nullptr) return;
        const std::string from = text_field(*a, "prompt_id");
        if (from.size() == 36) ids_[from] = text_field(*b, "prompt_id");
    }

    void compare_headers(const std::string& where, const net::Headers& recorded,
                         const net::Headers& ours, bool same_length) {
        std::string want;
        std::string got;
        const std::set<std::string> moving{"Date", "Etag", "Last-Modified", "Content-Range",
                                           "Sec-WebSocket-Accept"};
        const auto show = [&](const net::Header& header) {
            const bool free =
                moving.contains(header.name) || (header.name == "Content-Length" && !same_length);
            return header.name + (free ? "\n" : ": " + header.value + "\n");
        };
        for (const net::Header& header : recorded) want += show(header);
        for (const net::Header& header : ours) got += show(header);
        want = normalize_text(want);
        got = normalize_text(got);
        EXPECT_EQ(want, got) << where;
        for (std::size_t i = 0; i < std::min(recorded.size(), ours.size()); ++i)
            if (recorded[i].name == "Etag" || recorded[i].name == "Last-Modified")
                values_[recorded[i].value] = ours[i].value;
    }

    std::string scenario_;
    SimulatedComfyUi& simulator_;
    int port_;
    bool through_proxy_;
    bool timing_;
    std::map<std::string, Socket> sockets_;
    IdMap& ids_;
    std::map<std::string, std::string> values_;  // recorded header values against ours
};

inline std::unique_ptr<SimulatedComfyUi> start_recorded_server(const std::string& flags) {
    SimulatorOptions options;
    options.flags = flags;
    options.only_recorded_models = true;
    options.speed = 10;
    return SimulatedComfyUi::start(options).value();
}

// `front_of` says what stands in front of the simulator (0: nothing) once that has a port.
using FrontOf = std::function<int(int port)>;

inline void replay_server_without_previews(const FrontOf& front_of) {
    const auto simulator = start_recorded_server("--cpu --force-fp32");
    const int front = front_of(simulator->port());
    IdMap ids;
    for (const auto* const scenario :
         {"txt2img", "txt2img_cached", "txt2img_seed_changed", "img2img", "hires_fix", "batch2",
          "vae_decode_tiled", "preview_and_websocket_image", "queue_delete_pending",
          "queue_priority_clear", "interrupt_sampling", "no_client_id", "ws_protocol",
          "validation_failures", "http_endpoints", "view", "http_errors", "free_and_history",
          "full_sd15_layout"})
        Replay(scenario, *simulator, ids, front).play();
}

inline void replay_server_with_previews(const FrontOf& front_of) {
    const auto simulator =
        start_recorded_server("--cpu --force-fp32 --preview-method latent2rgb --max-upload-size 1");
    const int front = front_of(simulator->port());
    // Six prompts had run before the first recording, the last of them the default one.
    const auto lines = read_transcript(std::string(PLIMSOLL_TEST_DATA) +
                                       "/simulator/transcripts/txt2img_cached.jsonl.gz");
    for (int i = 0; i < 6; ++i)
        for (const Value& line : lines) {
            if (text_field(line, "kind") != "http_request" || text_field(line, "method") != "POST")
                continue;
            std::string body = *line.get("body")->get("text")->as_str();
            if (i < 5)
                body.replace(body.find("\"seed\": 1"), 9, fmt::format("\"seed\": {}", 90 + i));
            WireConnection connection(simulator->port());
            connection.send(
                fmt::format("POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
                            body.size(), body));
            ASSERT_TRUE(connection.read_answer(false));
        }
    for (int i = 0; i < 4000; ++i) {
        WireConnection connection(simulator->port());
        connection.send("GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n");
        if (connection.read_answer(false)->body.contains(": 0}")) break;
        std::this_thread::sleep_for(milliseconds(5));
    }
    IdMap ids;
    for (const auto* const scenario :
         {"node_exceptions", "oom_with_pending", "interrupt_nonpolling", "interrupt_with_previews",
          "reconnect_mid_run", "too_large", "preview_type4", "preview_type1",
          "preview_no_client_id", "preview_ws_image_text"})
        Replay(scenario, *simulator, ids, front).play();
}

}  // namespace plimsoll::simulator
