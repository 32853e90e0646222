// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuan_video.h"
#include "base/described.h"
#include "memory/trace/answers.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace plimsoll::memory::trace {

namespace {
constexpr int kGlyphsMax = 1 << 16;  // chosen: as many as tokens of a text
}

Result<Walk> answer_hunyuan_video(const Question& q) {
    constexpr int kFramesPerCell = 4;  // of the latent, after the first frame
    if (q.variant != "t2v" && !is_way_of_running(q.variant)) return unknown(q);
    modelfile::HunyuanVideoConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_hunyuan_video(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    return answer_step(q, *network, call);
}

namespace {

// HunyuanImage 2.1 as published; the refiner takes the image beside its noise, at half the scale.
std::optional<modelfile::HunyuanVideoConfig> known_image(std::string_view name) {
    modelfile::HunyuanVideoConfig c{.in_channels = 64,
                                    .out_channels = 64,
                                    .patch_size = {1, 1},
                                    .hidden_size = 3584,
                                    .num_heads = 28,
                                    .context_in_dim = 3584,
                                    .vec_in_dim = 0,
                                    .guidance_embed = false,
                                    .axes_dim = {64, 64},
                                    .byt5 = true};
    if (name == "base") return c;
    c.guidance_embed = c.meanflow = true;
    if (name == "distilled") return c;
    c.in_channels = 128;
    c.patch_size = {1, 1, 1};
    c.hidden_size = 3328;
    c.num_heads = 26;
    c.axes_dim = {16, 56, 56};
    c.byt5 = false;
    if (name == "refiner") return c;
    return std::nullopt;
}

int read_number(std::string_view text) {
    int number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc() && number > 0 && number <= kGlyphsMax ? number : 0;
}

// Tokens of glyphs: "base+byt5_128" counts them among its tokens, a note of "256 text + 128 byt5
// tokens" does not.
struct Glyphs {
    int tokens = 0;
    bool among_tokens = false;
};
Glyphs take_glyphs(std::string_view& variant, std::string_view note) {
    constexpr std::string_view kVariant = "+byt5_";
    constexpr std::string_view kPlus = " + ";
    if (const auto at = variant.find(kVariant); at != std::string_view::npos) {
        const int tokens = read_number(variant.substr(at + kVariant.size()));
        if (tokens > 0) variant.remove_suffix(variant.size() - at);
        return {tokens, true};
    }
    const auto end = note.find(" byt5");
    const auto at = end == std::string_view::npos ? end : note.rfind(kPlus, end);
    if (at == std::string_view::npos) return {};
    return {read_number(note.substr(at + kPlus.size())), false};
}

}  // namespace

Result<Walk> answer_hunyuan_image(const Question& q) {
    std::string_view name = q.variant;
    const Glyphs glyphs = take_glyphs(name, q.note);
    std::optional<modelfile::HunyuanVideoConfig> config = known_image(name);
    if (!config) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, *config));
    // The refiner was recorded, and is run, without the schedule.
    const bool refiner = name == "refiner";
    TRY_ASSIGN(const auto network,
               build_hunyuan_video(
                   *config, {.glyphs = glyphs.tokens, .schedule = config->meanflow && !refiner}));
    const int pixels_per_cell = refiner ? 16 : 32;
    if (q.width < pixels_per_cell || q.height < pixels_per_cell)
        return fail(Errc::InvalidInput,
                    fmt::format("width and height must be at least {}", pixels_per_cell));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / pixels_per_cell;
    call.latent_height = q.height / pixels_per_cell;
    if (glyphs.among_tokens) call.tokens -= glyphs.tokens;
    if (call.tokens < 1)
        return fail(Errc::InvalidInput, "the tokens must be more than those of the glyphs");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
