// SPDX-License-Identifier: Apache-2.0
//
// Pictures in and out: files, previews, scaling.
#include "base/byte_source.h"
#include "base/text.h"
#include "simulator/nodes/card_work.h"
#include "simulator/nodes/registry.h"
#include "simulator/nodes/save_place.h"
#include "simulator/nodes/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <filesystem>

namespace plimsoll::simulator {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kFileBytesMax = 256ULL << 20U;  // chosen: of a picture to load
constexpr int kSaveCompression = 4;                     // as ComfyUI's SaveImage
constexpr int kPreviewCompression = 1;

NodeOutcome empty_image(NodeContext&, const NodeInputs& inputs) {
    const int color = inputs.whole("color");
    const auto pixels = std::make_shared<Pixels>(make_pixels(
        std::max(1, inputs.whole("width", 512)), std::max(1, inputs.whole("height", 512))));
    for (std::size_t i = 0; i < pixels->count(); ++i) {
        pixels->rgb[i * 3] = static_cast<std::uint8_t>(color >> 16);
        pixels->rgb[i * 3 + 1] = static_cast<std::uint8_t>(color >> 8);
        pixels->rgb[i * 3 + 2] = static_cast<std::uint8_t>(color);
    }
    ImageValue image;
    for (int i = 0; i < std::clamp(inputs.whole("batch_size", 1), 1, 4096); ++i)
        image.items.push_back(pixels);
    return NodeResult{{std::move(image)}, std::nullopt};
}

std::expected<Pixels, NodeFailure> read_picture(const NodeContext& context,
                                                const std::string& name) {
    const auto path = context.store.annotated_path(name);
    const auto bytes = path ? read_text_file(*path, kFileBytesMax)
                            : Result<std::string>(fail(Errc::NotFound, "outside of its folder"));
    if (!bytes)
        return raise("FileNotFoundError",
                     fmt::format("[Errno 2] No such file or directory: '/comfyui/input/{}'", name));
    auto pixels = decode_picture(*bytes);
    if (!pixels)
        return raise("PIL.UnidentifiedImageError",
                     fmt::format("cannot identify image file '/comfyui/input/{}'", name));
    return *pixels;
}

NodeOutcome load_image(NodeContext& context, const NodeInputs& inputs) {
    auto pixels = read_picture(context, inputs.text("image"));
    if (!pixels) return std::unexpected(pixels.error());
    // Without transparency ComfyUI gives an empty mask of 64 x 64.
    const bool masked = !pixels->alpha.empty();
    const MaskValue mask{masked ? pixels->width : 64, masked ? pixels->height : 64};
    pixels->alpha.clear();
    return NodeResult{{ImageValue{{std::make_shared<const Pixels>(std::move(*pixels))}}, mask},
                      std::nullopt};
}

NodeOutcome load_image_mask(NodeContext& context, const NodeInputs& inputs) {
    auto pixels = read_picture(context, inputs.text("image"));
    if (!pixels) return std::unexpected(pixels.error());
    return NodeResult{{MaskValue{pixels->width, pixels->height}}, std::nullopt};
}

// %width%, %height% and the parts of the date, as ComfyUI's compute_vars fills them in.
std::string fill_in(std::string prefix, const ImageValue& image) {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    const Pixels& first = *image.items.front();
    const std::array<std::pair<std::string_view, std::string>, 8> words{{
        {"%width%", fmt::format("{}", first.width)},
        {"%height%", fmt::format("{}", first.height)},
        {"%year%", fmt::format("{}", parts.tm_year + 1900)},
        {"%month%", fmt::format("{:02}", parts.tm_mon + 1)},
        {"%day%", fmt::format("{:02}", parts.tm_mday)},
        {"%hour%", fmt::format("{:02}", parts.tm_hour)},
        {"%minute%", fmt::format("{:02}", parts.tm_min)},
        {"%second%", fmt::format("{:02}", parts.tm_sec)},
    }};
    for (const auto& [word, value] : words)
        for (auto at = prefix.find(word); at != std::string::npos;
             at = prefix.find(word, at + value.size()))
            prefix.replace(at, word.size(), value);
    return prefix;
}

// The chunks that ComfyUI embeds: the prompt, then everything in extra_pnginfo.
PngTexts make_texts(const NodeContext& context) {
    PngTexts texts{{"prompt", dump_python_json(context.prompt)}};
    const Value* const extra = context.extra_data.find("extra_pnginfo");
    if (extra != nullptr && extra->as_dict() != nullptr)
        for (const auto& [name, value] : *extra->as_dict())
            if (!name.empty() && name.size() < 80)
                texts.emplace_back(name, dump_python_json(value));
    return texts;
}

NodeOutcome save(NodeContext& context, const ImageValue& image, std::string_view type,
                 const std::string& prefix, int compression) {
    if (image.items.empty()) return NodeResult{{}, Dict{{"images", Value(List{})}}};
    const auto base = context.store.folder(type);
    const auto place = find_place(*base, fill_in(prefix, image));
    if (!place) return std::unexpected(place.error());
    const PngTexts texts = make_texts(context);
    List saved;
    int batch = 0;
    for (const auto& pixels : image.items) {
        std::string stem = place->stem;
        if (const auto at = stem.find("%batch_num%"); at != std::string::npos)
            stem.replace(at, 11, fmt::format("{}", batch));
        const std::string name = fmt::format("{}_{:05}_.png", stem, place->counter + batch);
        ++batch;
        const std::string png = encode_png(*pixels, texts, compression);
        const auto written = write_file(place->folder / name, png);
        if (!written) return raise("OSError", written.error().message);
        saved.emplace_back(Dict{{"filename", Value(name)},
                                {"subfolder", Value(place->subfolder)},
                                {"type", Value(type)}});
    }
    return NodeResult{{}, Dict{{"images", Value(std::move(saved))}}};
}

NodeOutcome save_image(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "images", "shape");
    return save(context, image, "output", inputs.text("filename_prefix"), kSaveCompression);
}

NodeOutcome preview_image(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "images", "shape");
    return save(context, image, "temp", context.temp_prefix, kPreviewCompression);
}

NodeOutcome save_image_websocket(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "images", "shape");
    const int count = static_cast<int>(image.items.size());
    for (int i = 0; i < count; ++i) {
        const Preview picture{*image.items[static_cast<std::size_t>(i)], true};
        PLIMSOLL_STEP(context.progress(i, count, &picture));
    }
    return NodeResult{{}, Dict{}};
}

NodeOutcome scale_to(const ImageValue& image, int width, int height, bool crop,
                     const std::string& method) {
    ImageValue scaled;
    const Resampling resampling =
        method == "nearest-exact" ? Resampling::Nearest : Resampling::Bilinear;
    for (const auto& pixels : image.items)
        scaled.items.push_back(std::make_shared<const Pixels>(resize(
            crop ? crop_to_shape(*pixels, width, height) : *pixels, width, height, resampling)));
    return NodeResult{{std::move(scaled)}, std::nullopt};
}

NodeOutcome image_scale(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "image", "movedim");
    int width = inputs.whole("width");
    int height = inputs.whole("height");
    if ((width == 0 && height == 0) || image.items.empty())
        return NodeResult{{image}, std::nullopt};
    const Pixels& first = *image.items.front();
    if (width == 0) width = std::max(1, first.width * height / first.height);
    if (height == 0) height = std::max(1, first.height * width / first.width);
    return scale_to(image, width, height, inputs.text("crop") == "center",
                    inputs.text("upscale_method"));
}

NodeOutcome image_scale_by(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "image", "movedim");
    if (image.items.empty()) return NodeResult{{image}, std::nullopt};
    const Pixels& first = *image.items.front();
    const double factor = inputs.number("scale_by", 1);
    return scale_to(image, std::max(1, static_cast<int>(std::lround(first.width * factor))),
                    std::max(1, static_cast<int>(std::lround(first.height * factor))), false,
                    inputs.text("upscale_method"));
}

NodeOutcome image_invert(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "image", "shape");
    ImageValue inverted;
    for (const auto& pixels : image.items) {
        Pixels copy = *pixels;
        for (std::uint8_t& value : copy.rgb) value = static_cast<std::uint8_t>(255 - value);
        inverted.items.push_back(std::make_shared<const Pixels>(std::move(copy)));
    }
    return NodeResult{{std::move(inverted)}, std::nullopt};
}

// ImageUpscaleWithModel keeps its model outside of the loader: room is made for it and for one tile
// by a formula, and tiles are halved while the card is too full.
NodeOutcome upscale_with_model(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(model, UpscaleModelValue, "upscale_model", "model");
    PLIMSOLL_LINKED(image, ImageValue, "image", "movedim");
    if (image.items.empty()) return NodeResult{{image}, std::nullopt};
    constexpr int kOverlap = 32;
    constexpr int kLeastTile = 128;
    Machine& machine = context.machine;
    const Pixels& first = *image.items.front();
    const auto image_bytes = static_cast<std::int64_t>(first.count()) * 3 * 4 *
                             static_cast<std::int64_t>(image.items.size());
    const bool gpu = machine.has_gpu();
    if (gpu)
        machine.manager.free(static_cast<double>(model.weights->size_bytes + image_bytes) +
                             512.0 * 512 * 3 * 4 * std::max(model.scale, 1) * 384);
    const std::int64_t held = model.weights->size_bytes + image_bytes;
    if (gpu && !machine.memory.take(held))
        return raise_out_of_memory(machine.memory.out_of_memory(held).text);
    NodeStep outcome;
    for (int tile = 512;; tile /= 2) {
        const TileShape shape{tile, tile, kOverlap};
        const int total =
            count_tiles(first.width, first.height, shape) * static_cast<int>(image.items.size());
        const auto activation = activation_of(
            {.network = "esrgan_rrdb_x4",
             .phase = "upscale",
             .element_bytes = 2,
             .extent = std::int64_t{std::min(tile, first.width)} * std::min(tile, first.height)});
        if (!activation) return std::unexpected(activation.error());
        outcome = {};
        for (int done = 1; done <= total && outcome; ++done) {
            outcome = run_network(context, {.device = gpu ? Device::Gpu : Device::Cpu,
                                            .activation = *activation,
                                            .workspace_share = kEncodeWorkspace});
            if (outcome) outcome = context.progress(done, total, nullptr);
        }
        const bool full = !outcome && outcome.error().out_of_memory;
        if (!full || tile / 2 < kLeastTile) break;
    }
    if (gpu) machine.memory.give(held);
    if (!outcome) return std::unexpected(outcome.error());
    return scale_to(image, first.width * model.scale, first.height * model.scale, false,
                    "bilinear");
}

constexpr std::array<NodeEntry, 10> kNodes{{
    {"EmptyImage", empty_image},
    {"LoadImage", load_image},
    {"LoadImageMask", load_image_mask},
    {"SaveImage", save_image},
    {"PreviewImage", preview_image},
    {"SaveImageWebsocket", save_image_websocket},
    {"ImageScale", image_scale},
    {"ImageScaleBy", image_scale_by},
    {"ImageInvert", image_invert},
    {"ImageUpscaleWithModel", upscale_with_model},
}};

}  // namespace

std::span<const NodeEntry> image_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
