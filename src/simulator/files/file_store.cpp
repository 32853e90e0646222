// SPDX-License-Identifier: Apache-2.0
#include "simulator/files/file_store.h"

#include "base/random.h"
#include "simulator/picture/scene.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <system_error>
#include <utility>

namespace plimsoll::simulator {

namespace fs = std::filesystem;

namespace {

// ComfyUI ships a picture to load; ours is drawn.
constexpr std::string_view kExample = "example.png";
constexpr std::string_view kFrontPage =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>ComfyUI (simulated)"
    "</title></head><body><h1>Simulated ComfyUI 0.3.64</h1><p>No front end is served here: point a "
    "client at this address.</p></body></html>\n";
constexpr std::string_view kPlaceholder = "_output_images_will_be_put_here";

Result<void> make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error)
        return fail(Errc::Unavailable,
                    fmt::format("cannot make {}: {}", path.string(), error.message()));
    return {};
}

Result<void> write_example(const fs::path& path) {
    Recipe recipe;
    recipe.positive = "example";
    recipe.seed = 1;
    recipe.steps = 40;
    const std::string png = encode_png(render_scene(recipe, 256, 256), {}, 4);
    return write_file(path, png);
}

}  // namespace

Result<FileStore> FileStore::create(const std::optional<fs::path>& output) {
    std::error_code error;
    const fs::path temporary = fs::temp_directory_path(error);
    if (error) return fail(Errc::Unavailable, "no temporary folder: " + error.message());
    Random random(os_seed());
    const fs::path root = temporary / ("plimsoll-simulator-" + random.next_uuid());
    FileStore store(root, output.value_or(root / "output"));
    for (const auto& folder : {store.output_, root / "input", root / "temp"})
        TRY_DO(make_folder(folder));
    TRY_DO(write_example(root / "input" / kExample));
    TRY_DO(write_file(store.front_page(), kFrontPage));
    if (!output) TRY_DO(write_file(store.output_ / kPlaceholder, ""));
    return store;
}

FileStore::FileStore(fs::path root, fs::path output)
    : root_(std::move(root)), output_(std::move(output)) {}

FileStore::FileStore(FileStore&& other) noexcept
    : root_(std::exchange(other.root_, {})), output_(std::move(other.output_)) {}

FileStore::~FileStore() {
    if (root_.empty()) return;
    std::error_code ignored;
    fs::remove_all(root_, ignored);
}

std::optional<fs::path> FileStore::folder(std::string_view type) const {
    if (type == "output") return output_;
    if (type == "input" || type == "temp") return root_ / type;
    return std::nullopt;
}

std::optional<fs::path> FileStore::inside(const fs::path& base, std::string_view sub) {
    if (sub.contains('\0')) return std::nullopt;
    fs::path path = (base / fs::path(sub)).lexically_normal();
    const fs::path relative = path.lexically_relative(base.lexically_normal());
    if (relative.empty() || *relative.begin() == "..") return std::nullopt;
    return path;
}

std::vector<std::string> FileStore::input_pictures() const {
    constexpr std::array<std::string_view, 6> kEndings{".png",  ".jpg", ".jpeg",
                                                       ".webp", ".bmp", ".gif"};
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(root_ / "input", error), end; !error && it != end;
         it.increment(error)) {
        std::error_code ignored;
        if (it->is_regular_file(ignored) &&
            std::ranges::find(kEndings, it->path().extension().string()) != kEndings.end())
            names.push_back(it->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
}

std::optional<fs::path> FileStore::annotated_path(std::string_view name) const {
    const AnnotatedName parts = split_annotation(name);
    const auto base = folder(parts.type.empty() ? "input" : parts.type);
    return base ? inside(*base, parts.name) : std::nullopt;
}

Result<void> write_file(const fs::path& path, std::string_view bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) return fail(Errc::Unavailable, fmt::format("cannot write {}", path.string()));
    return {};
}

AnnotatedName split_annotation(std::string_view name) {
    for (const std::string_view type : {"output", "input", "temp"}) {
        const std::string ending = fmt::format("[{}]", type);
        // ComfyUI drops the ending and the character before it.
        if (name.ends_with(ending) && name.size() > ending.size())
            return {std::string(name.substr(0, name.size() - ending.size() - 1)),
                    std::string(type)};
    }
    return {std::string(name), ""};
}

}  // namespace plimsoll::simulator
