// SPDX-License-Identifier: Apache-2.0
//
// Goal: latent upsamplers are read from their tensors, the network has exactly these, and files of
// another shape are not taken for them. Method: files written from the published names, against
// the sizes of the published files.
#include "memory/detected_fixture.h"
#include "memory/networks/upscale/latent_upscaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plimsoll::memory {
namespace {

using modelfile::TensorTable;
using testing::Contains;
using testing::HasSubstr;
using Shape64 = std::vector<std::int64_t>;

struct Spread {
    std::string name = "upsampler.0";
    Shape64 weight;
    bool blurs = false;
};

void add(TensorTable& table, const std::string& name, const Shape64& weight) {
    add_tensor(table, name + ".weight", modelfile::DType::BFloat16, weight);
    add_tensor(table, name + ".bias", modelfile::DType::BFloat16, {weight.front()});
}

TensorTable file_of(std::int64_t width, const Spread& spread, int blocks = 4) {
    TensorTable table;
    add(table, "initial_conv", {width, 128, 3, 3, 3});
    add(table, "initial_norm", {width});
    for (const std::string half : {"res_blocks.", "post_upsample_res_blocks."})
        for (int i = 0; i < blocks; ++i)
            for (const std::string layer : {"1", "2"}) {
                const std::string block = half + std::to_string(i) + ".";
                add(table, block + "conv" + layer, {width, width, 3, 3, 3});
                add(table, block + "norm" + layer, {width});
            }
    add(table, spread.name, spread.weight);
    if (spread.blurs)
        add_tensor(table, "upsampler.blur_down.kernel", modelfile::DType::BFloat16, {1, 1, 5, 5});
    add(table, "final_conv", {128, width, 3, 3, 3});
    table.index();
    return table;
}

const Spread kTwice{.weight = {4096, 1024, 3, 3}};
const Spread kThreeHalves{.name = "upsampler.conv", .weight = {9216, 1024, 3, 3}, .blurs = true};
const Spread kInTime{.weight = {1024, 512, 3, 3, 3}};

TEST(DetectedLatentUpscaler, has_exactly_the_tensors_of_its_file) {
    // Sizes of LTX-2.3's files, whose headers take a few KiB of them.
    struct Published {
        std::int64_t width;
        Spread spread;
        std::int64_t file_bytes;
    };
    const std::vector<Published> published = {{1024, kTwice, 995'743'560},
                                              {1024, kThreeHalves, 1'090'125'794},
                                              {512, kInTime, 261'944'000}};
    for (const Published& known : published) {
        SCOPED_TRACE(known.file_bytes);
        const TensorTable table = file_of(known.width, known.spread);
        const BuiltFile file = build(table);
        ASSERT_NE(file.latent_upscaler, nullptr) << testing::PrintToString(file.contents->notes);
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_EQ(params_of(*file.latent_upscaler), params_of(table));
        const std::int64_t header =
            known.file_bytes - file.latent_upscaler->weights(ComputeType::BFloat16).count;
        EXPECT_GT(header, 0);
        EXPECT_LT(header, 16'384);
        EXPECT_EQ(network_of(file), nullptr) << "it is nothing else";
    }
}

TEST(DetectedLatentUpscaler, enlarges_by_what_its_tensors_say) {
    const auto enlarged = [](std::int64_t width, const Spread& spread) {
        const LatentExtent large =
            build(file_of(width, spread))
                .latent_upscaler->enlarged({.frames = 13, .height = 11, .width = 24});
        return Shape64{large.frames, large.height, large.width};
    };
    EXPECT_EQ(enlarged(1024, kTwice), (Shape64{13, 22, 48}));
    // Every second one of 33 and of 72 cells, the first included.
    EXPECT_EQ(enlarged(1024, kThreeHalves), (Shape64{13, 17, 36}));
    EXPECT_EQ(enlarged(512, kInTime), (Shape64{25, 11, 24}));
    const Spread four{.name = "upsampler.conv", .weight = {16 * 64, 64, 3, 3}, .blurs = true};
    EXPECT_EQ(enlarged(64, four), (Shape64{13, 44, 96}));
}

TEST(DetectedLatentUpscaler, refuses_what_contradicts_itself) {
    TensorTable uneven = file_of(64, {.weight = {256, 64, 3, 3}});
    add(uneven, "res_blocks.4.conv1", {64, 64, 3, 3, 3});
    uneven.index();
    const std::vector<TensorTable> files = {
        uneven, file_of(64, {.weight = {320, 64, 3, 3}}), file_of(64, {.weight = {100, 64, 3, 3}}),
        file_of(64, {.name = "upsampler.conv", .weight = {5 * 64, 64, 3, 3}, .blurs = true}),
        file_of(64, {.name = "upsampler.1", .weight = {256, 64, 3, 3}})};
    for (const TensorTable& table : files) {
        const BuiltFile file = build(table);
        EXPECT_EQ(file.latent_upscaler, nullptr);
        EXPECT_THAT(file.contents->notes, Contains(HasSubstr("a latent upsampler")));
    }
}

TEST(DetectedLatentUpscaler, names_what_it_does_not_walk) {
    // Over space and time at once: eight cells of one.
    const BuiltFile both = build(file_of(64, {.weight = {512, 64, 3, 3, 3}}));
    EXPECT_EQ(both.latent_upscaler, nullptr);
    EXPECT_THAT(both.notes, Contains(HasSubstr("not simulated")));
    TensorTable hunyuan;
    add(hunyuan, "up.0.block.0.conv1.conv", {64, 64, 3, 3, 3});
    hunyuan.index();
    EXPECT_THAT(build(hunyuan).contents->notes,
                Contains(HasSubstr("HunyuanVideo 1.5's latent upsampler")));
}

}  // namespace
}  // namespace plimsoll::memory
