// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/recorded_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kSideMax = 1 << 16;

Result<std::int64_t> number_at(const json::value& object, std::string_view key, double max) {
    const auto value = find_number(object, key);
    if (!value || !(*value >= 0) || *value > max)
        return fail(Errc::InvalidInput, fmt::format("{} must be from 0 to {}", key, max));
    return static_cast<std::int64_t>(*value);
}

// [images, channels, (frames,) rows, columns]
json::array call_shape(std::int64_t images, std::int64_t channels, const TileSize& size,
                       bool video) {
    json::array shape{images, channels};
    if (video) shape.emplace_back(size.frames);
    shape.emplace_back(size.height);
    shape.emplace_back(size.width);
    return shape;
}

}  // namespace

Result<std::vector<std::int64_t>> shape_at(const json::value& inputs, std::string_view key) {
    const json::value* value = find(inputs, key);
    const std::size_t rank = value == nullptr || !value->is_array() ? 0 : value->get_array().size();
    if (rank != 4 && rank != 5)
        return fail(Errc::NotFound, fmt::format("{} is no shape of an image or a video", key));
    std::vector<std::int64_t> shape;
    for (const json::value& side : value->get_array()) {
        if (!side.is_int64() || side.get_int64() < 1 || side.get_int64() > kSideMax)
            return fail(Errc::InvalidInput, fmt::format("{} has a side out of range", key));
        shape.push_back(side.get_int64());
    }
    return shape;
}

std::optional<ComputeType> torch_type(std::optional<std::string_view> name) {
    constexpr std::array<std::pair<std::string_view, ComputeType>, 5> kNames = {
        {{"torch.float32", ComputeType::Float32},
         {"torch.float16", ComputeType::Float16},
         {"torch.bfloat16", ComputeType::BFloat16},
         {"torch.float8_e4m3fn", ComputeType::Float8E4M3},
         {"torch.float8_e5m2", ComputeType::Float8E5M2}}};
    for (const auto& [text, type] : kNames)
        if (name == text) return type;
    return std::nullopt;
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (end > at) words.emplace_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

Result<Device> read_device(const json::value& card) {
    constexpr double kMibMax = 1 << 24;
    Device device;
    TRY_ASSIGN(const std::int64_t total, number_at(card, "tot_mib", kMibMax));
    TRY_ASSIGN(const std::int64_t others, number_at(card, "x_mib", kMibMax));
    TRY_ASSIGN(const std::int64_t host, number_at(card, "cpu_free_mib", kMibMax));
    device.total = Bytes::from_mib(static_cast<double>(total));
    device.used_by_others = Bytes::from_mib(static_cast<double>(others));
    device.host_ram_free = Bytes::from_mib(static_cast<double>(host));
    if (find_string(card, "os") == "windows") device.os = OperatingSystem::Windows;
    const std::string_view cc = find_string(card, "cc").value_or("8.6");
    const auto version = parse_comfy_version(cc);  // the same form: major.minor
    if (!version) return fail(Errc::InvalidInput, "cc must be like 8.6");
    device.compute_capability = version->major * 10 + version->minor;
    return device;
}

json::array calls_of(std::string_view what, std::span<const TileRun> runs, const VaeInput& input,
                     std::string_view dtype, std::int64_t images) {
    json::array calls;
    for (const TileRun& run : runs)
        calls.push_back(json::array{what, call_shape(images, input.channels, run.size, input.video),
                                    dtype, run.count});
    return calls;
}

void read_text_types(const json::value* recorded, std::vector<BuiltTextEncoder>& encoders) {
    if (recorded == nullptr || !recorded->is_array() || recorded->get_array().empty()) return;
    const json::value& last = recorded->get_array().back();
    if (!last.is_string()) return;
    for (BuiltTextEncoder& encoder : encoders)
        encoder.stored = torch_type(last.get_string()).value_or(encoder.stored);
}

RecordedModel recorded_model(std::string_view name) {
    constexpr auto kModels = std::to_array<RecordedModel>({
        {"sdxl_bf16", "sdxl"},
        {"sd3m", "sd3", LoadedBy::CheckpointAndClip},
        {"flux_bf16", "flux_dev", LoadedBy::Parts},
        {"flux_fp8", "flux_dev", LoadedBy::Parts},
        {"flux_bf16_wd_fp8", "flux_dev", LoadedBy::Parts},
        {"qwen_fp8", "qwen_image", LoadedBy::Parts},
        {"wan13", "wan_t2v_1.3b", LoadedBy::Parts},
        {"wan14_fp8", "wan_t2v_14b", LoadedBy::Parts},
    });
    const auto* found = std::ranges::find(kModels, name, &RecordedModel::name);
    return found == kModels.end() ? RecordedModel{name, name} : *found;
}

void append_slices(json::array& calls, std::string_view what, const VaeInput& input, int slice,
                   std::string_view dtype) {
    for (const auto& [images, count] : {std::pair{std::int64_t{slice}, input.images / slice},
                                        std::pair{input.images % slice, std::int64_t{1}}}) {
        if (images == 0 || count == 0) continue;
        const TileRun run{input.size, static_cast<int>(count)};
        for (json::value& call : calls_of(what, {&run, 1}, input, dtype, images))
            calls.push_back(std::move(call));
    }
}

}  // namespace plimsoll::memory
