// SPDX-License-Identifier: Apache-2.0
#include "memory/trace.h"

#include "base/json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <map>
#include <vector>

namespace plimsoll::memory {
namespace {

// The recorded answer's fields; everything else in a line is the question.
constexpr std::array<std::string_view, 11> kAnswers = {
    "peak_bytes",  "weights_bytes", "params",    "input_bytes", "max_cast_bytes",  "flops",
    "bytes_moved", "kernels",       "peak_site", "top_live",    "peak_bytes_cu130"};

std::vector<json::value> recorded_lines(std::initializer_list<const char*> names) {
    std::vector<json::value> lines;
    for (const char* const name : names) {
        std::ifstream file(fmt::format("{}/traces/{}.jsonl", PLIMSOLL_TEST_DATA, name));
        for (std::string line; std::getline(file, line);) lines.push_back(parse_json(line).value());
    }
    return lines;
}

json::value answer(json::value question) {
    for (const std::string_view field : kAnswers) question.get_object().erase(field);
    return parse_json(answer_trace_line(json::serialize(question)).value()).value();
}

double relative_error(const json::value& recorded, const json::value& answered,
                      std::string_view field) {
    const auto expected = find_int(recorded, field);
    const auto actual = find_int(answered, field);
    if (!expected || !actual) return 1.0;
    const double scale = std::max(1.0, std::abs(static_cast<double>(*expected)));
    return std::abs(static_cast<double>(*actual - *expected)) / scale;
}

struct Errors {
    std::vector<double> values;
    double worst() const { return *std::max_element(values.begin(), values.end()); }
    double median() {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    }
};

// Goal: the ghost tensors see what the real forwards did. Method: every recorded line through the
// door that the accuracy check uses, bounds as promised for the product; parameters exactly.
TEST(TraceGolden, agrees_with_every_recorded_walk) {
    std::map<std::string, std::map<std::string, Errors>> families;
    for (const json::value& recorded :
         recorded_lines({"ldm", "fluxkin", "llm", "qwen", "sd3", "transformers", "wan", "audio",
                         "vision", "ltx", "hunyuan"})) {
        const json::value answered = answer(recorded);
        const std::string id(find_string(recorded, "id").value_or("(sensitivity)"));
        ASSERT_EQ(find(answered, "verdict"), nullptr) << id << ": " << json::serialize(answered);
        EXPECT_EQ(find_int(answered, "params"), find_int(recorded, "params")) << id;
        EXPECT_EQ(find_int(answered, "input_bytes"), find_int(recorded, "input_bytes")) << id;
        const json::value* site = find(recorded, "peak_site");
        EXPECT_EQ(*find(answered, "peak_site"), *site) << id;
        const json::array& live = find(answered, "top_live")->get_array();
        ASSERT_FALSE(live.empty()) << id;
        EXPECT_EQ(live.front(), find(recorded, "top_live")->get_array().front()) << id;
        auto& errors = families[std::string(find_string(recorded, "family").value_or(""))];
        for (const std::string_view field :
             {"peak_bytes", "weights_bytes", "flops", "bytes_moved", "kernels"}) {
            errors[std::string(field)].values.push_back(relative_error(recorded, answered, field));
        }
        for (const std::string_view field : {"max_cast_bytes", "peak_bytes_cu130"})
            if (find(recorded, field) != nullptr)
                errors[std::string(field)].values.push_back(
                    relative_error(recorded, answered, field));
    }
    ASSERT_EQ(families.size(), 72U);
    for (auto& [family, fields] : families) {
        for (auto& [field, errors] : fields) {
            fmt::print("{:9} {:16} {:4} lines, median error {:.1e}, worst {:.1e}\n", family, field,
                       errors.values.size(), errors.median(), errors.worst());
        }
        EXPECT_LE(fields["peak_bytes"].median(), 0.001) << family;
        EXPECT_LE(fields["peak_bytes"].worst(), 0.02) << family;
        EXPECT_LE(fields["weights_bytes"].worst(), 0.001) << family;
        EXPECT_LE(fields["flops"].worst(), 0.01) << family;
        EXPECT_LE(fields["bytes_moved"].worst(), 0.01) << family;
        EXPECT_LE(fields["kernels"].worst(), 0.01) << family;
        for (const std::string field : {"max_cast_bytes", "peak_bytes_cu130"})
            if (fields.contains(field)) EXPECT_LE(fields[field].worst(), 0.001) << family;
    }
}

// Goal: memory is right where a recording counts operations that the walk does not know one by one.
// Method: as above, but equal to the byte, and without the operations.
TEST(TraceGolden, agrees_on_memory_to_the_byte) {
    const std::vector<json::value> lines =
        recorded_lines({"audio_memory", "images2026", "videos2026"});
    ASSERT_FALSE(lines.empty());
    for (const json::value& recorded : lines) {
        const json::value answered = answer(recorded);
        const std::string id(find_string(recorded, "id").value_or(""));
        for (const std::string_view field :
             {"peak_bytes", "peak_bytes_cu130", "weights_bytes", "params", "input_bytes", "flops"})
            if (find_int(recorded, field))
                EXPECT_EQ(find_int(answered, field), find_int(recorded, field))
                    << id << " " << field;
        EXPECT_EQ(*find(answered, "peak_site"), *find(recorded, "peak_site")) << id;
    }
}

std::string unet_question(std::string_view family, std::string_view variant, int width, int height,
                          int batch) {
    return fmt::format(
        R"({{"family":"{}","variant":"{}","phase":"unet_step","call":"apply_model","width":{},)"
        R"("height":{},"frames":1,"batch":{},"dtype":"fp16","tokens":77}})",
        family, variant, width, height, batch);
}

std::int64_t peak_of(const std::string& question) {
    const json::value answered = parse_json(answer_trace_line(question).value()).value();
    return find_int(answered, "peak_bytes").value_or(-1);
}

TEST(TraceAnswer, keeps_the_fields_of_the_question) {
    const std::string question =
        R"({"id":"x","family":"sd15","phase":"unet_step","width":512,"height":512,"batch":1,"note":"mine"})";
    const json::value answered = parse_json(answer_trace_line(question).value()).value();
    EXPECT_EQ(find_string(answered, "id"), "x");
    EXPECT_EQ(find_string(answered, "note"), "mine");
    EXPECT_GT(find_int(answered, "peak_bytes").value_or(0), 0);
}

TEST(TraceAnswer, says_unknown_rather_than_a_wrong_number) {
    for (
        const std::string& question :
        {unet_question("no_such_family", "dev", 1024, 1024, 1),
         unet_question("flux", "no_such_variant", 1024, 1024, 1),
         unet_question("flux", "with_controlnet", 1024, 1024, 1),
         unet_question("flux", "kontext_xref", 1024, 1024, 1),
         unet_question("flux", "dev_2ref", 1024, 1024, 1),
         unet_question("qwen_image", "edit_0ref", 1024, 1024, 1),
         unet_question("omnigen2", "edit_6ref", 1024, 1024, 1),
         unet_question("sd3", "sens_of_humour", 1024, 1024, 1),
         unet_question("hidream", "base", 1024, 1024, 1),    // experts loaded how?
         unet_question("hunyuandit", "1.2", 1024, 1024, 1),  // 77 tokens: mT5's are missing
         unet_question("hunyuandit", "1.1", 1024, 1024, 1),
         unet_question("ace_step15", "2B", 1024, 1024, 1),  // asked of 0.3.64
         unet_question("ace_step", "3.5B", 1024, 1024, 1),  // the model object's conditions
         unet_question("stable_audio", "open_1.0", 512, 512, 1),
         std::string(R"({"family":"flux","variant":"dev","phase":"unet_step","width":512,)"
                     R"("height":512,"dtype":"scaled_fp8->bf16"})"),
         std::string(R"({"family":"clip_l","phase":"text_encode","dtype":"scaled_fp8->fp16"})"),
         unet_question("flux", "dev", 4, 4, 1),
         unet_question("qwen_image", "no_such_variant", 1024, 1024, 1),
         unet_question("qwen_image", "edit_0ref", 1024, 1024, 1),
         unet_question("qwen_image", "edit_2511_1ref", 1024, 1024, 1),  // asked of 0.3.64
         unet_question("lumina2", "no_such_variant", 1024, 1024, 1),
         unet_question("omnigen2", "edit_6ref", 1024, 1024, 1),
         unet_question("z_image", "base", 1024, 1024, 1),  // asked of 0.3.64
         unet_question("sd15", "no_such_variant", 512, 512, 1),
         unet_question("sd15", "base", 4, 4, 1),
         unet_question("sd15", "base", 512, 512, 0),
         std::string(R"({"family":"sd15","phase":"training","width":512,"height":512})"),
         std::string(R"({"family":"sd15","phase":"unet_step","width":"wide"})"),
         std::string(
             R"({"family":"svd","phase":"unet_step","width":512,"height":512,"frames":25})"),
         std::string(R"({"family":"clip_l","phase":"text_encode","tokens":100000})"),
         std::string(R"({"family":"t5_xxl","variant":"int4","phase":"text_encode"})"),
         std::string(R"({"family":"umt5_xxl","variant":"hunyuan_bf16w","phase":"text_encode"})"),
         std::string(R"({"family":"qwen3_4b","variant":"omnigen2_bf16w","phase":"text_encode"})"),
         std::string(R"({"family":"qwen3_4b","variant":"klein","phase":"text_encode"})"),
         std::string(
             R"({"family":"qwen3_4b","variant":"klein_bf16w","phase":"text_encode","config":{"class":"Other"}})"),
         std::string(
             R"({"family":"gemma2_2b","variant":"fp16","phase":"text_encode","config":{"layer":"hidden","layer_idx":-27}})"),
         std::string(
             R"({"family":"gemma2_2b","variant":"fp16","phase":"text_encode","config":{"transformer_config":{"num_key_value_heads":3}}})"),
         std::string(
             R"({"family":"sdxl","phase":"unet_step","width":512,"height":512,"dtype":"int3"})"),
         std::string(
             R"({"family":"sdxl","phase":"unet_step","width":512,"height":512,"config":{"channel_mult":[0]}})"),
         std::string(
             R"({"family":"sdxl","variant":7,"phase":"unet_step","width":512,"height":512})"),
         std::string(
             R"({"family":"sdxl","phase":"unet_step","call":"train","width":512,"height":512})"),
         unet_question("hunyuan_video15", "no_such_variant", 832, 480, 1),
         std::string(
             R"({"family":"vae_flux2","variant":"full","phase":"vae_decode","width":512,"height":512,"config":{"attn_resolutions":[32]}})"),
         std::string(
             R"({"family":"vae_hunyuan_video","variant":"fast","phase":"vae_decode","width":512,"height":512})"),
         std::string(
             R"({"family":"vae_hunyuan_video","variant":"full","phase":"vae_decode","width":512,"height":512,"config":{"time_compress":3}})"),
         std::string(
             R"({"family":"vae_hunyuan_video","variant":"full","phase":"vae_decode","width":16384,"height":16384,"frames":16384,"batch":4096})"),
         std::string(
             R"({"family":"vae_svd","variant":"temporal_decoder","phase":"vae_encode","width":512,"height":512})"),
         std::string(  // asked of 0.3.64
             R"({"family":"vae_hunyuan_video15","variant":"full","phase":"vae_decode","width":512,"height":512})"),
         std::string(
             R"({"family":"vae_hunyuanimage21","variant":"full","phase":"vae_decode","width":512,"height":512,"frames":5})"),
         std::string("{}")}) {
        const json::value answered = parse_json(answer_trace_line(question).value()).value();
        EXPECT_EQ(find_string(answered, "verdict"), "unknown") << question;
        EXPECT_FALSE(find_string(answered, "reason").value_or("").empty()) << question;
        EXPECT_EQ(find(answered, "peak_bytes"), nullptr) << question;
    }
}

TEST(TraceAnswer, takes_the_size_of_reference_images_from_the_note) {
    const auto flux2 = [](std::string_view variant, std::string_view note) {
        return peak_of(fmt::format(
            R"({{"family":"flux2","variant":"{}","phase":"unet_step","call":"forward","width":1024,)"
            R"("height":1024,"batch":1,"dtype":"bf16","tokens":512,"note":"{}"}})",
            variant, note));
    };
    const std::int64_t same = flux2("klein_4B_edit_1ref", "1 reference latents of the same size");
    EXPECT_EQ(flux2("klein_4B_edit_1ref", "1 reference latents 1024x1024"), same);
    EXPECT_LT(flux2("klein_4B_edit_1ref", "1 reference latents 512x512"), same);
    EXPECT_LT(flux2("klein_4B", ""), flux2("klein_4B_edit_1ref", "1 reference latents 512x512"));
}

// Goal: what stands behind a network's name says how it is run and never makes it another network.
// Method: parameters of both, and the peak, which stored types leave as it is.
TEST(TraceAnswer, takes_the_way_of_running_off_a_networks_name) {
    const auto asked = [](std::string_view family, std::string_view variant) {
        const std::string question = fmt::format(
            R"({{"family":"{}","variant":"{}","phase":"unet_step","call":"apply_model",)"
            R"("width":512,"height":512,"batch":1,"dtype":"bf16","tokens":256}})",
            family, variant);
        return parse_json(answer_trace_line(question).value()).value();
    };
    for (const auto& [family, network] :
         {std::pair{"flux", "schnell"}, std::pair{"flux", "kontext_1ref"},
          std::pair{"qwen_image", "edit_1ref"}, std::pair{"hunyuan_video", "t2v"},
          std::pair{"wan", "t2v_1.3B"}, std::pair{"hunyuanimage21", "distilled"}}) {
        const json::value plain = asked(family, network);
        const json::value stored =
            asked(family, fmt::format("{}_fp8_e4m3fn_store_cast_bf16", network));
        ASSERT_TRUE(find_int(plain, "params").has_value()) << network;
        EXPECT_EQ(find_int(stored, "params"), find_int(plain, "params")) << network;
        EXPECT_EQ(find_int(stored, "peak_bytes"), find_int(plain, "peak_bytes")) << network;
        EXPECT_LT(*find_int(stored, "weights_bytes"), *find_int(plain, "weights_bytes")) << network;
    }
}

TEST(TraceAnswer, does_not_repeat_an_answer_that_came_with_the_question) {
    const json::value answered =
        parse_json(answer_trace_line(
                       R"({"family":"x","phase":"unet_step","peak_bytes":7,"peak_bytes_cu130":7})")
                       .value())
            .value();
    EXPECT_EQ(find(answered, "peak_bytes"), nullptr);
    EXPECT_EQ(find(answered, "peak_bytes_cu130"), nullptr);
}

TEST(TraceAnswer, rejects_what_is_no_object) {
    EXPECT_EQ(answer_trace_line("[1]").error().code, Errc::Corrupt);
    EXPECT_EQ(answer_trace_line("{").error().code, Errc::Corrupt);
}

// Goal: the simulator keeps its sense away from recorded points. Method: a grid of sizes, odd ones
// included.
TEST(TraceProperty, a_larger_image_never_needs_less) {
    for (const std::string_view family :
         {"sd15", "sd21", "sdxl", "sdxl_refiner", "ssd1b", "koala_700m"}) {
        std::int64_t previous = 0;
        for (int size = 64; size <= 1600; size += 72) {
            const std::int64_t peak = peak_of(unet_question(family, "base", size, size, 1));
            EXPECT_GE(peak, previous) << family << " at " << size;
            previous = peak;
        }
    }
}

TEST(TraceProperty, a_larger_batch_never_needs_less) {
    for (const std::string_view family : {"sd15", "sdxl", "segmind_vega", "koala_1b"}) {
        for (int batch = 1; batch < 6; ++batch) {
            EXPECT_LT(peak_of(unet_question(family, "base", 712, 520, batch)),
                      peak_of(unet_question(family, "base", 712, 520, batch + 1)))
                << family << " batch " << batch;
        }
    }
}

TEST(TraceProperty, the_largest_job_there_can_be_is_answered_without_overflow) {
    const json::value answered =
        parse_json(answer_trace_line(unet_question("sdxl", "base", 16384, 16384, 4096)).value())
            .value();
    EXPECT_GT(find_int(answered, "peak_bytes").value_or(0), std::int64_t{1} << 40);
    EXPECT_GT(find_int(answered, "flops").value_or(0), std::int64_t{1} << 50);
}

TEST(TraceProperty, more_input_channels_cost_no_more_than_their_own_tensors) {
    for (const auto& [family, variant] :
         {std::pair{"sd15", "inpaint9"}, std::pair{"sdxl", "ip2p"}, std::pair{"sd21", "inpaint"}}) {
        const std::int64_t base = peak_of(unet_question(family, "base", 1024, 1024, 2));
        const std::int64_t more = peak_of(unet_question(family, variant, 1024, 1024, 2));
        EXPECT_GT(more, base) << family;
        EXPECT_LT(more - base, 2 * 5 * 128 * 128 * 4) << family;
    }
}

}  // namespace
}  // namespace plimsoll::memory
