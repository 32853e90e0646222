// SPDX-License-Identifier: Apache-2.0
//
// Goal: the simulated loader keeps, evicts and streams what the real one kept, evicted and
// streamed. Method: the recorded calls of ComfyUI 0.3.64's loader (SD 1.5 and SDXL, cards of 4 to
// 24 GB, eleven sets of flags; made of the recordings by dropping fields) are played against the
// simulated one, step by step, and the bytes on the card are compared.
#include "simulator/card/loader.h"

#include "base/json.h"
#include "simulator/card/estimate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <map>

namespace plimsoll::simulator {
namespace {

std::vector<std::string> read_lines(const char* path) {
    std::vector<std::string> lines;
    gzFile file = gzopen(path, "rb");
    std::string text;
    std::array<char, 1 << 16> piece{};
    for (int n = 0; (n = gzread(file, piece.data(), piece.size())) > 0;)
        text.append(piece.data(), static_cast<std::size_t>(n));
    gzclose(file);
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

std::int64_t whole(const json::value& object, std::string_view key) {
    return find_int(object, key).value();
}

// One recorded scenario on one card.
class Replay {
  public:
    explicit Replay(const json::value& card)
        : flags_(parse_launch_flags(find_string(card, "flags").value()).value()),
          memory_(whole(card, "tot_mib") << 20U, whole(card, "x_mib") << 20U, 0),
          manager_(memory_, flags_, whole(card, "cpu_free_mib") << 20U) {}

    void step(const json::value& line) {
        const auto step = find_string(line, "step").value();
        if (step == "load") load_checkpoint(line);
        if (step == "end_of_prompt_unload_all") manager_.unload_all();
        if (step == "outputs_dropped_from_cache") {
            for (const auto& [name, weights] : models_) manager_.forget(weights);
            models_.clear();
        }
        if (step != "load")
            for (const auto& call : line.at("load_calls").as_array())
                play(call, find_string(line, "scenario")->ends_with("cnet_first"));
    }

    // Empty when all that is on the card is what was recorded.
    [[nodiscard]] std::string difference(const json::value& line) const {
        std::string text;
        for (const auto& resident : line.at("resident").as_array()) {
            const std::string name(resident.at(0).as_string());
            const auto found = models_.find(name);
            if (found == models_.end()) return name + " is missing";
            const Weights& weights = *found->second;
            // A model on the CPU is "loaded" in the loader's eyes.
            if (weights.loaded_bytes != resident.at(1).as_int64())
                text += fmt::format("{}: loaded {} recorded {}; ", name, weights.loaded_bytes,
                                    resident.at(1).as_int64());
            if (weights.physical_bytes != resident.at(2).as_int64())
                text += fmt::format("{}: physical {} recorded {}; ", name, weights.physical_bytes,
                                    resident.at(2).as_int64());
        }
        if (memory_.free() != whole(line, "free_after"))
            text += fmt::format("free {} recorded {}", memory_.free(), whole(line, "free_after"));
        return text;
    }

  private:
    void load_checkpoint(const json::value& line) {
        const auto& inputs = line.at("inputs");
        const std::string model(find_string(inputs, "model").value());
        const bool xl = model.starts_with("sdxl");
        const int vae_bytes = find_string(inputs, "vae_dtype") == "torch.float32" ? 4 : 2;
        const auto add = [&](const char* kind, const std::vector<std::string>& networks, int bytes,
                             std::int64_t buffers) {
            auto weights = make_weights(kind + (":" + model), networks, bytes, buffers);
            if (flags_.gpu_only) weights->offload_device = Device::Gpu;
            models_[weights->name] = weights;
            return weights;
        };
        const auto unet = add("unet", {xl ? "sdxl" : "sd15"}, 2, xl ? 40000 : 8000);
        const auto text =
            xl ? add("te", {"te_clip_l", "te_clip_g"}, 2, 8) : add("te", {"te_clip_l"}, 2, 4);
        add("vae", {"vae_kl4"}, vae_bytes, 0);
        unet->hidden_bytes = xl ? 10240 : 0;  // data_mean and data_std of the noise augmentor
        if (flags_.vram_state == VramState::HighVram) unet->offload_device = Device::Gpu;
        if (flags_.vram_state == VramState::LowVram || flags_.vram_state == VramState::NoVram)
            text->load_device = Device::Cpu;
        const Device unet_at = manager_.first_device_of_unet(*unet);
        EXPECT_EQ(unet_at == Device::Gpu, find_string(inputs, "unet_device") == "meta") << line;
        ASSERT_TRUE(manager_.place(unet, unet_at));
        const Device text_at = manager_.first_device_of_text_encoder(*text);
        EXPECT_EQ(text_at == Device::Gpu, find_string(inputs, "te_device") == "meta") << line;
        ASSERT_TRUE(manager_.place(text, text_at));
        if (text_at == text->load_device)
            ASSERT_TRUE(manager_.load({.models = {{text, 0}}, .force_full_load = true}));
        if (unet_at == Device::Gpu)
            ASSERT_TRUE(manager_.load({.models = {{unet, 0}}, .force_full_load = true}));
    }

    // `reversed`: ComfyUI's set of models came in the other order in these recordings.
    void play(const json::value& call, bool reversed) {
        ModelManager::LoadRequest request{
            .models = {},
            .memory_required = find_number(call, "memory_required").value(),
            .minimum_memory_required = find_number(call, "minimum"),
            .force_full_load = find_bool(call, "full").value()};
        std::size_t index = 0;
        for (const auto& name_value : call.at("models").as_array()) {
            const std::string name(name_value.as_string());
            if (!models_.contains(name) && name.starts_with("cnet")) {
                models_[name] = make_weights(name, {"controlnet_sdxl_cldm"}, 2, 0);
                models_[name]->references = 3;
            }
            const auto& patches = call.at("patches").as_array();
            const int patch =
                index < patches.size() ? static_cast<int>(patches[index].as_int64()) : 0;
            ++index;
            request.models.push_back({models_.at(name), patch});
        }
        if (reversed) std::ranges::reverse(request.models);
        ASSERT_TRUE(manager_.load(request));
    }

    LaunchFlags flags_;
    GpuMemory memory_;
    ModelManager manager_;
    std::map<std::string, std::shared_ptr<Weights>> models_;
};

TEST(ModelManager, keeps_and_evicts_the_bytes_that_the_real_loader_kept_and_evicted) {
    std::map<std::string, std::unique_ptr<Replay>> replays;
    int steps = 0;
    int different = 0;
    for (const std::string& text : read_lines(PLIMSOLL_TEST_DATA "/simulator/residency.jsonl.gz")) {
        const json::value line = parse_json(text).value();
        const std::string key =
            fmt::format("{} {}", std::string(find_string(line, "scenario").value()),
                        json::serialize(line.at("card")));
        auto& replay = replays[key];
        if (whole(line, "seq") == 0) replay = std::make_unique<Replay>(line.at("card"));
        // The recorder's card had no end: below zero a real one is out of memory.
        if (whole(line, "free_after") < 0) replay.reset();
        if (!replay) continue;
        replay->step(line);
        ++steps;
        const std::string difference = replay->difference(line);
        if (difference.empty()) continue;
        ++different;
        if (different < 20)
            ADD_FAILURE() << key << " seq " << whole(line, "seq") << " "
                          << find_string(line, "step").value() << ": " << difference;
    }
    EXPECT_GT(steps, 1900);
    EXPECT_EQ(different, 0) << "of " << steps;
}

TEST(Estimate, asks_for_what_the_real_server_asked_for) {
    int compared = 0;
    for (const std::string& text : read_lines(PLIMSOLL_TEST_DATA "/simulator/residency.jsonl.gz")) {
        const json::value line = parse_json(text).value();
        const auto step = find_string(line, "step").value();
        if (line.at("load_calls").as_array().empty()) continue;
        const auto& call = line.at("load_calls").at(0);
        const auto& inputs = line.at("inputs");
        const auto flags =
            parse_launch_flags(find_string(line.at("card"), "flags").value()).value();
        const int element = find_string(inputs, "dtype") == "torch.float32" ? 4 : 2;
        double expected = 0;
        if (step == "sample" || step == "vae_decode") {
            const auto& latent = inputs.at("latent").as_array();
            const std::int64_t cells = latent[2].as_int64() * latent[3].as_int64();
            const double factor = find_string(inputs, "model")->starts_with("sdxl") ? 0.8 : 1.0;
            expected = step == "sample" ? estimate_forward_bytes(2 * latent[0].as_int64(), cells,
                                                                 element, factor, flags)
                                        : estimate_decode_bytes(cells, element);
        } else if (step == "vae_encode") {
            const auto& pixels = inputs.at("pixels").as_array();
            expected = estimate_encode_bytes(pixels[1].as_int64() * pixels[2].as_int64(), element);
        } else {
            continue;
        }
        ++compared;
        EXPECT_NEAR(find_number(call, "memory_required").value(), expected, 1.0) << text;
    }
    EXPECT_GT(compared, 900);
}

}  // namespace
}  // namespace plimsoll::simulator
