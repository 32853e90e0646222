// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/client.h"

#include "base/say.h"
#include "base/text.h"
#include "net/http_message.h"
#include "service/comfyui/output_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

namespace plimsoll::service {

namespace {

using std::chrono::milliseconds;

// /object_info of one node is quick, but its first call may wait for a long list of files on a slow
// disk.
constexpr net::Patience kPatience{};
// Reading statistics happens while a job runs: a missing sample is better than a stalled progress
// bar.
constexpr net::Patience kStatsPatience{
    .connect = milliseconds(2000), .whole = milliseconds(5000), .body_bytes_max = 4ULL << 20U};
// ComfyUI looks at every model folder for it, and answers some 30 MB with hundreds of node packs.
constexpr net::Patience kObjectInfoPatience{
    .connect = milliseconds(3000), .whole = milliseconds(60'000), .body_bytes_max = 256ULL << 20U};
// Somebody waits with a finger on Ctrl-C.
constexpr net::Patience kCancelPatience{
    .connect = milliseconds(2000), .whole = milliseconds(5000), .body_bytes_max = 4ULL << 20U};
constexpr net::Patience kImagePatience{
    .connect = milliseconds(3000), .whole = milliseconds(300'000), .body_bytes_max = 512ULL << 20U};

// The way out for a server that cannot be reached, on top of what the network said.
Error with_way_out(Error error) {
    if (error.code == Errc::Unavailable)
        error.message += ": is ComfyUI running? its address is COMFYUI_SERVER_URL and COMFYUI_PORT";
    return error;
}

// Chosen: what a server without ranges may send besides.
constexpr std::uint64_t kPieceSlack = 16ULL << 20U;

std::string view_target(const ImageRef& file) {
    return fmt::format("/view?filename={}&subfolder={}&type={}",
                       net::encode_component(file.filename), net::encode_component(file.subfolder),
                       net::encode_component(file.type));
}

// Of "bytes 0-99/1234".
std::optional<std::uint64_t> size_of_range(std::string_view content_range) {
    const auto slash = content_range.rfind('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto size = parse_integer(content_range.substr(slash + 1));
    return size && *size >= 0 ? std::optional(static_cast<std::uint64_t>(*size)) : std::nullopt;
}

net::HttpCall get_call(std::string target) {
    net::HttpCall call;
    call.target = std::move(target);
    return call;
}

net::HttpCall post_call(std::string target, std::string body) {
    net::HttpCall call = get_call(std::move(target));
    call.method = "POST";
    call.body = std::move(body);
    return call;
}

class Events final : public EventStream {
  public:
    Events(std::unique_ptr<net::ClientSocket> socket, std::string prompt_id)
        : socket_(std::move(socket)), prompt_id_(std::move(prompt_id)) {}

    Result<std::optional<Message>> next(milliseconds wait) override {
        // The socket looks at the network only while it waits.
        TRY_ASSIGN(const auto message, socket_->read(std::max(wait, milliseconds(1))));
        if (!message) return std::optional<Message>();
        if (message->binary)
            return std::optional<Message>(
                parse_binary_message(std::as_bytes(std::span(message->bytes))));
        return std::optional<Message>(parse_message(message->bytes, prompt_id_));
    }
    void close() override { socket_->close(); }

  private:
    std::unique_ptr<net::ClientSocket> socket_;
    std::string prompt_id_;
};

}  // namespace

Result<std::unique_ptr<ComfyClient>> ComfyClient::create(const Config& config) {
    TRY_ASSIGN(net::Endpoint endpoint, net::parse_endpoint(config.base_url()));
    return std::unique_ptr<ComfyClient>(new ComfyClient(std::move(endpoint)));
}

Result<std::string> ComfyClient::get(const std::string& target, const net::Patience& patience) {
    auto reply = net::call_http(endpoint_, get_call(target), patience);
    if (!reply) return std::unexpected(with_way_out(std::move(reply).error()));
    if (reply->status == 404)
        return fail(Errc::NotFound, say<"error.comfyui_lacks">(address(), target));
    if (reply->status != 200)
        return fail(Errc::Unavailable,
                    say<"error.comfyui_answers">(address(), reply->status,
                                                 target.substr(0, target.find('?'))));
    return std::move(reply->body);
}

Result<void> ComfyClient::post(const std::string& target, std::string body,
                               const net::Patience& patience) {
    auto reply = net::call_http(endpoint_, post_call(target, std::move(body)), patience);
    if (!reply) return std::unexpected(with_way_out(std::move(reply).error()));
    if (reply->status != 200)
        return fail(Errc::Unavailable,
                    say<"error.comfyui_answers">(address(), reply->status, target));
    return {};
}

Result<ServerStats> ComfyClient::read_stats() {
    TRY_ASSIGN(const std::string body, get("/system_stats", kStatsPatience));
    return parse_system_stats(body);
}

Result<std::vector<std::string>> ComfyClient::list_models(std::string_view folder) {
    const std::string target = "/models/" + net::encode_component(folder);
    TRY_ASSIGN(const std::string body, get(target));
    return parse_names(body, target);
}

Result<std::vector<std::string>> ComfyClient::list_choices(std::string_view class_type,
                                                           std::string_view input) {
    TRY_ASSIGN(const std::string body, get("/object_info/" + net::encode_component(class_type)));
    return parse_choices(body, class_type, input);
}

Result<std::string> ComfyClient::read_object_info() {
    return get("/object_info", kObjectInfoPatience);
}

Result<void> ComfyClient::submit(std::string_view workflow, const std::string& prompt_id,
                                 const std::string& client_id) {
    // The workflow's own bytes go out: a parser between would change its numbers.
    std::string body = fmt::format(R"({{"client_id": "{}", "prompt_id": "{}", "prompt": {}}})",
                                   client_id, prompt_id, workflow);
    auto reply = net::call_http(endpoint_, post_call("/prompt", std::move(body)), kPatience);
    if (!reply) return std::unexpected(with_way_out(std::move(reply).error()));
    if (reply->status != 200) return std::unexpected(parse_refusal(reply->status, reply->body));
    TRY_ASSIGN(const json::value answer, parse_answer(reply->body, "POST /prompt"));
    const auto given = find_string(answer, "prompt_id");
    if (given != prompt_id)
        return fail(
            Errc::Unavailable,
            fmt::format(
                "{} gave the job another id than asked for: update ComfyUI to 0.3.64 or later",
                address()));
    return {};
}

Result<PromptReply> ComfyClient::post_prompt(std::string_view body) {
    auto reply = net::call_http(endpoint_, post_call("/prompt", std::string(body)), kPatience);
    if (!reply) return std::unexpected(with_way_out(std::move(reply).error()));
    return PromptReply{.status = reply->status, .body = std::move(reply->body)};
}

Result<std::unique_ptr<EventStream>> ComfyClient::open_events(const std::string& client_id,
                                                              const std::string& prompt_id) {
    TRY_ASSIGN(auto socket,
               net::ClientSocket::open(
                   endpoint_, "/ws?clientId=" + net::encode_component(client_id), kPatience));
    return std::make_unique<Events>(std::move(socket), prompt_id);
}

Result<JobRecord> ComfyClient::read_job(const std::string& prompt_id) {
    TRY_ASSIGN(const std::string queue, get("/queue"));
    TRY_ASSIGN(const JobState state, parse_queue(queue, prompt_id));
    if (state != JobState::Unknown)
        return JobRecord{.state = state, .images = {}, .error = std::nullopt};
    TRY_ASSIGN(const std::string history, get("/history/" + net::encode_component(prompt_id)));
    return parse_history(history, prompt_id);
}

Result<void> ComfyClient::cancel(const std::string& prompt_id) {
    TRY_DO(post("/queue", fmt::format(R"({{"delete": ["{}"]}})", prompt_id), kCancelPatience));
    return post("/interrupt", fmt::format(R"({{"prompt_id": "{}"}})", prompt_id), kCancelPatience);
}

Result<void> ComfyClient::free_models() {
    return post("/free", R"({"unload_models": true, "free_memory": true})");
}

Result<void> ComfyClient::unload_models() {
    return post("/free", R"({"unload_models": true})");
}

Result<std::string> ComfyClient::download(const ImageRef& image) {
    return get(view_target(image), kImagePatience);
}

Result<std::vector<std::string>> ComfyClient::list_output_files() {
    const std::string target = "/internal/files/output";
    TRY_ASSIGN(const std::string body, get(target));
    return parse_names(body, target);
}

Result<FilePiece> ComfyClient::read_piece(const ImageRef& file, std::uint64_t begin,
                                          std::uint64_t count) {
    const std::string target = view_target(file);
    net::HttpCall call = get_call(target);
    call.range = fmt::format("bytes={}-{}", begin, begin + count - 1);
    net::Patience patience = kPatience;
    // A proxy that takes no ranges is not to send a whole video.
    patience.body_bytes_max = count + kPieceSlack;
    auto reply = net::call_http(endpoint_, call, patience);
    if (!reply) return std::unexpected(with_way_out(std::move(reply).error()));
    constexpr int kOk = 200;
    constexpr int kPartial = 206;
    constexpr int kNotFound = 404;
    constexpr int kOutOfRange = 416;
    if (reply->status == kNotFound || reply->status == kOutOfRange)
        return fail(Errc::NotFound, fmt::format("{} has no such file", address()));
    if (reply->status != kOk && reply->status != kPartial)
        return fail(Errc::Unavailable,
                    fmt::format("{} answers {} to /view", address(), reply->status));
    FilePiece piece{.bytes = std::move(reply->body)};
    if (reply->status == kOk) {
        piece.whole_bytes = piece.bytes.size();
        piece.bytes.erase(
            0, static_cast<std::size_t>(std::min<std::uint64_t>(begin, piece.bytes.size())));
        piece.bytes.resize(std::min<std::size_t>(piece.bytes.size(), count));
    } else if (const auto size = size_of_range(reply->content_range)) {
        piece.whole_bytes = *size;
    } else {
        return fail(Errc::Unavailable,
                    fmt::format("{} does not tell how long a file is", address()));
    }
    const auto written = net::parse_http_date(reply->last_modified);
    const auto now = net::parse_http_date(reply->date);
    if (written && now) piece.age_ms = (*now - *written) * 1000;
    return piece;
}

Result<std::vector<std::string>> ComfyClient::guess_output_folders() {
    std::vector<std::string> folders;
    // Either may be missing: a proxy, another version.
    if (const auto stats = read_stats()) folders = output_folders_of_argv(stats->argv);
    const auto paths = get("/internal/folder_paths");
    if (!paths && paths.error().code != Errc::NotFound) return std::unexpected(paths.error());
    for (std::string& folder : paths ? output_folders_of_paths(*paths) : std::vector<std::string>())
        if (std::ranges::find(folders, folder) == folders.end())
            folders.push_back(std::move(folder));
    return folders;
}

}  // namespace plimsoll::service
