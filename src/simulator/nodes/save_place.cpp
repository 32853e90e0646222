// SPDX-License-Identifier: Apache-2.0
#include "simulator/nodes/save_place.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <system_error>

namespace plimsoll::simulator {

namespace fs = std::filesystem;

namespace {

// The number after the highest one of "<stem>_<number>_..." in the folder.
int next_counter(const fs::path& folder, const std::string& stem) {
    int highest = 0;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (!name.starts_with(stem + "_")) continue;
        const std::string_view rest = std::string_view(name).substr(stem.size() + 1);
        const auto number = parse_integer(rest.substr(0, rest.find('_')));
        if (number && *number < 100'000'000) highest = std::max(highest, static_cast<int>(*number));
    }
    return highest + 1;
}

}  // namespace

std::expected<SavePlace, NodeFailure> find_place(const fs::path& base, const std::string& prefix) {
    const fs::path normal = fs::path(prefix).lexically_normal();
    SavePlace place;
    place.stem = normal.filename().string();
    place.subfolder = normal.parent_path().string();
    const auto folder = FileStore::inside(base, place.subfolder.empty() ? "." : place.subfolder);
    if (!folder || normal.is_absolute())
        return raise("Exception",
                     fmt::format("**** ERROR: Saving image outside the output folder is not "
                                 "allowed.\n full_output_folder: {}\n         output_dir: "
                                 "/comfyui/output\n         commonpath: /",
                                 (base / place.subfolder).lexically_normal().string()));
    place.folder = *folder;
    std::error_code error;
    fs::create_directories(place.folder, error);
    if (error)
        return raise("OSError", fmt::format("[Errno {}] {}: '{}'", error.value(), error.message(),
                                            place.folder.string()));
    place.counter = next_counter(place.folder, place.stem);
    return place;
}

}  // namespace plimsoll::simulator
