// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuan_video.h"
#include "base/check.h"
#include "base/described.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace plimsoll::memory::trace {

namespace {
constexpr int kGlyphsMax = 1 << 16;  // chosen: as many as tokens of a text
constexpr int kFramesPerCell = 4;    // of the latent, after the first frame
}  // namespace

Result<Walk> answer_hunyuan_video(const Question& q) {
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
    auto base = modelfile::known_denoiser<modelfile::HunyuanVideoConfig>("hunyuanimage21");
    CHECK(base.has_value());  // compiled in
    modelfile::HunyuanVideoConfig c = *std::move(base);
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

// HunyuanVideo 1.5 as published. Its latent comes with an image's and a mask; before a larger one,
// with two of them.
modelfile::HunyuanVideoConfig video_15() {
    return {.in_channels = 65,
            .out_channels = 32,
            .patch_size = {1, 1, 1},
            .hidden_size = 2048,
            .num_heads = 16,
            .depth = 54,
            .depth_single_blocks = 0,
            .context_in_dim = 3584,
            .vec_in_dim = 0,
            .guidance_embed = false,
            .byt5 = true,
            .meanflow_sum = true,
            .use_cond_type_embedding = true,
            .vision_in_dim = 1152};
}

int read_number(std::string_view text) {
    int number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc() && number > 0 && number <= kGlyphsMax ? number : 0;
}

// A note's "+ 128 byt5 tokens"; 0 where it says nothing of them.
int tokens_before(std::string_view note, std::string_view kind) {
    constexpr std::string_view kPlus = "+ ";
    const auto end = note.find(kind);
    const auto at = end == std::string_view::npos ? end : note.rfind(kPlus, end);
    return at == std::string_view::npos ? 0 : read_number(note.substr(at + kPlus.size()));
}

// Tokens of glyphs: "base+byt5_128" counts them among its tokens, a note of "256 text + 128 byt5
// tokens" does not.
struct Glyphs {
    int tokens = 0;
    bool among_tokens = false;
};
Glyphs take_glyphs(std::string_view& variant, std::string_view note) {
    constexpr std::string_view kVariant = "+byt5_";
    if (const auto at = variant.find(kVariant); at != std::string_view::npos) {
        const int tokens = read_number(variant.substr(at + kVariant.size()));
        if (tokens > 0) variant.remove_suffix(variant.size() - at);
        return {tokens, true};
    }
    return {tokens_before(note, " byt5"), false};
}

}  // namespace

Result<Walk> answer_hunyuan_image(const Question& q) {
    std::string_view name = q.variant;
    const Glyphs glyphs = take_glyphs(name, q.note);
    if (is_way_of_running(name)) name = "base";
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

Result<Walk> answer_hunyuan_video_15(const Question& q) {
    constexpr int kPixelsPerCell = 16;
    constexpr int kGlyphTokens = 128;   // of every recorded text
    constexpr int kVisionTokens = 729;  // of SigLIP at 384 x 384 pixels
    if (q.variant != "t2v" && q.variant != "i2v" && q.variant != "sr_distilled") return unknown(q);
    modelfile::HunyuanVideoConfig config = video_15();
    if (q.variant == "sr_distilled") {
        config.in_channels = 98;
        config.meanflow = true;
    }
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    HunyuanExtras extras{.glyphs = config.byt5 ? kGlyphTokens : 0, .schedule = config.meanflow};
    if (const int told = tokens_before(q.note, " byt5"); told > 0) extras.glyphs = told;
    if (q.variant == "i2v") {
        const int told = tokens_before(q.note, " SigLIP");
        extras.vision = told > 0 ? told : kVisionTokens;
    }
    TRY_ASSIGN(const auto network, build_hunyuan_video(config, extras));
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kPixelsPerCell;
    call.latent_height = q.height / kPixelsPerCell;
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
