// SPDX-License-Identifier: Apache-2.0
//
// Pictures in and out: GET /view with its variants, uploads, lists of files, the front page.
#include "base/byte_source.h"
#include "base/text.h"
#include "simulator/picture/pixels.h"
#include "simulator/server/answers.h"
#include "simulator/server/multipart.h"
#include "simulator/server/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <span>

namespace plimsoll::simulator {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kPictureBytesMax = 256ULL << 20U;  // chosen
constexpr int kDefaultQuality = 90;
constexpr int kPillowCompression = 6;  // of PNGs where nothing else is said

std::string disposition(const std::string& name) {
    return fmt::format("filename=\"{}\"", name);
}

// The file that /view is asked for, or the answer that refuses.
struct Viewed {
    fs::path path;
    std::string name;
};
std::expected<Viewed, net::Response> find_viewed(const App& app, const RouteRequest& request) {
    const std::string* const asked = request.field("filename");
    if (asked == nullptr) return std::unexpected(empty_answer(404));
    const AnnotatedName annotated = split_annotation(*asked);
    if (annotated.name.empty() || annotated.name.front() == '/' || annotated.name.contains(".."))
        return std::unexpected(empty_answer(400));
    std::string type = annotated.type;
    if (type.empty()) {
        const std::string* const given = request.field("type");
        type = given == nullptr ? "output" : *given;
    }
    const auto base = app.store.folder(type);
    if (!base) return std::unexpected(empty_answer(400));
    fs::path folder = *base;
    if (const std::string* const sub = request.field("subfolder")) {
        const auto inside = FileStore::inside(*base, sub->empty() ? "." : *sub);
        if (!inside) return std::unexpected(empty_answer(403));
        folder = *inside;
    }
    const std::string name = fs::path(annotated.name).filename().string();
    std::error_code ignored;
    if (name.contains('\0') || !fs::is_regular_file(folder / name, ignored))
        return std::unexpected(empty_answer(404));
    return Viewed{folder / name, name};
}

net::Response encode_preview(const Pixels& pixels, const std::string& preview,
                             const std::string& channel, const net::Headers& headers) {
    const std::string format = preview.substr(0, preview.find(';'));
    const std::string last = preview.substr(preview.rfind(';') + 1);
    const bool digits =
        !last.empty() && std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; });
    const int quality =
        digits ? static_cast<int>(std::min<long long>(parse_integer(last).value_or(100), 100))
               : kDefaultQuality;
    if (format == "jpeg" && !channel.contains('a'))
        return bytes_answer(encode_jpeg(pixels, std::max(1, quality)), "image/jpeg", headers);
    return bytes_answer(encode_webp(pixels, quality), "image/webp", headers);
}

net::Response get_view(App& app, const RouteRequest& request) {
    const auto viewed = find_viewed(app, request);
    if (!viewed) return viewed.error();
    net::Headers headers{{"Content-Disposition", disposition(viewed->name)}};
    const std::string* const preview = request.field("preview");
    const std::string channel =
        request.field("channel") == nullptr ? "rgba" : *request.field("channel");
    if (preview == nullptr && channel != "rgb" && channel != "a") {
        std::string type(guess_type(viewed->name));
        // What a browser would run is sent as a download.
        for (const auto* const active : {"text/html", "text/javascript", "text/css"})
            if (type == active) type = "application/octet-stream";
        headers.push_back({"Content-Type", type});
        return file_answer(request.head, viewed->path, std::move(headers));
    }
    const auto bytes = read_text_file(viewed->path, kPictureBytesMax);
    auto pixels = bytes ? decode_picture(*bytes) : Result<Pixels>(std::unexpected(bytes.error()));
    if (!pixels) return crash_answer();
    if (preview != nullptr)
        return encode_preview(*pixels, *preview, request.field("channel") == nullptr ? "" : channel,
                              headers);
    if (channel == "rgb") {
        pixels->alpha.clear();
    } else {
        if (pixels->alpha.empty()) pixels->alpha.assign(pixels->count(), 255);
        std::ranges::fill(pixels->rgb, std::uint8_t{0});
    }
    return bytes_answer(encode_png(*pixels, {}, kPillowCompression), "image/png", headers);
}

// Where an upload goes: "name (1).ext" when another file has that name already.
struct Target {
    fs::path path;
    std::string name;
    bool duplicate = false;  // the same bytes are there
};
Target find_target(const fs::path& folder, const std::string& name, const std::string& bytes,
                   bool overwrite) {
    Target target{folder / name, name};
    if (overwrite) return target;
    const fs::path original(name);
    std::error_code ignored;
    for (int i = 1; fs::exists(target.path, ignored); ++i) {
        const auto there = read_text_file(target.path, kPictureBytesMax);
        if (there && *there == bytes) {
            target.duplicate = true;
            return target;
        }
        target.name = fmt::format(
            "{} ({}){}", name.substr(0, name.size() - original.extension().string().size()), i,
            original.extension().string());
        target.path = folder / target.name;
    }
    return target;
}

// The mask's transparency on top of the picture it was painted on. Nothing is written where that
// picture is missing, as by the real server.
std::optional<net::Response> save_mask(const App& app, const std::vector<FormPart>& parts,
                                       const FormPart& image, const fs::path& path) {
    const FormPart* const reference = find_part(parts, "original_ref");
    const auto parsed =
        reference == nullptr ? Result<Value>(Value()) : parse_python_json(reference->body);
    const Value* const name = parsed ? parsed->get("filename") : nullptr;
    if (name == nullptr || name->as_str() == nullptr) return crash_answer();
    const AnnotatedName annotated = split_annotation(*name->as_str());
    if (annotated.name.empty() || annotated.name.front() == '/' || annotated.name.contains(".."))
        return std::nullopt;
    const Value* const type = parsed->get("type");
    const Value* const subfolder = parsed->get("subfolder");
    const auto base = app.store.folder(!annotated.type.empty() ? annotated.type
                                       : type == nullptr       ? "output"
                                                               : python_str(*type));
    if (!base) return std::nullopt;
    const auto original = FileStore::inside(
        *base, (subfolder == nullptr || python_str(*subfolder).empty() ? std::string(".")
                                                                       : python_str(*subfolder)) +
                   "/" + annotated.name);
    if (!original) return std::nullopt;
    const auto bytes = read_text_file(*original, kPictureBytesMax);
    if (!bytes) return std::nullopt;
    auto pixels = decode_picture(*bytes);
    const auto mask = decode_picture(image.body);
    if (!pixels || !mask) return crash_answer();
    const Pixels fitted = resize(*mask, pixels->width, pixels->height, Resampling::Nearest);
    pixels->alpha =
        fitted.alpha.empty() ? std::vector<std::uint8_t>(pixels->count(), 255) : fitted.alpha;
    const std::string png = encode_png(*pixels, {}, 4);
    if (!write_file(path, png)) return crash_answer();
    return std::nullopt;
}

net::Response upload(App& app, const RouteRequest& request, bool mask) {
    const auto parts = parse_form(request.head.header("Content-Type"), request.body);
    if (!parts) return crash_answer();
    const FormPart* const type_part = find_part(*parts, "type");
    const std::string type = type_part == nullptr ? "input" : type_part->body;
    const auto base = app.store.folder(type);
    if (!base) return crash_answer();
    const FormPart* const image = find_part(*parts, "image");
    if (image == nullptr || (!image->filename && image->body.empty())) return empty_answer(400);
    if (!image->filename) return crash_answer();  // a text where a file belongs
    if (image->filename->empty()) return empty_answer(400);
    const FormPart* const sub_part = find_part(*parts, "subfolder");
    const std::string subfolder = sub_part == nullptr ? "" : sub_part->body;
    const auto path =
        FileStore::inside(*base, (subfolder.empty() ? "." : subfolder) + "/" + *image->filename);
    if (!path) return empty_answer(400);
    std::error_code error;
    fs::create_directories(path->parent_path(), error);
    if (error) return crash_answer();
    const FormPart* const overwrite = find_part(*parts, "overwrite");
    const Target target =
        find_target(path->parent_path(), *image->filename, image->body,
                    overwrite != nullptr && (overwrite->body == "true" || overwrite->body == "1"));
    if (!target.duplicate) {
        if (mask) {
            if (auto refused = save_mask(app, *parts, *image, target.path)) return *refused;
        } else if (!write_file(target.path, image->body)) {
            return crash_answer();
        }
    }
    return json_answer(
        Dict{{"name", Value(target.name)}, {"subfolder", Value(subfolder)}, {"type", Value(type)}});
}
net::Response upload_image(App& app, const RouteRequest& request) {
    return upload(app, request, false);
}
net::Response upload_mask(App& app, const RouteRequest& request) {
    return upload(app, request, true);
}

// Names of the files in a folder, the newest first.
net::Response get_internal_files(App& app, const RouteRequest& request) {
    const auto base = app.store.folder(request.parameter("directory_type"));
    if (!base) return json_answer(Dict{{"error", Value("Invalid directory type")}}, 400);
    std::vector<std::pair<double, std::string>> files;
    std::error_code error;
    for (fs::directory_iterator it(*base, error), end; !error && it != end; it.increment(error)) {
        std::error_code ignored;
        if (it->is_regular_file(ignored))
            files.emplace_back(-modified_seconds(it->path()), it->path().filename().string());
    }
    std::ranges::sort(files);
    List names;
    for (const auto& [age, name] : files) names.emplace_back(name);
    return json_answer(std::move(names));
}

net::Response get_front_page(App& app, const RouteRequest& request) {
    return file_answer(request.head, app.store.front_page(),
                       {{"Cache-Control", "no-cache"}, {"Pragma", "no-cache"}, {"Expires", "0"}});
}

constexpr auto kRead = Route::Body::Read;
constexpr std::array<Route, 5> kRoutes{{
    {"GET", "/", get_front_page, Route::Body::Ignored, Route::Prefix::Bare},
    {"GET", "/view", get_view},
    {"POST", "/upload/image", upload_image, kRead},
    {"POST", "/upload/mask", upload_mask, kRead},
    {"GET", "/internal/files/{directory_type}", get_internal_files, Route::Body::Ignored,
     Route::Prefix::Bare},
}};

}  // namespace

std::span<const Route> file_routes() {
    return kRoutes;
}

}  // namespace plimsoll::simulator
