// SPDX-License-Identifier: Apache-2.0
//
// Sizes of the pictures and videos that a workflow's nodes load: as the user says them, or read
// from a picture file's header. Pixels are never decoded.
//
// Enters through: texts, files.   Leaves through: InputMedia.   Threads: no shared state.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"
#include "memory/input_media.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::service {

// Of a PNG, JPEG, WebP, GIF or BMP. Corrupt for anything else, LimitExceeded for a picture that no
// card would take.
[[nodiscard]] Result<memory::MediaSize> read_picture_size(ByteSource& source);
[[nodiscard]] Result<memory::MediaSize> read_picture_size(const std::filesystem::path& path);

// "832x1216", "832x480x81" (frames), "832x480x81@16" (a second), "30s" (a sound).
[[nodiscard]] Result<memory::MediaSize> parse_media_size(std::string_view text);
// "photo.png=832x1216", "clip.mp4=832x480x81" (frames), "clip.mp4=832x480x81@16" (a second),
// "song.mp3=30s", or "photo.png=FILE", a picture on this machine. InvalidInput says what is wrong.
[[nodiscard]] Result<std::pair<std::string, memory::MediaSize>> parse_media(std::string_view text);

}  // namespace plimsoll::service
