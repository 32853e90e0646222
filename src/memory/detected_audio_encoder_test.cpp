// SPDX-License-Identifier: Apache-2.0
//
// Networks that listen, from the names of files, from files of them and within a forecast.
#include "memory/detected_fixture.h"
#include "memory/networks/audio/audio_encoder.h"
#include "memory/simulate.h"
#include "modelfile/architectures.h"
#include "modelfile/file_names.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace plimsoll::memory {
namespace {

std::shared_ptr<const modelfile::Contents> named(const std::string& name) {
    const auto file = modelfile::guess_file(name, "audio_encoders");
    EXPECT_TRUE(file) << name;
    if (!file) return nullptr;
    const auto contents = known_file(*file, false);
    EXPECT_TRUE(contents) << name;
    return contents ? *contents : nullptr;
}

// Goal: the networks that names stand for are the published ones. Method: parameters against the
// papers: wav2vec 2.0 of 317 M and 95 M with the vectors of their training, 315 M and 94 M without;
// Whisper's encoder by hand, 32 layers of width 1280 and 5120, two convolutions and 1500 places.
TEST(AudioEncoders, have_the_parameters_of_the_published_networks) {
    const auto params = [](const char* name) {
        const auto contents = named(name);
        return contents == nullptr
                   ? 0.0
                   : static_cast<double>(contents->audio_encoder->weights.params) / 1e6;
    };
    EXPECT_NEAR(params("wav2vec2_large_english_fp16.safetensors"), 315.4, 0.5);
    EXPECT_NEAR(params("wav2vec2-chinese-base_fp16.safetensors"), 94.4, 0.3);
    EXPECT_NEAR(params("whisper_large_v3_fp16.safetensors"), 637, 0.5);
}

Walk hear(const char* name, double seconds) {
    const auto config = modelfile::known_audio_encoder(name);
    EXPECT_TRUE(config);
    const auto network = build_audio_encoder(*config);
    EXPECT_TRUE(network);
    return simulate_hearing(**network, {.seconds = seconds});
}

// Goal: Whisper takes as much for every sound, and the states of all layers stay. Method: by hand:
// 33 states of 1500 moments in fp32, and the two widest tensors of a feed-forward beside them.
TEST(AudioEncoders, whisper_hears_thirty_seconds_whatever_the_sound) {
    constexpr std::int64_t kState = 1500LL * 1280 * 4;
    const Walk walk = hear("whisper_large_v3", 4);
    EXPECT_GT(walk.peak.count, 33 * kState + 2 * 4 * kState);
    EXPECT_LT(walk.peak.count, 33 * kState + 2 * 4 * kState + 4 * kState);
    EXPECT_EQ(hear("whisper_large_v3", 60).peak, walk.peak);
}

// Goal: a long sound is widest where wav2vec 2.0 begins to shorten it. Method: by hand: 3200
// moments of a second, 512 channels in fp32, as the convolution makes them, copied, normed and
// bent.
TEST(AudioEncoders, wav2vec2_is_widest_at_the_first_convolution) {
    constexpr std::int64_t kSecond = 3200LL * 512 * 4;
    const Walk minute = hear("wav2vec2_large", 60);
    EXPECT_GT(minute.peak.count, 3 * 60 * kSecond - kSecond);
    EXPECT_LT(minute.peak.count, 3.2 * 60 * kSecond);
    const Walk two = hear("wav2vec2_large", 120);
    EXPECT_NEAR(static_cast<double>(two.peak.count) / static_cast<double>(minute.peak.count), 2,
                0.1);
}

TEST(AudioEncoders, no_sound_is_too_long_or_too_short) {
    EXPECT_GT(hear("wav2vec2_base", 0).peak.count, 0);
    EXPECT_GT(hear("wav2vec2_base", 1e12).peak.count, 0);
    modelfile::Wav2Vec2Config heads;
    heads.heads = 7;
    EXPECT_FALSE(build_audio_encoder(heads));
}

// A file of a network, with nothing but the tensors that tell its numbers.
class File {
  public:
    File& add(std::string name, std::vector<std::int64_t> shape) {
        modelfile::TensorEntry entry;
        entry.name = std::move(name);
        entry.dtype = modelfile::DType::Float16;
        entry.shape = std::move(shape);
        entry.bytes = Bytes(2 * modelfile::element_count(entry.shape));
        table_.tensors.push_back(std::move(entry));
        return *this;
    }
    [[nodiscard]] modelfile::Contents contents() {
        table_.index();
        return modelfile::detect_contents(table_);
    }

  private:
    modelfile::TensorTable table_;
};

File wav2vec2(int hidden, bool norms) {
    File file;
    file.add("wav2vec2.encoder.layer_norm.bias", {hidden});
    file.add("wav2vec2.feature_extractor.conv_layers.0.conv.weight", {512, 1, 10});
    if (norms) file.add("wav2vec2.feature_extractor.conv_layers.1.layer_norm.weight", {512});
    for (int i = 0; i < 3; ++i)
        file.add(
            fmt::format("wav2vec2.encoder.layers.{}.feed_forward.intermediate_dense.weight", i),
            {4 * hidden, hidden});
    file.add("lm_head.weight", {33, hidden});
    return file;
}

TEST(AudioEncoders, are_known_by_their_tensors) {
    const modelfile::Contents contents = wav2vec2(1024, true).contents();
    ASSERT_TRUE(contents.audio_encoder);
    const auto* config = std::get_if<modelfile::Wav2Vec2Config>(&contents.audio_encoder->config);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->layers, 3);
    EXPECT_EQ(config->heads, 16);
    EXPECT_TRUE(config->norm_first);
    EXPECT_EQ(contents.audio_encoder->weights.params, 1024 + 5120 + 512 + 3LL * 4 * 1024 * 1024);
    EXPECT_FALSE(wav2vec2(1280, true).contents().audio_encoder) << "none of that width is built";
}

TEST(AudioEncoders, a_sound_is_heard_within_a_forecast) {
    ModelFiles files;
    files.by_name["whisper_large_v3_fp16.safetensors"] = named("whisper_large_v3_fp16.safetensors");
    const auto graph = workflow::parse_api_workflow(R"({
        "1": {"class_type": "AudioEncoderLoader", "inputs": {"audio_encoder_name": "whisper_large_v3_fp16.safetensors"}},
        "2": {"class_type": "LoadAudio", "inputs": {"audio": "a.wav"}},
        "3": {"class_type": "AudioEncoderEncode", "inputs": {"audio_encoder": ["1", 0], "audio": ["2", 0]}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}})");
    ASSERT_TRUE(graph);
    Device device;
    device.total = Bytes::from_mib(8192);
    const Forecast forecast =
        simulate_program(lower_graph(*graph, build_models(files), {}), Server{}, device);
    EXPECT_EQ(forecast.verdict, Verdict::Fits);
    EXPECT_FALSE(forecast.bound);
    ASSERT_FALSE(forecast.phases.empty());
    const Phase& phase = forecast.phases.back();
    EXPECT_EQ(phase.class_type, "AudioEncoderEncode");
    EXPECT_TRUE(phase.runs_on_card);
    EXPECT_EQ(phase.compute, ComputeType::Float32);
    EXPECT_GT(phase.resident, Bytes::from_mib(1200)) << "its weights are kept in fp16";
}

}  // namespace
}  // namespace plimsoll::memory
