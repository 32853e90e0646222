// SPDX-License-Identifier: Apache-2.0
//
// Goal: the ghost tensors live and die as the real ones did, not only at the peak. Method: each
// operation of whole walks, in order, with the bytes alive after it, against recordings of
// the real forwards.
#include "memory/ghost/tape.h"
#include "memory/networks/dit/chroma.h"
#include "memory/networks/dit/cosmos_predict2.h"
#include "memory/networks/dit/lumina2.h"
#include "memory/networks/dit/mmdit.h"
#include "memory/networks/dit/qwen_image.h"
#include "memory/networks/gz_fixture.h"
#include "memory/networks/text/t5.h"
#include "memory/networks/walk.h"
#include "modelfile/architectures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace plimsoll::memory {
namespace {

struct Op {
    std::string name;
    std::string module;
    std::int64_t live_bytes;
};

// Runs a simulation whose call was told to report to the observer handed in.
template <class Simulate>
std::vector<Op> walk_ops(Simulate simulate) {
    std::vector<Op> ops;
    const OpObserver observer = [&](const ghost::OpEvent& event) {
        ops.push_back({std::string(event.label.op), event.label.module_path(), event.live_bytes});
    };
    ForwardRules rules;
    rules.observer = &observer;
    (void)simulate(rules);
    return ops;
}

// "aten.native_group_norm.default" is "native_group_norm".
std::string short_name(std::string_view name) {
    name.remove_prefix(name.find('.') + 1);
    return std::string(name.substr(0, name.find('.')));
}

void expect_recorded(const std::string& name, const std::vector<Op>& ops) {
    const json::value log = recorded_json("oplogs/" + name);
    const json::array& rows = find(log, "rows")->get_array();
    const std::int64_t input = find_int(log, "input_bytes").value();
    ASSERT_EQ(ops.size(), rows.size()) << name;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const json::array& row = rows[i].get_array();
        ASSERT_EQ(ops[i].name, short_name(row[0].get_string())) << name << " operation " << i;
        ASSERT_EQ(ops[i].live_bytes + input, row[4].get_int64())
            << name << " operation " << i << " " << ops[i].name;
        // The recorder names a text encoder's outermost module by its class, we by its path, which
        // is empty.
        if (!ops[i].module.empty()) {
            ASSERT_EQ(ops[i].module, std::string(row[1].get_string()))
                << name << " operation " << i;
        }
    }
}

TEST(OpLog, of_unet_steps_is_the_recorded_one) {
    for (const std::string name : {"sd15", "sdxl"}) {
        const auto unet = build_unet(modelfile::known_unet(name).value()).value();
        StepCall call{.latent_height = 64, .latent_width = 64};
        expect_recorded(name + "_512_b1_fp16_t77", walk_ops([&](const ForwardRules& rules) {
                            call.rules = rules;
                            return simulate_step(*unet, call);
                        }));
    }
}

TEST(OpLog, of_flux_and_chroma_steps_is_the_recorded_one) {
    StepCall call{.latent_height = 64,
                  .latent_width = 64,
                  .tokens = 256,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16};
    const auto expect_step = [&](const std::string& name, const Denoiser& network) {
        expect_recorded(name + "_512_b1_bf16_t256", walk_ops([&](const ForwardRules& rules) {
                            call.rules = rules;
                            return simulate_step(network, call);
                        }));
    };
    expect_step("flux", *build_flux({}).value());
    expect_step("chroma", *build_chroma({}).value());
}

TEST(OpLog, of_a_qwen_image_step_is_the_recorded_one) {
    const auto qwen = build_qwen_image({}).value();
    StepCall call{.latent_height = 64,
                  .latent_width = 64,
                  .tokens = 64,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16};
    expect_recorded("qwen_image_512_b1_bf16_t64", walk_ops([&](const ForwardRules& rules) {
                        call.rules = rules;
                        return simulate_step(*qwen, call);
                    }));
}

TEST(OpLog, of_a_lumina2_step_is_the_recorded_one) {
    const auto lumina = build_lumina2({}).value();
    StepCall call{.latent_height = 64,
                  .latent_width = 64,
                  .tokens = 256,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16};
    expect_recorded("lumina2_512_b1_bf16_t256", walk_ops([&](const ForwardRules& rules) {
                        call.rules = rules;
                        return simulate_step(*lumina, call);
                    }));
}

TEST(OpLog, of_an_sd3_step_is_the_recorded_one) {
    modelfile::MmditConfig large;  // Stable Diffusion 3.5 large
    large.depth = 38;
    large.qk_norm = "rms";
    const auto mmdit = build_mmdit(large).value();
    StepCall call{.latent_height = 64, .latent_width = 64, .tokens = 154};
    expect_recorded("sd3_512_b1_fp16_t154", walk_ops([&](const ForwardRules& rules) {
                        call.rules = rules;
                        return simulate_step(*mmdit, call);
                    }));
}

TEST(OpLog, of_a_cosmos_predict2_step_is_the_recorded_one) {
    const auto cosmos = build_cosmos_predict2({}).value();
    StepCall call{.latent_height = 64,
                  .latent_width = 64,
                  .tokens = 512,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16};
    expect_recorded("cosmos_predict2_512_b1_bf16_t512", walk_ops([&](const ForwardRules& rules) {
                        call.rules = rules;
                        return simulate_step(*cosmos, call);
                    }));
}

TEST(OpLog, of_vaes_is_the_recorded_one) {
    for (const std::string name : {"kl4", "kl16"}) {
        const auto vae = build_kl_vae(modelfile::known_kl_vae(name).value()).value();
        VaeCall call{.height = 512, .width = 512};
        expect_recorded("vae_" + name + "_decode_512", walk_ops([&](const ForwardRules& rules) {
                            call.rules = rules;
                            return simulate_vae_decode(*vae, call);
                        }));
        expect_recorded("vae_" + name + "_encode_512", walk_ops([&](const ForwardRules& rules) {
                            call.rules = rules;
                            return simulate_vae_encode(*vae, call);
                        }));
    }
}

TEST(OpLog, of_text_encoders_is_the_recorded_one) {
    for (const std::string name : {"clip_l", "clip_g"}) {
        const auto clip = build_clip(modelfile::known_clip(name).value()).value();
        ClipCall call{.stop_at_hidden_minus_two = name == "clip_g"};
        expect_recorded(name + "_77", walk_ops([&](const ForwardRules& rules) {
                            call.rules = rules;
                            return simulate_text_encode(*clip, call);
                        }));
    }
}

TEST(OpLog, of_t5_is_the_recorded_one) {
    const auto t5 = build_t5({}, "T5XXLModel").value();
    TextCall call{.tokens = 256};
    expect_recorded("t5_xxl_256", walk_ops([&](const ForwardRules& rules) {
                        call.rules = rules;
                        return simulate_text_encode(*t5, call);
                    }));
}

}  // namespace
}  // namespace plimsoll::memory
