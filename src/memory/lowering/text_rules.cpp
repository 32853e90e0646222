// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/text_rules.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace plimsoll::memory {

namespace {

constexpr int kChunkTokens = 77;
constexpr int kTokensMax = 1 << 16;  // chosen: far above any text
// Marks of a turn around a prompt that no encoder reads: HiDream-O1-Image's.
constexpr int kAroundPlain = 10;

// Facts of ComfyUI's tokenizers and text encoder classes (0.3.64; those of newer models 0.33.0).
// Lengths of templates are those of their published tokenizers, about.
struct TextRule {
    std::string_view encoder;
    std::string_view purpose;  // empty: any
    int around = 0;            // tokens of the template and of marks around the prompt
    int shortest = 1;          // padded to it
    int cut_off = 0;  // of the output: the template's part before the prompt; below 0: added to it
};
constexpr std::array kRules = std::to_array<TextRule>({
    {"t5_xxl", "sd3", 1, 77, 0},
    {"t5_xxl", "flux", 1, 256, 0},
    {"t5_xxl", "cosmos", 1, 512, 0},
    {"t5_xxl", "ltxv", 1, 128, 0},
    {"t5_xxl", "hidream", 1, 128, 0},
    {"t5_xxl", "", 1, 1, 0},
    {"umt5_xxl", "", 1, 512, 0},
    {"byt5_small", "", 1, 1, 0},
    {"t5gemma", "", 0, 1, 0},
    {"sam3_text", "", 2, 32, 0},
    // A short template; 256 learned tokens are read with the prompt and are part of the condition.
    {"ming_text", "", 276, 1, 0},
    {"t5_base", "", 1, 128, -2},  // the start and the length of the sound are tokens too
    {"umt5_base", "", 1, 1, 0},
    // A long instruction comes first; of all that, 300 tokens are the condition.
    {"gemma2_2b", "pixeldit", 206, 504, 204},
    {"gemma2_2b", "", 40, 1, 0},
    {"gemma3_12b", "", 1, 1024, 0},
    {"gemma4", "ltxv", 1, 1024, 0},
    {"qwen25_7b", "qwen_image", 39, 1, 34},
    {"qwen25_7b", "hunyuan_image", 39, 1, 34},
    {"qwen25_7b", "hunyuan_video_15", 110, 1, 108},
    {"qwen25_7b", "kandinsky5", 130, 1, 129},
    {"qwen25_7b", "kandinsky5_image", 42, 1, 41},
    {"qwen25_7b", "", 39, 1, 34},
    {"qwen25_3b", "", 30, 1, 0},
    {"qwen3vl_4b", "", 39, 1, 34},
    {"qwen3vl_8b", "boogu", 31, 1, 0},
    {"qwen3vl_8b", "", 8, 1, 0},
    {"qwen3_06b", "anima", 1, 512, 0},
    {"qwen3_06b", "ace", 50, 1, 0},
    {"qwen3_06b", "ace_step15", 50, 1, 0},
    {"qwen3_06b", "", 1, 1, 0},
    {"qwen3_4b", "flux2", 12, 512, 0},
    {"qwen3_8b", "flux2", 12, 512, 0},
    {"qwen3_4b", "", 8, 1, 0},
    {"qwen3_8b", "", 12, 512, 0},
    {"mistral3_24b", "", 30, 512, 0},
    {"ministral3_3b", "", 1, 1, 0},
    {"llama3_8b_hv", "hunyuan_video", 100, 256, 95},
    {"llama3_8b_hv", "", 1, 128, 0},
});

constexpr TextRule kPlain{.encoder = {}, .purpose = {}, .around = 1, .shortest = 1, .cut_off = 0};

const TextRule& rule_of(std::string_view encoder, std::string_view purpose) {
    const auto* found = std::ranges::find_if(kRules, [&](const TextRule& rule) {
        return rule.encoder == encoder && (rule.purpose.empty() || rule.purpose == purpose);
    });
    return found == kRules.end() ? kPlain : *found;
}

// Language models that write codes of sound and encode nothing: ACE-Step 1.5's, MiniMax Music 3's.
bool only_writes(std::string_view encoder) {
    return encoder == "qwen3_2b_lm" || encoder == "qwen3_4b_lm" || encoder == "minimax_music3_lm";
}

bool is_clip(std::string_view encoder) {
    return encoder.starts_with("clip_");
}

// Glyphs come beside the text; what follows LTX-2's language model changes its tokens.
bool is_beside_text(std::string_view encoder) {
    return encoder == "byt5_small" || encoder.starts_with("ltx_text_");
}

}  // namespace

PromptUse use_prompt(std::span<const std::string> encoders, std::string_view purpose,
                     const PromptLength& prompt) {
    const auto among = [&](std::string_view name) {
        return std::ranges::find(encoders, name) != encoders.end();
    };
    // No loader names what four encoders are for. CLIP's tokens are not part of the condition.
    const bool hidream = among("clip_g") && among("llama3_8b_hv");
    if (hidream) purpose = "hidream";
    PromptUse use;
    if (encoders.empty()) {
        use.tokens = std::clamp(prompt.tokens + kAroundPlain, 1, kTokensMax);
        return use;
    }
    const int weighted = prompt.weighted ? 1 : 0;
    int of_clip = 0;
    int of_others = 0;
    for (const std::string& encoder : encoders) {
        if (is_clip(encoder)) {
            use.runs.push_back({prompt.chunks + weighted, kChunkTokens});
            of_clip = prompt.chunks * kChunkTokens;
            continue;
        }
        if (only_writes(encoder)) {
            use.runs.push_back({.rows = 0, .tokens = 0});
            continue;
        }
        const TextRule& rule = rule_of(encoder, purpose);
        const int tokens =
            std::clamp(std::max(prompt.tokens + rule.around, rule.shortest), 1, kTokensMax);
        use.runs.push_back({1 + weighted, tokens});
        // Of several encoders the first one's is the condition.
        if (of_others == 0 && !is_beside_text(encoder))
            of_others = std::max(1, tokens - rule.cut_off);
    }
    const bool joined = purpose == "sd3" || (among("clip_g") && !hidream);
    if (of_others == 0)
        use.tokens = std::max(of_clip, 1);
    else
        use.tokens = of_others + (joined ? of_clip : 0);
    return use;
}

}  // namespace plimsoll::memory
