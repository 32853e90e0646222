// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/bound.h"

#include "base/json.h"
#include "memory/networks/gz_fixture.h"
#include "modelfile/sparse_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::memory {
namespace {

struct Listed {
    std::string name;
    std::int64_t elements = 0;
    modelfile::Outline outline;
};

// Every listing of tests/data/modelfile/headers, by nothing but its tensors.
std::vector<Listed> listings() {
    std::vector<Listed> all;
    for (const auto& entry :
         std::filesystem::directory_iterator(PLIMSOLL_TEST_DATA "/modelfile/headers")) {
        const std::string file = entry.path().filename().string();
        const auto table = modelfile::parse_listing(recorded_text("modelfile/headers/" + file));
        if (!table) continue;
        Listed listed{.name = file, .outline = modelfile::outline_of(*table)};
        for (const modelfile::TensorEntry& tensor : table->tensors)
            listed.elements += modelfile::element_count(tensor.shape);
        all.push_back(std::move(listed));
    }
    return all;
}

// The listing of a recorded network is the one with its number of parameters: families share them
// only where they are the same network.
const Listed* listing_of(const std::vector<Listed>& all, std::int64_t params) {
    const auto distance = [&](const Listed& one) { return std::abs(one.elements - params); };
    const auto nearest = std::ranges::min_element(all, {}, distance);
    constexpr std::int64_t kOnePercent = 100;
    if (nearest == all.end() || distance(*nearest) * kOnePercent > params) return nullptr;
    return &*nearest;
}

std::vector<std::int64_t> numbers(const json::value& line, std::string_view field) {
    std::vector<std::int64_t> found;
    const json::value* list = find(line, field);
    if (list == nullptr || !list->is_array()) return found;
    for (const json::value& item : list->get_array())
        found.push_back(item.to_number<std::int64_t>());
    return found;
}

std::int64_t number(const json::value& line, std::string_view field, std::int64_t otherwise) {
    return find_int(line, field).value_or(otherwise);
}

// Cells of time and space, as far as the line says them: recorders wrote [batch, channels, (time,)
// height, width], [time, height, width] or nothing.
std::int64_t cells_of(const json::value& line) {
    const std::vector<std::int64_t> latent = numbers(line, "latent");
    const std::int64_t width = number(line, "width", 0);
    const std::int64_t height = number(line, "height", 0);
    const std::int64_t frames = number(line, "frames", 1);
    if (width == 0) {  // a sound
        constexpr std::int64_t kCellsOfSecond = 25;
        constexpr std::int64_t kRowsMax = 16;  // more are channels
        if (latent.empty()) return frames * kCellsOfSecond;
        return latent.back() * (latent.front() <= kRowsMax ? latent.front() : 1);
    }
    if (latent.size() == 3) return latent[0] * latent[1] * latent[2];
    if (latent.size() == 4) return latent[2] * latent[3];
    if (latent.size() == 5) return latent[2] * latent[3] * latent[4];
    return width * height / 64 * ((frames - 1) / 4 + 1);
}

bool computes_in_fp32(const json::value& line) {
    return find_string(line, "dtype").value_or("").ends_with("fp32");
}

std::optional<ActivationBound> bound_of(const json::value& line, const modelfile::Outline& o) {
    const std::string_view phase = find_string(line, "phase").value_or("");
    const std::int64_t batch = number(line, "batch", 1);
    const std::int64_t element = computes_in_fp32(line) ? 4 : 2;
    const std::int64_t width = number(line, "width", 0);
    const std::int64_t height = number(line, "height", 0);
    if (phase == "unet_step" || phase == "controlnet") {
        const std::vector<std::int64_t> latent = numbers(line, "latent");
        const std::string_view variant = find_string(line, "variant").value_or("");
        const std::int64_t references = variant.ends_with("2ref")   ? 2
                                        : variant.ends_with("1ref") ? 1
                                                                    : 0;
        return bound_step(o, {.batch = batch,
                              .cells = cells_of(line) * (1 + references),
                              .channels = latent.size() > 3 ? latent[1] : 0,
                              .tokens = number(line, "tokens", 0),
                              .element_bytes = element});
    }
    if (phase == "text_encode" && width == 0)
        return bound_text(o, {.rows = batch, .tokens = number(line, "tokens", 77)});
    if ((phase == "vae_decode" || phase == "vae_encode") && width > 0)
        return bound_pixels(
            o, {.images = batch * number(line, "frames", 1),
                .pixels = width * height,
                .element_bytes = element,
                .attention_by_square = find_string(line, "attention").value_or("") == "math"});
    return std::nullopt;
}

// Goal: blind bounds are true, and no wider than useful. Method: every recorded walk whose network
// has a listing is bound by the tensors alone, as if nobody knew the family; none may be outside.
TEST(ActivationBound, holds_for_every_recorded_walk_of_every_known_family) {
    const std::vector<Listed> all = listings();
    ASSERT_GT(all.size(), 100U);
    std::map<std::string, std::vector<double>> wide;  // upper bound over the recorded peak
    for (const auto& entry : std::filesystem::directory_iterator(PLIMSOLL_TEST_DATA "/traces")) {
        if (entry.path().extension() != ".jsonl") continue;
        std::ifstream file(entry.path());
        for (std::string text; std::getline(file, text);) {
            const json::value line = parse_json(text).value();
            const auto params = find_int(line, "params");
            const auto peak = find_int(line, "peak_bytes");
            if (!params || !peak) continue;
            const Listed* listed = listing_of(all, *params);
            if (listed == nullptr) continue;
            const auto bound = bound_of(line, listed->outline);
            if (!bound) continue;
            const std::int64_t most = std::max(*peak, number(line, "peak_bytes_cu130", 0));
            EXPECT_LE(most, bound->upper.count) << listed->name << ": " << text << "\n"
                                                << bound->reason.message();
            // The peak is that of tensors; weights and inputs were resident beside it.
            EXPECT_GE(most + number(line, "weights_bytes", 0) + number(line, "input_bytes", 0),
                      bound->lower.count)
                << listed->name << ": " << text;
            wide[std::string(find_string(line, "phase").value_or(""))].push_back(
                static_cast<double>(bound->upper.count) / static_cast<double>(most));
        }
    }
    for (auto& [phase, times] : wide) {
        std::ranges::sort(times);
        fmt::print(
            "{}: {} walks, upper bound over the peak: {:.2f} at least, {:.1f} median, {:.0f} "
            "most\n",
            phase, times.size(), times.front(), times[times.size() / 2], times.back());
        RecordProperty(phase + "_walks", static_cast<int>(times.size()));
    }
    ASSERT_TRUE(wide.contains("unet_step") && wide.contains("vae_decode") &&
                wide.contains("text_encode"));
    EXPECT_GT(wide["unet_step"].size(), 400U);
    constexpr double kUseful = 16;  // chosen: wider tells nobody anything
    EXPECT_LT(wide["unet_step"][wide["unet_step"].size() / 2], kUseful);
    EXPECT_LT(wide["text_encode"][wide["text_encode"].size() / 2], kUseful);
}

}  // namespace
}  // namespace plimsoll::memory
