// SPDX-License-Identifier: Apache-2.0
#include "net/event_client.h"

#include "base/json.h"
#include "net/blocking_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::net {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class BeastEvents final : public EventClient {
  public:
    explicit BeastEvents(Endpoint endpoint) : endpoint_(std::move(endpoint)), stream_(io_) {
        parser_.body_limit(boost::none);  // a stream has no end; EventParser bounds each event
        parser_.header_limit(kHeaderBytesMax);
    }
    ~BeastEvents() override {
        error_code ignored;
        stream_.socket().close(ignored);
        while (reading_ && io_.run_one() > 0) {
        }  // what is outstanding refers to this object
    }
    BeastEvents(const BeastEvents&) = delete;
    BeastEvents& operator=(const BeastEvents&) = delete;

    Result<void> open(const HttpCall& call, const Patience& patience) {
        TRY_DO(connect(io_, stream_, endpoint_, patience.connect));
        auto request = request_of(endpoint_, call);
        request.set(http::field::accept, "text/event-stream");
        stream_.expires_after(patience.whole);
        error_code error =
            wait_for(io_, [&](auto done) { http::async_write(stream_, request, std::move(done)); });
        if (error) return lost(endpoint_, "sending a request", error);
        error = wait_for(io_, [&](auto done) {
            http::async_read_header(stream_, buffer_, parser_, std::move(done));
        });
        if (error) return lost(endpoint_, "waiting for events", error);
        if (parser_.get().result() != http::status::ok) return refused();
        stream_.expires_never();
        heard_ = steady_clock::now();
        return {};
    }

    Result<std::optional<ServerEvent>> next(milliseconds wait) override {
        const auto until = steady_clock::now() + wait;
        for (;;) {
            if (auto event = events_.take()) return event;
            if (ended_) return lost(endpoint_, "listening", end_);
            if (!reading_) start_read();
            io_.restart();
            while (reading_ && io_.run_one_until(until) > 0) {
            }
            if (reading_) {
                if (steady_clock::now() - heard_ > kEventSilenceMax)
                    return fail(Errc::Unavailable,
                                fmt::format("{}: nothing was heard for {} s", endpoint_.text(),
                                            kEventSilenceMax.count()));
                return std::optional<ServerEvent>();
            }
            std::string& body = parser_.get().body();
            TRY_DO(events_.feed(body));
            body.clear();
        }
    }

  private:
    void start_read() {
        reading_ = true;
        http::async_read_some(stream_, buffer_, parser_,
                              [this](const error_code& error, std::size_t) {
                                  reading_ = false;
                                  heard_ = steady_clock::now();
                                  if (!error && !parser_.is_done()) return;
                                  ended_ = true;
                                  end_ = error ? error : http::error::end_of_stream;
                              });
    }

    // What the server says with its status, where it says it as ours do.
    std::unexpected<Error> refused() {
        const int status = static_cast<int>(parser_.get().result_int());
        wait_for(io_,
                 [&](auto done) { http::async_read(stream_, buffer_, parser_, std::move(done)); });
        std::string said;
        if (const auto answer = parse_json(parser_.get().body()))
            if (const json::value* const error = find(*answer, "error"))
                said = find_string(*error, "message").value_or("");
        constexpr std::size_t kSaidMax = 300;  // chosen: three lines
        return fail(status == 401 || status == 403 ? Errc::InvalidInput : Errc::Unavailable,
                    fmt::format("{} answers {}{}{}", endpoint_.text(), status,
                                said.empty() ? "" : ": ", said.substr(0, kSaidMax)));
    }

    Endpoint endpoint_;
    asio::io_context io_{1};
    beast::tcp_stream stream_;
    beast::flat_buffer buffer_;
    http::response_parser<http::string_body> parser_;
    EventParser events_;
    steady_clock::time_point heard_;
    bool reading_ = false;
    bool ended_ = false;
    error_code end_;
};

}  // namespace

Result<void> EventParser::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (std::exchange(after_return_, false) && bytes.front() == '\n') {
            bytes.remove_prefix(1);
            continue;
        }
        const std::size_t end = bytes.find_first_of("\r\n");
        line_ += bytes.substr(0, end);
        if (line_.size() + data_.size() > kEventBytesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("an event has more than {} bytes", kEventBytesMax));
        if (end == std::string_view::npos) return {};
        after_return_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        take_line(std::exchange(line_, {}));
    }
    return {};
}

void EventParser::take_line(std::string_view line) {
    if (line.empty()) {
        if (!data_.empty()) {
            data_.pop_back();  // the last line's end
            ready_.push_back({id_, type_.empty() ? "message" : type_, std::move(data_)});
        }
        data_.clear();
        type_.clear();
        return;
    }
    const std::size_t colon = line.find(':');
    if (colon == 0) return;  // a comment
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") data_.append(value).append("\n");
    if (field == "event") type_ = value;
    if (field == "id" && !value.contains('\0')) id_ = value;
}

std::optional<ServerEvent> EventParser::take() {
    if (ready_.empty()) return std::nullopt;
    ServerEvent event = std::move(ready_.front());
    ready_.pop_front();
    return event;
}

Result<std::unique_ptr<EventClient>> EventClient::open(const Endpoint& endpoint,
                                                       const HttpCall& call,
                                                       const Patience& patience) {
    auto events = std::make_unique<BeastEvents>(endpoint);
    TRY_DO(events->open(call, patience));
    return std::unique_ptr<EventClient>(std::move(events));
}

}  // namespace plimsoll::net
