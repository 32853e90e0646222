// SPDX-License-Identifier: Apache-2.0
#include "api/static_files.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace plimsoll::api {

namespace {

struct Type {
    std::string_view ending;
    std::string_view type;
};
constexpr std::array<Type, 12> kTypes{{{".html", "text/html; charset=utf-8"},
                                       {".js", "text/javascript; charset=utf-8"},
                                       {".css", "text/css; charset=utf-8"},
                                       {".json", "application/json"},
                                       {".svg", "image/svg+xml"},
                                       {".png", "image/png"},
                                       {".ico", "image/x-icon"},
                                       {".woff2", "font/woff2"},
                                       {".webp", "image/webp"},
                                       {".txt", "text/plain; charset=utf-8"},
                                       {".map", "application/json"},
                                       {".webmanifest", "application/manifest+json"}}};

std::string_view type_of(std::string_view path) {
    for (const Type& one : kTypes)
        if (path.ends_with(one.ending)) return one.type;
    return "application/octet-stream";
}

// FNV-1a: tells versions of our own files apart, no more.
std::uint64_t fingerprint(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return hash;
}

Answer not_found() {
    Answer answer;
    answer.status = 404;
    answer.content_type = "text/html; charset=utf-8";
    answer.body =
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Plimsoll: not "
        "found</title>"
        "<h1>There is no such page</h1>"
        "<p>This Plimsoll was built without its web page, or the address is wrong. "
        "The REST API is described at <a href=\"/openapi.json\">/openapi.json</a>.</p></html>\n";
    return answer;
}

}  // namespace

StaticFiles::StaticFiles(std::span<const EmbeddedFile> files) {
    for (const auto& [path, bytes] : files)
        if (!path.ends_with(".gz"))
            files_[std::string(path)] = {bytes, {}, fmt::format("\"{:016x}\"", fingerprint(bytes))};
    for (const auto& [path, bytes] : files) {
        if (!path.ends_with(".gz")) continue;
        const auto whole = files_.find(path.substr(0, path.size() - 3));
        if (whole != files_.end()) whole->second.compressed = bytes;
    }
}

Answer StaticFiles::find(const net::RequestHead& head) const {
    const std::string_view path = head.path() == "/" ? "/index.html" : head.path();
    const auto found = files_.find(path);
    if (found == files_.end()) return not_found();
    const File& file = found->second;
    Answer answer;
    answer.content_type = type_of(path);
    // Names of assets hold their contents' hash; everything else is asked for again.
    answer.headers = {
        {"ETag", file.tag},
        {"Cache-Control",
         path.starts_with("/assets/") ? "public, max-age=31536000, immutable" : "no-cache"},
        {"Vary", "Accept-Encoding"}};
    if (head.header("If-None-Match").find(file.tag) != std::string_view::npos) {
        answer.status = 304;
        return answer;
    }
    const bool packed = !file.compressed.empty() &&
                        head.header("Accept-Encoding").find("gzip") != std::string_view::npos;
    if (packed) answer.headers.push_back({"Content-Encoding", "gzip"});
    answer.body = packed ? file.compressed : file.bytes;
    return answer;
}

}  // namespace plimsoll::api
