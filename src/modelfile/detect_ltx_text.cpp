// SPDX-License-Identifier: Apache-2.0
//
// The part of LTX-2's text encoder that its checkpoints bring. Gemma itself has a file of its own.
#include "modelfile/detect.h"
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

namespace {

constexpr std::string_view kProjection = "text_embedding_projection.";
constexpr int kGemmaWidth = 3840;      // of Gemma 3 12B
constexpr int kConnectorWidth = 3840;  // of the first LTX-2, by which ComfyUI knows it
constexpr int kHeadWidth = 128;        // published

bool read_projection(NumberReader& read, const TensorView& view, LtxTextProjectionConfig& c) {
    const bool two = view.has("video_aggregate_embed.weight");
    const std::string_view video = two                                  ? "video_aggregate_embed"
                                   : view.has("aggregate_embed.weight") ? "aggregate_embed"
                                                                        : "";
    const auto tensor = [&](std::string_view name) {
        return video.empty() ? std::string(name) : fmt::format("{}.{}", video, name);
    };
    if (!view.has(tensor("weight"))) return false;
    c.hidden_size = kGemmaWidth;
    c.states =
        read.quotient(read.length(tensor("weight"), 1, 2), kGemmaWidth, "states of the language");
    c.video_features = read.length(tensor("weight"), 0, 2);
    c.bias = view.has(tensor("bias"));
    if (two) c.audio_features = read.length("audio_aggregate_embed.weight", 0, 2);
    return true;
}

std::optional<LtxTextConnectorConfig> read_connector(const TensorView& view) {
    const auto bias_of = [](int block) {
        return fmt::format("audio_embeddings_connector.transformer_1d_blocks.{}.attn1.to_q.bias",
                           block);
    };
    if (view.axis(bias_of(0), 0, 1) != kConnectorWidth || view.has(bias_of(2))) return std::nullopt;
    LtxTextConnectorConfig c;
    c.num_layers = view.count("audio_embeddings_connector.transformer_1d_blocks.{}.");
    c.attention_head_dim = kHeadWidth;
    c.num_attention_heads = kConnectorWidth / kHeadWidth;
    return c;
}

}  // namespace

std::vector<Part<TextEncoderConfig>> detect_ltx_text(const TensorTable& table, Notes& notes) {
    std::vector<Part<TextEncoderConfig>> found;
    const TensorView view(table, std::string(kProjection));
    NumberReader read(view, "LTX-2's text projection");
    LtxTextProjectionConfig projection;
    if (!read_projection(read, view, projection) || !read.sound(notes)) return found;
    found.push_back({projection, sum_weights(table, kProjection), std::string(kProjection)});
    constexpr std::string_view kDenoiser = "model.diffusion_model.";
    if (const auto connector = read_connector(TensorView(table, std::string(kDenoiser)))) {
        WeightSum sum;
        for (const std::string_view part : {"audio", "video"})
            for (const std::uint32_t at :
                 table.with_prefix(fmt::format("{}{}_embeddings_connector.", kDenoiser, part)))
                sum.add(table.tensors[at]);
        found.push_back({*connector, sum.total(), std::string(kDenoiser)});
    }
    return found;
}

}  // namespace plimsoll::modelfile
