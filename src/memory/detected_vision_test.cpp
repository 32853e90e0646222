// SPDX-License-Identifier: Apache-2.0
//
// Goal: image encoders and upscalers are read from their tensors, in every layout that ComfyUI
// loads, and strangers are not taken for them. Method: listings of real files, renamed and changed;
// files written from published numbers.
#include "memory/detected_fixture.h"
#include "memory/networks/upscale/upscaler.h"
#include "memory/networks/vision/clip_vision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace plimsoll::memory {
namespace {

using modelfile::TensorEntry;
using modelfile::TensorTable;
using testing::Contains;
using testing::HasSubstr;
using Shape64 = std::vector<std::int64_t>;

struct Tensors {
    TensorTable table;
    Tensors& add(const std::string& name, const Shape64& shape) {
        add_tensor(table, name, modelfile::DType::Float32, shape);
        return *this;
    }
    Tensors& conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
        return add(name + ".weight", {out, in, kernel, kernel}).add(name + ".bias", {out});
    }
    BuiltFile build_it() {
        table.index();
        return build(table);
    }
};

TensorTable renamed(
    const TensorTable& table, const std::function<std::string(std::string)>& name,
    const std::function<void(TensorEntry&)>& change = [](TensorEntry&) {}) {
    TensorTable copy;
    for (TensorEntry tensor : table.tensors) {
        change(tensor);
        add_tensor(copy, name(tensor.name), tensor.dtype, tensor.shape);
    }
    copy.index();
    return copy;
}

const Network* seen_in(const BuiltFile& file) {
    if (file.clip_vision) return file.clip_vision.get();
    return file.upscaler.get();
}

TEST(DetectedVision, has_exactly_the_tensors_of_its_file) {
    for (const std::string name :
         {"clip_vision_vitl", "clip_vision_h", "clip_vision_g", "siglip_384", "esrgan_rrdb_x4"}) {
        SCOPED_TRACE(name);
        const TensorTable table = listing(name);
        const BuiltFile file = build(table);
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_TRUE(file.contents->notes.empty()) << testing::PrintToString(file.contents->notes);
        const Network* network = seen_in(file);
        ASSERT_NE(network, nullptr);
        std::map<std::string, std::int64_t> built;
        for (const ModuleEntry& module : network->modules()) built[module.path] += module.elements;
        std::map<std::string, std::int64_t> recorded;
        for (const TensorEntry& tensor : table.tensors)
            recorded[tensor.name.substr(0, tensor.name.rfind('.'))] +=
                modelfile::element_count(tensor.shape);
        EXPECT_EQ(built, recorded);
        EXPECT_EQ(network_of(file), nullptr) << "it is nothing else";
    }
}

TEST(DetectedVision, knows_heads_and_activations_that_no_tensor_tells) {
    const auto config = [](const std::string& name) {
        return build(listing(name)).clip_vision->config();
    };
    EXPECT_TRUE(config("clip_vision_vitl").quick_gelu);
    EXPECT_FALSE(config("clip_vision_h").quick_gelu);
    EXPECT_FALSE(config("siglip_384").quick_gelu);
    EXPECT_EQ(config("siglip_384").projection, 0);
    EXPECT_EQ(config("siglip_384").image, 378);  // whole patches of the 384 pixels
    EXPECT_EQ(config("clip_vision_g").hidden / config("clip_vision_g").heads, 104);
}

// SVD's checkpoint has OpenCLIP's own names, the whole of ViT-H's vision half below a long prefix.
TEST(DetectedVision, is_found_inside_checkpoints_under_openclips_names) {
    Tensors made;
    const std::string p = "conditioner.embedders.0.open_clip.model.visual.";
    made.add(p + "class_embedding", {1280})
        .add(p + "conv1.weight", {1280, 3, 14, 14})
        .add(p + "positional_embedding", {257, 1280})
        .add(p + "proj", {1280, 1024});
    for (const std::string norm : {"ln_pre", "ln_post"})
        made.add(p + norm + ".weight", {1280}).add(p + norm + ".bias", {1280});
    for (int i = 0; i < 32; ++i) {
        const std::string layer = p + "transformer.resblocks." + std::to_string(i) + ".";
        made.add(layer + "attn.in_proj_weight", {3840, 1280})
            .add(layer + "attn.in_proj_bias", {3840});
        for (const std::string norm : {"ln_1", "ln_2"})
            made.add(layer + norm + ".weight", {1280}).add(layer + norm + ".bias", {1280});
        made.add(layer + "attn.out_proj.weight", {1280, 1280})
            .add(layer + "attn.out_proj.bias", {1280})
            .add(layer + "mlp.c_fc.weight", {5120, 1280})
            .add(layer + "mlp.c_fc.bias", {5120})
            .add(layer + "mlp.c_proj.weight", {1280, 5120})
            .add(layer + "mlp.c_proj.bias", {1280});
    }
    const BuiltFile file = made.build_it();
    ASSERT_NE(file.clip_vision, nullptr) << testing::PrintToString(file.contents->notes);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    EXPECT_EQ(file.clip_vision->params(), params_of(listing("clip_vision_h")));
}

// Real-ESRGAN's names for the very tensors of the first layout, as its training tool saves them.
std::string real_esrgan_name(std::string name) {
    const auto replace = [&](const std::string& from, const std::string& to) {
        if (const auto at = name.find(from); at != std::string::npos)
            name.replace(at, from.size(), to);
    };
    replace("model.1.sub.23.", "conv_body.");
    replace("model.1.sub.", "body.");
    replace(".RDB", ".rdb");
    for (int i = 1; i <= 5; ++i)
        replace("conv" + std::to_string(i) + ".0.", "conv" + std::to_string(i) + ".");
    replace("model.0.", "conv_first.");
    replace("model.3.", "conv_up1.");
    replace("model.6.", "conv_up2.");
    replace("model.8.", "conv_hr.");
    replace("model.10.", "conv_last.");
    return "params_ema." + name;
}

TEST(DetectedVision, enlarges_by_what_the_file_says) {
    const TensorTable first = listing("esrgan_rrdb_x4");
    EXPECT_EQ(build(first).upscaler->scale(), 4);

    const BuiltFile real = build(renamed(first, real_esrgan_name));
    ASSERT_NE(real.upscaler, nullptr) << testing::PrintToString(real.contents->notes);
    EXPECT_EQ(real.upscaler->scale(), 4);
    EXPECT_TRUE(real.notes.empty()) << testing::PrintToString(real.notes);

    // Four pixels of three colours fold into twelve channels: half of the sides is won.
    const BuiltFile folded = build(renamed(first, real_esrgan_name, [](TensorEntry& tensor) {
        if (tensor.name == "model.0.weight") tensor.shape[1] = 12;
    }));
    ASSERT_NE(folded.upscaler, nullptr) << testing::PrintToString(folded.contents->notes);
    EXPECT_EQ(folded.upscaler->scale(), 2);
    EXPECT_TRUE(folded.notes.empty()) << testing::PrintToString(folded.notes);
}

Tensors compact(int convs) {
    Tensors made;
    for (int i = 0; i < convs + 2; ++i) {
        const std::string conv = "body." + std::to_string(2 * i);
        made.conv(conv, i == 0 ? 3 : 64, i == convs + 1 ? 48 : 64, 3);
        if (i < convs + 1) made.add("body." + std::to_string(2 * i + 1) + ".weight", {64});
    }
    return made;
}

TEST(DetectedVision, reads_real_esrgans_small_network) {
    const BuiltFile file = compact(32).build_it();
    ASSERT_NE(file.upscaler, nullptr) << testing::PrintToString(file.contents->notes);
    EXPECT_EQ(file.upscaler->scale(), 4);
    EXPECT_EQ(file.upscaler->params(), 1'213'296);  // realesr-general-x4v3
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
}

Tensors span(bool with_norm) {
    Tensors made;
    const auto merged = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        made.conv(name + ".sk", in, out, 1)
            .conv(name + ".conv.0", in, 2 * in, 1)
            .conv(name + ".conv.1", 2 * in, 2 * out, 3)
            .conv(name + ".conv.2", 2 * out, out, 1)
            .conv(name + ".eval_conv", in, out, 3);
    };
    merged("conv_1", 3, 48);
    for (int block = 1; block <= 6; ++block)
        for (int i = 1; i <= 3; ++i)
            merged("block_" + std::to_string(block) + ".c" + std::to_string(i) + "_r", 48, 48);
    made.conv("conv_cat", 192, 48, 1);
    merged("conv_2", 48, 48);
    made.conv("upsampler.0", 48, 48, 3);
    if (!with_norm) made.add("no_norm", {1});
    return made;
}

TEST(DetectedVision, reads_span) {
    const BuiltFile file = span(true).build_it();
    ASSERT_NE(file.upscaler, nullptr) << testing::PrintToString(file.contents->notes);
    EXPECT_EQ(file.upscaler->scale(), 4);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    // Of the paper's 426 thousand parameters: those that run once a convolution is merged.
    std::int64_t running = 0;
    for (const ModuleEntry& module : file.upscaler->modules())
        if (module.path.ends_with("eval_conv") || module.path == "conv_cat" ||
            module.path == "upsampler.0")
            running += module.elements;
    EXPECT_EQ(running, 426'288);
    EXPECT_NE(span(false).build_it().upscaler, nullptr);
}

// Every tensor that a layout needs, taken away or of another shape.
TEST(DetectedVision, with_a_tensor_missing_or_changed_is_never_taken_for_whole) {
    for (const TensorTable& table : {listing("clip_vision_vitl"), listing("esrgan_rrdb_x4"),
                                     compact(4).table, span(true).table})
        for (std::size_t at = 0; at < table.tensors.size(); at += 1 + table.tensors.size() / 60) {
            for (const bool missing : {true, false}) {
                TensorTable odd;
                for (std::size_t i = 0; i < table.tensors.size(); ++i) {
                    TensorEntry tensor = table.tensors[i];
                    if (i == at && missing) continue;
                    if (i == at) tensor.shape.assign(9, 2);
                    add_tensor(odd, tensor.name, tensor.dtype, tensor.shape);
                }
                odd.index();
                const BuiltFile file = build(odd);
                EXPECT_FALSE(file.notes.empty() && file.contents->notes.empty())
                    << table.tensors[at].name << (missing ? " missing" : " changed");
            }
        }
}

TEST(DetectedVision, names_relatives_that_are_not_walked) {
    const TensorTable esrgan = listing("esrgan_rrdb_x4");
    const BuiltFile plus = build(renamed(esrgan, [](const std::string& name) {
        return name == "model.1.sub.0.RDB1.conv1.0.weight" ? "model.1.sub.0.RDB1.conv1x1.weight"
                                                           : name;
    }));
    EXPECT_EQ(plus.upscaler, nullptr);
    EXPECT_THAT(plus.contents->notes, Contains(HasSubstr("ESRGAN+")));
    const BuiltFile grey = build(renamed(
        esrgan, [](const std::string& name) { return name; },
        [](TensorEntry& tensor) {
            if (tensor.name == "model.0.weight") tensor.shape[1] = 1;
            if (tensor.name.starts_with("model.10.")) tensor.shape[0] = 1;
        }));
    EXPECT_EQ(grey.upscaler, nullptr);
    EXPECT_THAT(grey.contents->notes, Contains(HasSubstr("of 1 colours")));
}

}  // namespace
}  // namespace plimsoll::memory
