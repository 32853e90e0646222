// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/answers.h"

#include "base/clock.h"
#include "base/text.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

namespace plimsoll::simulator {

namespace {

struct FileFacts {
    std::uint64_t bytes = 0;
    std::int64_t modified_ns = 0;
    bool regular = false;
};
std::optional<FileFacts> stat_file(const std::filesystem::path& path) {
    struct stat facts{};
    if (stat(path.c_str(), &facts) != 0) return std::nullopt;
    return FileFacts{static_cast<std::uint64_t>(facts.st_size),
                     std::int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec,
                     S_ISREG(facts.st_mode)};
}

// Date and Server close every head.
net::Response finish(int status, net::Headers headers) {
    headers.push_back({"Date", net::http_date(system_clock().unix_ms() / 1000)});
    headers.push_back({"Server", std::string(kServerName)});
    net::Response response;
    response.status = status;
    // Python's older phrases.
    if (status == 413) response.reason = "Request Entity Too Large";
    if (status == 416) response.reason = "Requested Range Not Satisfiable";
    response.headers = std::move(headers);
    response.exact = true;
    return response;
}

net::Response with_body(int status, net::Headers headers, std::string body) {
    headers.push_back({"Content-Length", fmt::format("{}", body.size())});
    net::Response response = finish(status, std::move(headers));
    response.body = std::move(body);
    return response;
}

bool has_tag(std::string_view header, std::string_view tag) {
    if (trim(header) == "*") return true;
    for (std::string_view one : split(header, ',')) {
        one = trim(one);
        if (one.starts_with("W/")) one.remove_prefix(2);
        if (one == tag) return true;
    }
    return false;
}

struct Span {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
};
// Of "bytes=0-99", "bytes=-10", "bytes=5-". Nullopt: cannot be satisfied, or is no range.
std::optional<Span> parse_range(std::string_view text, std::uint64_t size) {
    constexpr std::string_view kUnit = "bytes=";
    if (!text.starts_with(kUnit)) return std::nullopt;
    text.remove_prefix(kUnit.size());
    const auto dash = text.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    const std::string_view from = text.substr(0, dash);
    const std::string_view to = text.substr(dash + 1);
    const auto digits = [](std::string_view part) {
        return std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; }) &&
               part.size() <= 18;
    };
    if ((from.empty() && to.empty()) || !digits(from) || !digits(to)) return std::nullopt;
    if (from.empty()) {
        const auto last = static_cast<std::uint64_t>(*parse_integer(to));
        const std::uint64_t length = std::min(last, size);
        if (length == 0) return std::nullopt;
        return Span{size - length, length};
    }
    const auto first = static_cast<std::uint64_t>(*parse_integer(from));
    std::uint64_t end = size;
    if (!to.empty()) {
        const auto last = static_cast<std::uint64_t>(*parse_integer(to));
        if (last < first) return std::nullopt;
        end = std::min(size, last + 1);
    }
    if (first >= size) return std::nullopt;
    return Span{first, end - first};
}

}  // namespace

net::Response json_answer(const Value& value, int status) {
    return with_body(status, {{"Content-Type", "application/json; charset=utf-8"}},
                     dump_python_json(value));
}

net::Response text_answer(int status, std::string text) {
    return with_body(status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(text));
}

net::Response empty_answer(int status) {
    return with_body(status, {}, {});
}

net::Response no_content() {
    return finish(204, {});
}

net::Response crash_answer() {
    net::Response response =
        text_answer(500, "500 Internal Server Error\n\nServer got itself in trouble");
    response.close = true;
    return response;
}

net::Response missing_file_answer(bool head) {
    if (head) return finish(404, {});
    return finish(404,
                  {{"Transfer-Encoding", "chunked"}, {"Content-Type", "application/octet-stream"}});
}

net::Response not_allowed_answer(std::string_view allowed) {
    return with_body(
        405, {{"Content-Type", "text/plain; charset=utf-8"}, {"Allow", std::string(allowed)}},
        "405: Method Not Allowed");
}

net::Response too_large_answer(std::uint64_t bytes_max) {
    return text_answer(413, fmt::format("Maximum request body size {} exceeded.", bytes_max));
}

net::Response bytes_answer(std::string bytes, std::string_view content_type, net::Headers first) {
    first.push_back({"Content-Type", std::string(content_type)});
    return with_body(200, std::move(first), std::move(bytes));
}

net::Response file_answer(const net::RequestHead& request, const std::filesystem::path& path,
                          net::Headers first) {
    const auto facts = stat_file(path);
    if (!facts || !facts->regular) return missing_file_answer(request.method == "HEAD");
    const std::string tag = fmt::format("\"{:x}-{:x}\"", facts->modified_ns, facts->bytes);
    // Rounded up, so that a file is never newer than it says.
    const std::int64_t seconds = (facts->modified_ns + 999'999'999) / 1'000'000'000;
    if (!net::has_header(first, "Content-Type"))
        first.push_back({"Content-Type", std::string(guess_type(path.filename().string()))});
    const std::string_view none_match = request.header("If-None-Match");
    const auto modified_since = net::parse_http_date(request.header("If-Modified-Since"));
    const bool unchanged =
        !none_match.empty()
            ? has_tag(none_match, tag)
            : modified_since && facts->modified_ns <= *modified_since * 1'000'000'000;
    net::Headers headers = first;
    headers.push_back({"Etag", tag});
    headers.push_back({"Last-Modified", net::http_date(seconds)});
    if (unchanged) return finish(304, std::move(headers));
    Span span{0, facts->bytes};
    int status = 200;
    const auto if_range = net::parse_http_date(request.header("If-Range"));
    const bool range_applies = request.header("If-Range").empty() ||
                               (if_range && facts->modified_ns <= *if_range * 1'000'000'000);
    if (const std::string_view range = request.header("Range"); !range.empty() && range_applies) {
        const auto wanted = parse_range(range, facts->bytes);
        if (!wanted) {
            first.push_back({"Content-Range", fmt::format("bytes */{}", facts->bytes)});
            first.push_back({"Transfer-Encoding", "chunked"});
            return finish(416, std::move(first));
        }
        span = *wanted;
        status = 206;
    }
    headers.push_back({"Content-Length", fmt::format("{}", span.length)});
    headers.push_back({"Accept-Ranges", "bytes"});
    if (status == 206)
        headers.push_back(
            {"Content-Range", fmt::format("bytes {}-{}/{}", span.first,
                                          span.first + span.length - 1, facts->bytes)});
    net::Response response = finish(status, std::move(headers));
    response.body = net::FileSlice{path, span.first, span.length};
    return response;
}

std::string_view guess_type(std::string_view name) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 18> kTypes{{
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".webp", "image/webp"},
        {".gif", "image/gif"},
        {".bmp", "image/bmp"},
        {".svg", "image/svg+xml"},
        {".json", "application/json"},
        {".txt", "text/plain"},
        {".csv", "text/csv"},
        {".html", "text/html"},
        {".js", "text/javascript"},
        {".css", "text/css"},
        {".mp4", "video/mp4"},
        {".webm", "video/webm"},
        {".mp3", "audio/mpeg"},
        {".wav", "audio/x-wav"},
        {".flac", "audio/x-flac"},
    }};
    const std::string lower = to_lower_ascii(name);
    for (const auto& [ending, type] : kTypes)
        if (lower.ends_with(ending)) return type;
    return "application/octet-stream";
}

void add_cache_control(net::Response& response, std::string_view path) {
    if (net::has_header(response.headers, "Cache-Control")) return;
    const std::string lower = to_lower_ascii(path);
    const std::string_view name = path.substr(path.rfind('/') + 1);
    std::string value;
    if (path.ends_with(".js") || path.ends_with(".css") ||
        (name.starts_with("index") && name.ends_with(".json"))) {
        value = "no-cache";
    } else {
        constexpr std::array<std::string_view, 8> kPictures{".jpg", ".jpeg", ".png", ".ppm",
                                                            ".bmp", ".pgm",  ".gif", ".webp"};
        if (std::ranges::none_of(kPictures,
                                 [&](std::string_view ending) { return lower.ends_with(ending); }))
            return;
        if (response.status == 404) value = "public, max-age=3600";
        if (response.status / 100 == 2) value = "public, max-age=86400";
        if (value.empty()) return;
    }
    // After the handler's own headers, before what is added when the head is written.
    auto before = std::ranges::find_if(response.headers, [](const net::Header& header) {
        return header.name == "Content-Length" || header.name == "Etag" || header.name == "Date" ||
               header.name == "Transfer-Encoding";
    });
    response.headers.insert(before, {"Cache-Control", value});
}

double modified_seconds(const std::filesystem::path& path) {
    const auto facts = stat_file(path);
    if (!facts) return 0;
    const std::int64_t microseconds = facts->modified_ns / 1000;
    return static_cast<double>(microseconds) / 1e6;
}

}  // namespace plimsoll::simulator
