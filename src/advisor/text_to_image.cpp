// SPDX-License-Identifier: Apache-2.0
#include "advisor/text_to_image.h"

#include "base/json.h"

#include <fmt/format.h>

namespace plimsoll::advisor {
namespace {

// Length of the valid UTF-8 sequence at `at`, 0 when there is none (RFC 3629: no surrogates, no
// overlong forms).
std::size_t utf8_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(at);
    std::size_t length = 0;
    unsigned second_min = 0x80;
    unsigned second_max = 0xBF;
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        length = 2;
    else if (lead >= 0xE0 && lead <= 0xEF)
        length = 3;
    else if (lead >= 0xF0 && lead <= 0xF4)
        length = 4;
    else
        return 0;
    if (lead == 0xE0) second_min = 0xA0;
    if (lead == 0xED) second_max = 0x9F;
    if (lead == 0xF0) second_min = 0x90;
    if (lead == 0xF4) second_max = 0x8F;
    if (at + length > text.size()) return 0;
    if (byte(at + 1) < second_min || byte(at + 1) > second_max) return 0;
    for (std::size_t i = at + 2; i < at + length; ++i)
        if ((byte(i) & 0xC0U) != 0x80) return 0;
    return length;
}

std::string quoted(std::string_view text) {
    std::string clean;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = utf8_length(text, i);
        if (length == 0) {
            clean += "\xEF\xBF\xBD";
            ++i;
        } else {
            clean += text.substr(i, length);
            i += length;
        }
    }
    return json::serialize(json::string(clean));
}

std::string decode_node(bool tiled) {
    if (!tiled)
        return R"(  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}})";
    // 512 and 64 are the node's own defaults; the temporal ones matter for video only but are
    // required.
    return R"(  "8": {"class_type": "VAEDecodeTiled", "inputs": {"samples": ["3", 0], "vae": ["4", 2], )"
           R"("tile_size": 512, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}})";
}

}  // namespace

std::string build_text_to_image(const Settings& s, std::string_view checkpoint,
                                std::string_view prompt, std::string_view negative,
                                std::string_view filename_prefix) {
    std::string out = "{\n";
    out += fmt::format(
        R"(  "3": {{"class_type": "KSampler", "inputs": {{"seed": {}, "steps": {}, "cfg": {:.4g}, )"
        R"("sampler_name": {}, "scheduler": {}, "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], )"
        R"("negative": ["7", 0], "latent_image": ["5", 0]}}}},)",
        s.seed, s.steps, s.cfg, quoted(s.sampler), quoted(s.scheduler));
    out += fmt::format(
        "\n  \"4\": {{\"class_type\": \"CheckpointLoaderSimple\", \"inputs\": {{\"ckpt_name\": "
        "{}}}}},",
        quoted(checkpoint));
    out += fmt::format(
        "\n  \"5\": {{\"class_type\": \"EmptyLatentImage\", \"inputs\": {{\"width\": {}, "
        "\"height\": {}, "
        "\"batch_size\": {}}}}},",
        s.width, s.height, s.batch);
    out += fmt::format(
        "\n  \"6\": {{\"class_type\": \"CLIPTextEncode\", \"inputs\": {{\"text\": {}, \"clip\": "
        "[\"4\", 1]}}}},",
        quoted(prompt));
    out += fmt::format(
        "\n  \"7\": {{\"class_type\": \"CLIPTextEncode\", \"inputs\": {{\"text\": {}, \"clip\": "
        "[\"4\", 1]}}}},\n",
        quoted(negative));
    out += decode_node(s.vae_tiling);
    out += fmt::format(
        ",\n  \"9\": {{\"class_type\": \"SaveImage\", \"inputs\": {{\"images\": [\"8\", 0], "
        "\"filename_prefix\": {}}}}}\n}}\n",
        quoted(filename_prefix));
    return out;
}

std::string styled_prompt(const ModelProfile& profile, std::string_view prompt) {
    std::string out(prompt);
    if (!profile.style_words.empty()) out += (out.empty() ? "" : ", ") + profile.style_words;
    return out;
}

}  // namespace plimsoll::advisor
