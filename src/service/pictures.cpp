// SPDX-License-Identifier: Apache-2.0
#include "service/pictures.h"

#include "base/byte_source.h"

#include <fmt/format.h>

#include <span>
#include <string>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr int kNameTriesMax = 100'000;  // chosen: pictures of one name in one folder

// Only the name's own characters: no folder, nothing that a terminal or file system takes badly.
std::string safe_name(std::string_view name) {
    std::string safe;
    for (const char c : name.substr(name.find_last_of("/\\") + 1)) {
        const auto byte = static_cast<unsigned char>(c);
        safe += byte < 0x20 || byte == 0x7f ||
                        std::string_view("<>:\"|?*").find(c) != std::string_view::npos
                    ? '_'
                    : c;
    }
    while (safe.starts_with('.')) safe.erase(0, 1);
    if (safe.size() > 200) safe.erase(0, safe.size() - 200);  // file systems take 255 bytes
    return safe.empty() ? "image.png" : safe;
}

}  // namespace

Result<std::filesystem::path> save_image(const std::filesystem::path& folder, std::string_view name,
                                         std::string_view bytes) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error)
        return fail(
            Errc::Unavailable,
            fmt::format("{}: cannot create the folder ({}): choose another with --output-dir",
                        folder.string(), error.message()));
    const std::filesystem::path safe(safe_name(name));
    std::filesystem::path path = folder / safe;
    for (int n = 2; std::filesystem::exists(path, error); ++n) {
        if (n > kNameTriesMax)
            return fail(Errc::LimitExceeded, fmt::format("{}: {} files of this name exist",
                                                         path.string(), kNameTriesMax));
        path =
            folder / fmt::format("{} ({}){}", safe.stem().string(), n, safe.extension().string());
    }
    TRY_DO(write_file_atomically(path, std::as_bytes(std::span(bytes))));
    return path;
}

}  // namespace plimsoll::service
