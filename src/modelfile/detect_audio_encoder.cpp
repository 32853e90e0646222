// SPDX-License-Identifier: Apache-2.0
//
// Networks that listen: wav2vec 2.0 and Whisper's encoder, as Hugging Face's library names them.
#include "modelfile/detect_numbers.h"
#include "modelfile/detect_parts.h"

#include <string>

namespace plimsoll::modelfile {
namespace {

constexpr int kHeadWidth = 64;  // of all that were published

std::optional<AudioEncoderConfig> detect_wav2vec2(const TensorView& view, Notes& notes) {
    NumberReader read(view, "wav2vec 2.0");
    Wav2Vec2Config c;
    c.hidden = read.length("encoder.layer_norm.bias", 0, 1);
    c.heads = read.quotient(c.hidden, kHeadWidth, "heads");
    c.layers = read.blocks("encoder.layers.{}.", "layers");
    c.feed_forward = read.length("encoder.layers.0.feed_forward.intermediate_dense.weight", 0, 2);
    c.conv_width = read.length("feature_extractor.conv_layers.0.conv.weight", 0, 3);
    c.norm_each = view.has("feature_extractor.conv_layers.1.layer_norm.weight");
    // No tensor tells where the layers' norms are: the large ones, whose convolutions all have
    // norms, were published with them first.
    c.norm_first = c.norm_each;
    constexpr int kLarge = 1024;
    constexpr int kBase = 768;
    read.expect(c.hidden == (c.norm_each ? kLarge : kBase), "it is of another width");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<AudioEncoderConfig> detect_whisper(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Whisper");
    WhisperConfig c;
    c.positions = read.length("encoder.embed_positions.weight", 0, 2);
    c.hidden = read.length("encoder.embed_positions.weight", 1, 2);
    c.heads = read.quotient(c.hidden, kHeadWidth, "heads");
    c.layers = read.blocks("encoder.layers.{}.", "layers");
    c.feed_forward = read.length("encoder.layers.0.fc1.weight", 0, 2);
    c.mels = read.length("encoder.conv1.weight", 1, 3);
    // ComfyUI builds the third large one only.
    constexpr int kLargeMels = 128;
    constexpr int kLargeLayers = 32;
    read.expect(c.mels == kLargeMels && c.layers == kLargeLayers, "it is of another size");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Its decoder writes texts, which ComfyUI leaves in the file.
PartWeights sum_below(const TensorTable& table, std::string_view prefix) {
    WeightSum sum;
    for (const std::uint32_t at : table.with_prefix(prefix)) {
        const TensorEntry& tensor = table.tensors[at];
        const std::string_view rest = std::string_view(tensor.name).substr(prefix.size());
        if (rest.starts_with("encoder.") || rest.starts_with("feature_") ||
            rest == "masked_spec_embed")
            sum.add(tensor);
    }
    return sum.total();
}

}  // namespace

std::optional<Part<AudioEncoderConfig>> detect_audio_encoder(const TensorTable& table,
                                                             Notes& notes) {
    for (const std::string_view prefix : {"wav2vec2.", ""}) {
        const TensorView view(table, std::string(prefix));
        if (!view.has("feature_extractor.conv_layers.0.conv.weight") ||
            !view.has("encoder.layers.0.feed_forward.intermediate_dense.weight"))
            continue;
        auto config = detect_wav2vec2(view, notes);
        if (!config) return std::nullopt;
        return Part<AudioEncoderConfig>{*std::move(config), sum_below(table, prefix),
                                        std::string(prefix)};
    }
    constexpr std::string_view kWhisper = "model.";
    const TensorView view(table, std::string(kWhisper));
    if (!view.has("encoder.embed_positions.weight") || !view.has("encoder.conv2.weight"))
        return std::nullopt;
    auto config = detect_whisper(view, notes);
    if (!config) return std::nullopt;
    return Part<AudioEncoderConfig>{*std::move(config), sum_below(table, kWhisper),
                                    std::string(kWhisper)};
}

}  // namespace plimsoll::modelfile
