// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI keeps for its user: files and settings. One user, as without --multi-user.
#include "base/text.h"
#include "simulator/server/answers.h"
#include "simulator/server/routes.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <span>

namespace plimsoll::simulator {

namespace fs = std::filesystem;

namespace {

bool flag(const RouteRequest& request, std::string_view name) {
    const std::string* const text = request.field(name);
    return text != nullptr && to_lower_ascii(*text) == "true";
}

Dict file_info(const fs::path& path, const fs::path& relative_to) {
    std::error_code ignored;
    return {{"path", Value(path.lexically_relative(relative_to).generic_string())},
            {"size", Value(std::uint64_t{fs::file_size(path, ignored)})},
            {"modified", Value(modified_seconds(path))},
            {"created", Value(modified_seconds(path))}};
}

// The user's file that the path names, or the answer that refuses.
std::expected<fs::path, net::Response> user_file(const App& app, const std::string& name,
                                                 bool must_exist) {
    // A name that is encoded twice is decoded twice.
    const std::string decoded = name.contains('%') ? net::decode_percent(name) : name;
    const auto path = FileStore::inside(app.store.user(), decoded);
    if (!path) return std::unexpected(empty_answer(403));
    std::error_code ignored;
    if (must_exist && !fs::exists(*path, ignored)) return std::unexpected(empty_answer(404));
    return *path;
}

net::Response describe_file(const App& app, const RouteRequest& request, const fs::path& path) {
    const Dict info = file_info(path, app.store.user());
    return flag(request, "full_info") ? json_answer(info) : json_answer(*info.find("path"));
}

net::Response get_users(App& app, const RouteRequest&) {
    std::error_code ignored;
    return json_answer(Dict{{"storage", Value("server")},
                            {"migrated", Value(fs::exists(app.store.user(), ignored))}});
}

net::Response get_user_list(App& app, const RouteRequest& request) {
    const std::string* const folder = request.field("dir");
    if (folder == nullptr || folder->empty()) return text_answer(400, "Directory not provided");
    const auto base = FileStore::inside(app.store.user(), *folder);
    if (!base) return text_answer(403, "Invalid directory");
    std::error_code error;
    if (!fs::exists(*base, error)) return text_answer(404, "Directory not found");
    std::vector<fs::path> files;
    fs::recursive_directory_iterator it(*base, error);
    for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
        std::error_code ignored;
        if (it->is_directory(ignored) && !flag(request, "recurse")) it.disable_recursion_pending();
        if (it->is_regular_file(ignored)) files.push_back(it->path());
    }
    std::ranges::sort(files);
    List found;
    for (const fs::path& path : files) {
        const std::string relative = path.lexically_relative(*base).generic_string();
        if (flag(request, "full_info")) {
            found.emplace_back(file_info(path, *base));
        } else if (flag(request, "split")) {
            List parts{Value(relative)};
            for (const std::string_view part : split(relative, '/')) parts.emplace_back(part);
            found.emplace_back(std::move(parts));
        } else {
            found.emplace_back(relative);
        }
    }
    return json_answer(std::move(found));
}

net::Response get_user_list_v2(App& app, const RouteRequest& request) {
    const std::string* const asked = request.field("path");
    const auto base =
        FileStore::inside(app.store.user(), asked == nullptr || asked->empty() ? "." : *asked);
    if (!base) return text_answer(403, "Invalid file path requested");
    std::error_code error;
    if (!fs::exists(*base, error))
        return asked == nullptr || asked->empty()
                   ? json_answer(List{})
                   : text_answer(404, "Requested path does not exist");
    List found;
    for (fs::directory_iterator it(*base, error), end; !error && it != end; it.increment(error)) {
        std::error_code ignored;
        const bool is_folder = it->is_directory(ignored);
        Dict entry{
            {"name", Value(it->path().filename().string())},
            {"path", Value(it->path().lexically_relative(app.store.user()).generic_string())},
            {"type", Value(is_folder ? "directory" : "file")}};
        if (!is_folder) {
            entry.set("size", Value(std::uint64_t{fs::file_size(it->path(), ignored)}));
            entry.set("modified", Value(modified_seconds(it->path())));
        }
        found.emplace_back(std::move(entry));
    }
    return json_answer(std::move(found));
}

net::Response get_user_file(App& app, const RouteRequest& request) {
    const auto path = user_file(app, request.parameter("file"), true);
    if (!path) return path.error();
    return file_answer(request.head, *path, {});
}

net::Response post_user_file(App& app, const RouteRequest& request) {
    const auto path = user_file(app, request.parameter("file"), false);
    if (!path) return path.error();
    std::error_code error;
    const std::string* const overwrite = request.field("overwrite");
    if (overwrite != nullptr && *overwrite == "false" && fs::exists(*path, error))
        return text_answer(409, "File already exists");
    fs::create_directories(path->parent_path(), error);
    if (error || !write_file(*path, request.body))
        return text_answer(400,
                           "Invalid filename. Please avoid special characters like :\\/*?\"<>|");
    return describe_file(app, request, *path);
}

net::Response delete_user_file(App& app, const RouteRequest& request) {
    const auto path = user_file(app, request.parameter("file"), true);
    if (!path) return path.error();
    std::error_code error;
    if (!fs::remove(*path, error) || error) return crash_answer();
    return no_content();
}

net::Response move_user_file(App& app, const RouteRequest& request) {
    const auto source = user_file(app, request.parameter("file"), true);
    if (!source) return source.error();
    const auto target = user_file(app, request.parameter("dest"), false);
    if (!target) return target.error();
    std::error_code error;
    const std::string* const overwrite = request.field("overwrite");
    if (overwrite != nullptr && *overwrite == "false" && fs::exists(*target, error))
        return text_answer(409, "File already exists");
    fs::create_directories(target->parent_path(), error);
    fs::rename(*source, *target, error);
    if (error) return crash_answer();
    return describe_file(app, request, *target);
}

net::Response get_settings(App& app, const RouteRequest&) {
    return json_answer(app.settings);
}
net::Response post_settings(App& app, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (!data || data->as_dict() == nullptr) return crash_answer();
    for (const auto& [name, value] : *data->as_dict()) app.settings.set(name, value);
    return empty_answer(200);
}
net::Response get_setting(App& app, const RouteRequest& request) {
    const Value* const value = app.settings.find(request.parameter("id"));
    return json_answer(value == nullptr ? Value() : *value);
}
net::Response post_setting(App& app, const RouteRequest& request) {
    auto data = parse_python_json(request.body);
    if (!data) return crash_answer();
    app.settings.set(request.parameter("id"), std::move(*data));
    return empty_answer(200);
}

constexpr auto kRead = Route::Body::Read;
constexpr std::array<Route, 11> kRoutes{{
    {"GET", "/users", get_users},
    {"GET", "/userdata", get_user_list},
    {"GET", "/v2/userdata", get_user_list_v2},
    {"GET", "/userdata/{file}", get_user_file},
    {"POST", "/userdata/{file}", post_user_file, kRead},
    {"DELETE", "/userdata/{file}", delete_user_file},
    {"POST", "/userdata/{file}/move/{dest}", move_user_file},
    {"GET", "/settings", get_settings},
    {"POST", "/settings", post_settings, kRead},
    {"GET", "/settings/{id}", get_setting},
    {"POST", "/settings/{id}", post_setting, kRead},
}};

}  // namespace

std::span<const Route> user_routes() {
    return kRoutes;
}

}  // namespace plimsoll::simulator
