// SPDX-License-Identifier: Apache-2.0
#include "api/picture.h"

#include "base/byte_source.h"

#include <string_view>
#include <utility>

namespace plimsoll::api {

namespace {

constexpr std::uint64_t kPictureBytesMax = 64ULL << 20U;  // chosen: a PNG of 4096 x 4096 pixels

std::string_view type_of(std::string_view bytes) {
    if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
    if (bytes.starts_with("\xFF\xD8\xFF")) return "image/jpeg";
    if (bytes.starts_with("RIFF") && bytes.substr(0, 12).ends_with("WEBP")) return "image/webp";
    return {};
}

}  // namespace

Answer answer_picture(std::string bytes) {
    const std::string_view type = type_of(bytes);
    if (type.empty()) return answer_error({Errc::NotFound, "the file is no picture"});
    Answer answer;
    answer.content_type = type;
    answer.body = std::move(bytes);
    return answer;
}

Answer answer_picture_file(const std::filesystem::path& path) {
    auto bytes = read_text_file(path, kPictureBytesMax);
    // Its path is nobody's business who sees only pictures.
    if (!bytes)
        return answer_error({Errc::NotFound, "the picture's file is gone, or cannot be read"});
    Answer answer = answer_picture(std::move(*bytes));
    // The same run has the same picture for ever.
    if (answer.status == 200) answer.headers.push_back({"Cache-Control", "private, max-age=86400"});
    return answer;
}

}  // namespace plimsoll::api
