// SPDX-License-Identifier: Apache-2.0
//
// Goal: what merging a LoRA takes is what ComfyUI's arithmetic holds at once, and it is counted
// where weights are loaded, streamed or rounded. Method: units of round sizes, bytes by hand.
#include "memory/residency/lora.h"

#include "memory/residency/loaded_model.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace plimsoll::memory {
namespace {

constexpr std::int64_t kMib = 1024LL * 1024;

const std::string kLarge = "blocks.0.large";
const std::string kSmall = "blocks.0.small";
const std::string kOther = "other";

// A patched weight of 8 Mi elements, one of 1 Mi, and one of 4 Mi that nothing patches; fp16.
std::shared_ptr<LoadableModel> three_weights() {
    auto model = std::make_shared<LoadableModel>();
    const auto add = [&](const std::string& path, std::int64_t elements) {
        model->units.push_back({.prefix = {},
                                .path = &path,
                                .bytes = 2 * elements,
                                .elements = elements,
                                .streamable = true});
        model->size_bytes += 2 * elements;
    };
    add(kLarge, 8 * kMib);
    add(kOther, 4 * kMib);
    add(kSmall, 1 * kMib);
    return model;
}
const Patches kPatches{.id = 1, .units = {1, 0, 1}, .low_rank_elements = 0};

LoadedModel loaded(const Placement& placement, int element_bytes = 4,
                   StreamReserve reserve = StreamReserve::None) {
    return {three_weights(), placement, reserve, element_bytes};
}

TEST(LoraMerge, takes_three_copies_of_a_weight_in_the_type_of_the_arithmetic) {
    const LoadUnit weight{.prefix = {}, .bytes = 2 * kMib, .elements = kMib};
    EXPECT_EQ(merge_bytes(weight, 0, 4), 12 * kMib);
    EXPECT_EQ(merge_bytes(weight, 0, 2), 6 * kMib);
    // Matrices so large that the product's moment is the height: two copies and they.
    EXPECT_EQ(merge_bytes(weight, 2 * kMib, 4), 16 * kMib);
}

TEST(LoraMerge, rounds_to_fp8_in_slices) {
    const std::int64_t slice = 16 * kMib;
    const LoadUnit one{.prefix = {}, .bytes = slice, .elements = slice};
    EXPECT_EQ(merge_bytes(one, 0, 4), (5 + 15) * slice);
    // The rows beyond the first slice wait in fp32 with their result; merging them took more.
    const LoadUnit three{.prefix = {}, .bytes = 3 * slice, .elements = 3 * slice};
    EXPECT_EQ(merge_bytes(three, 0, 4), 12 * 3 * slice);
    EXPECT_EQ(merge_bytes(three, 0, 2), 3 * 3 * slice + 15 * slice);
}

TEST(LoraMerge, leaves_packed_weights_alone) {
    EXPECT_EQ(
        merge_bytes({.prefix = {}, .bytes = kMib, .elements = 2 * kMib, .packed = true}, 0, 4), 0);
}

TEST(LoraMerge, patches_packed_weights_in_fp32_on_every_call) {
    const LoadUnit packed{.prefix = {}, .bytes = kMib, .elements = 2 * kMib, .packed = true};
    EXPECT_EQ(patched_copy_bytes(packed, 0, 2), 3 * 2 * kMib * 4);
    const LoadUnit plain{.prefix = {}, .bytes = 4 * kMib, .elements = 2 * kMib};
    EXPECT_EQ(patched_copy_bytes(plain, 0, 2), 3 * 2 * kMib * 2);
}

TEST(LoraMerge, gives_each_weight_its_share_of_the_matrices) {
    const auto model = three_weights();
    Patches patches = kPatches;
    patches.low_rank_elements = 1000;
    const LowRank low_rank(*model, patches);
    // Sides go by the root of the elements: 8 to 1 is 2.83 to 1.
    EXPECT_NEAR(static_cast<double>(low_rank.elements(0)), 1000 * 2.8284 / 3.8284, 1);
    EXPECT_NEAR(static_cast<double>(low_rank.elements(2)), 1000 / 3.8284, 1);
}

TEST(LoadedModel, holds_the_most_while_the_largest_patched_weight_is_merged) {
    LoadedModel model = loaded({});
    model.load_whole(kPatches);
    EXPECT_EQ(model.card_bytes(), 26 * kMib);
    // The largest comes first, when nothing else is there yet.
    EXPECT_EQ(model.merge_peak(), 8 * 12 * kMib);
    LoadedModel plain = loaded({});
    plain.load_whole({});
    EXPECT_EQ(plain.merge_peak(), 0);
}

TEST(LoadedModel, counts_weights_that_are_there_already_while_it_merges) {
    LoadedModel model = loaded({.built_on = Place::Card});
    model.load_whole(kPatches);
    EXPECT_EQ(model.merge_peak(), (26 + 8 * 12) * kMib);
}

TEST(LoadedModel, keeps_what_merged_weights_were_on_the_host_or_where_models_rest) {
    LoadedModel on_host = loaded({});
    on_host.load_whole(kPatches);
    EXPECT_EQ(on_host.host_bytes(), 18 * kMib);  // of the two that were patched

    LoadedModel on_card = loaded({.rests_on = Place::Card, .built_on = Place::Card});
    on_card.load_whole(kPatches);
    EXPECT_EQ(on_card.card_bytes(), (26 + 18) * kMib);
    EXPECT_EQ(on_card.host_bytes(), 0);
    EXPECT_EQ(on_card.unload(std::nullopt), LoadedModel::Left::Wholly);
    EXPECT_EQ(on_card.card_bytes(), 26 * kMib);  // as they were
}

TEST(LoadedModel, patches_streamed_weights_on_every_call) {
    LoadedModel model = loaded({});
    model.load(10.0 * kMib, kPatches);  // room for the 4 Mi one and nothing more
    EXPECT_EQ(model.card_bytes(), 8 * kMib);
    EXPECT_EQ(model.merge_peak(), 0);
    EXPECT_EQ(model.streamed().patched_copy, 8 * 3 * 2 * kMib);
    EXPECT_EQ(model.host_bytes(), 18 * kMib);
}

}  // namespace
}  // namespace plimsoll::memory
