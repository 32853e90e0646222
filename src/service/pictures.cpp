// SPDX-License-Identifier: Apache-2.0
#include "service/pictures.h"

#include "base/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr int kNameTriesMax = 100'000;  // chosen: pictures of one name in one folder

std::string errno_text(int error) {
    return std::generic_category().message(error);
}

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

// Takes the name for us by creating an empty file, or says that somebody else has it. nullopt: it
// is taken.
Result<std::optional<std::filesystem::path>> reserve_name(std::filesystem::path path) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file >= 0) {
        ::close(file);
        return std::optional(std::move(path));
    }
    if (errno == EEXIST) return std::optional<std::filesystem::path>();
    return fail(Errc::Unavailable,
                fmt::format("{}: cannot be created: {}", path.string(), errno_text(errno)));
}

}  // namespace

Result<void> check_folder(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (!error && ::access(folder.c_str(), W_OK | X_OK) != 0)
        error = std::error_code(errno, std::generic_category());
    if (error)
        return fail(Errc::InvalidInput,
                    fmt::format("pictures cannot be saved in {} ({}), nothing was started: choose "
                                "another folder with --output-dir",
                                folder.string(), error.message()));
    return {};
}

Result<std::filesystem::path> save_image(const std::filesystem::path& folder, std::string_view name,
                                         std::string_view bytes) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);  // what is wrong shows below
    const std::filesystem::path safe(safe_name(name));
    std::filesystem::path path = folder / safe;
    for (int n = 2; n <= kNameTriesMax; ++n) {
        TRY_ASSIGN(const auto ours, reserve_name(path));
        if (ours) {
            auto written = write_file_atomically(*ours, std::as_bytes(std::span(bytes)));
            if (written) return *ours;
            std::filesystem::remove(*ours, error);
            return std::unexpected(std::move(written).error());
        }
        path =
            folder / fmt::format("{} ({}){}", safe.stem().string(), n, safe.extension().string());
    }
    return fail(Errc::LimitExceeded, fmt::format("{}: {} files of this name exist",
                                                 (folder / safe).string(), kNameTriesMax));
}

}  // namespace plimsoll::service
