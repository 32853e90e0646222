// SPDX-License-Identifier: Apache-2.0
#include "guard/latent_files.h"

#include "base/text.h"
#include "guard/saved_latent.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>

namespace plimsoll::guard {

namespace {

constexpr std::size_t kFilesMax = 100'000;  // chosen: of a folder; more are left for the next time

// The folder "plimsoll" below that output folder; by its descriptor, so that nobody can put another
// in its place meanwhile. -1: not there, or a link.
int open_folder(const std::string& output) {
    const int above = open(output.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0) return -1;
    const std::string name(kLatentFolder);
    const int folder = openat(above, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(above);
    return folder;
}

// Deletes those whose stem and time are wanted.
std::size_t delete_where(
    const std::vector<std::string>& output_folders,
    const std::function<bool(std::string_view stem, std::int64_t written_ms)>& wanted) {
    std::size_t deleted = 0;
    for (const std::string& output : output_folders) {
        const int folder = open_folder(output);
        if (folder < 0) continue;
        const std::unique_ptr<DIR, int (*)(DIR*)> list(fdopendir(folder), closedir);
        if (!list) {
            close(folder);
            continue;
        }
        std::size_t seen = 0;
        while (const dirent* const item = readdir(list.get())) {
            if (++seen > kFilesMax) break;
            const auto stem = stem_of_latent(item->d_name);
            struct stat facts{};
            if (!stem || fstatat(folder, item->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0 ||
                !S_ISREG(facts.st_mode))
                continue;
            if (!wanted(*stem, static_cast<std::int64_t>(facts.st_mtime) * 1000)) continue;
            if (unlinkat(folder, item->d_name, 0) == 0) ++deleted;
        }
    }
    return deleted;
}

}  // namespace

std::optional<std::string_view> stem_of_latent(std::string_view filename) {
    constexpr std::string_view kEnding = "_.latent";
    const auto under = filename.find('_');
    if (under == std::string_view::npos || !filename.ends_with(kEnding)) return std::nullopt;
    const std::string_view stem = filename.substr(0, under);
    if (filename.size() < under + 1 + kEnding.size() + 1) return std::nullopt;
    const std::string_view number =
        filename.substr(under + 1, filename.size() - kEnding.size() - under - 1);
    const bool digits = std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
    return digits && is_uuid(stem) ? std::optional(stem) : std::nullopt;
}

std::size_t delete_latents(const std::vector<std::string>& output_folders, std::string_view stem) {
    return delete_where(output_folders,
                        [&](std::string_view one, std::int64_t) { return one == stem; });
}

std::size_t sweep_latents(const std::vector<std::string>& output_folders,
                          const std::set<std::string, std::less<>>& kept, std::int64_t now_ms) {
    return delete_where(output_folders, [&](std::string_view stem, std::int64_t written_ms) {
        return !kept.contains(stem) && now_ms - written_ms >= kSweptAfterMs;
    });
}

}  // namespace plimsoll::guard
