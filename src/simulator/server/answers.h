// SPDX-License-Identifier: Apache-2.0
//
// Answers as aiohttp 3.14 writes them: which headers, in which order. Pure but for the date.
#pragma once
#include "net/http_message.h"
#include "simulator/python_value.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace plimsoll::simulator {

inline constexpr std::string_view kServerName = "Python/3.11 aiohttp/3.14.5";

[[nodiscard]] net::Response json_answer(const Value& value, int status = 200);
[[nodiscard]] net::Response text_answer(int status, std::string text);
// Content-Length: 0 and nothing else.
[[nodiscard]] net::Response empty_answer(int status);
// 204: not even a length.
[[nodiscard]] net::Response no_content();
// What an uncaught exception gives; the connection is closed.
[[nodiscard]] net::Response crash_answer();
// 404 of a file that is not there: chunked and empty.
[[nodiscard]] net::Response missing_file_answer(bool head);
[[nodiscard]] net::Response not_allowed_answer(std::string_view allowed);
[[nodiscard]] net::Response too_large_answer(std::uint64_t bytes_max);
// Bytes made for this answer, with headers in front.
[[nodiscard]] net::Response bytes_answer(std::string bytes, std::string_view content_type,
                                         net::Headers first = {});

// A file with ETag, Last-Modified, ranges and conditions. `first` are the headers that the handler
// set itself; without a Content-Type among them it follows from the name.
[[nodiscard]] net::Response file_answer(const net::RequestHead& request,
                                        const std::filesystem::path& path, net::Headers first);

// mimetypes.guess_type
[[nodiscard]] std::string_view guess_type(std::string_view name);
// Cache-Control of ComfyUI's middleware, by the path's ending.
void add_cache_control(net::Response& response, std::string_view path);

// Nullopt-like emptiness where the clock cannot be read: seconds and fraction since the epoch.
[[nodiscard]] double modified_seconds(const std::filesystem::path& path);

}  // namespace plimsoll::simulator
