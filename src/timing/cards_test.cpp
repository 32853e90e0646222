// SPDX-License-Identifier: Apache-2.0
#include "timing/cards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace plimsoll::timing {
namespace {

using memory::Vendor;
using ::testing::HasSubstr;

std::string key_of(std::string_view name, std::optional<Bytes> total = {}) {
    const auto card = find_card(name, total);
    return card ? (*card)->key : "error: " + card.error().message;
}

TEST(CardCatalogue, has_at_least_eighty_cards_of_three_vendors_with_unique_keys_and_names) {
    std::set<std::string> keys;
    std::set<std::string> names;
    std::set<Vendor> vendors;
    for (const Card& card : card_catalogue()) {
        EXPECT_TRUE(keys.insert(card.key).second) << card.key;
        EXPECT_TRUE(names.insert(card.name).second) << card.name;
        vendors.insert(card.vendor);
        EXPECT_FALSE(card.source.empty()) << card.key;
    }
    EXPECT_GE(card_catalogue().size(), 80U);
    EXPECT_EQ(vendors.size(), 3U);
}

// Two independent facts of a specification must agree: bus x pin rate = bandwidth, lanes x clock =
// TFLOPS.
TEST(CardCatalogue, bandwidth_and_throughput_follow_from_bus_pins_cores_and_clock) {
    for (const Card& card : card_catalogue()) {
        EXPECT_NEAR(card.bandwidth_gbs, card.bus_bits * card.memory_gbps / 8,
                    0.02 * card.bandwidth_gbs)
            << card.key;
        const bool dual_issue = card.arch.starts_with("gfx11") || card.arch.starts_with("gfx12") ||
                                card.arch == "gfx942";
        const double tflops = (dual_issue ? 4.0 : 2.0) * card.cores * card.boost_mhz / 1e6;
        EXPECT_NEAR(card.fp32_tflops, tflops, 0.02 * tflops) << card.key;
    }
}

TEST(CardCatalogue, stays_in_the_ranges_that_such_hardware_has) {
    for (const Card& card : card_catalogue()) {
        if (card.vendor == Vendor::Nvidia) {
            EXPECT_GE(card.compute_capability, 60) << card.key;
            EXPECT_LE(card.compute_capability, 121) << card.key;
            EXPECT_EQ(card.bf16_tflops.has_value(), card.compute_capability >= 80) << card.key;
        } else {
            EXPECT_EQ(card.compute_capability, 0) << card.key;
        }
        EXPECT_GE(card.vram, Bytes::from_gib(3)) << card.key;
        EXPECT_LE(card.visible, card.vram) << card.key;
        EXPECT_GE(card.visible.mib(), 0.9 * card.vram.mib()) << card.key;
        EXPECT_TRUE(card.pcie_lanes == 8 || card.pcie_lanes == 16) << card.key;
        EXPECT_GE(card.pcie_gen, 3) << card.key;
        EXPECT_LE(card.pcie_gen, 5) << card.key;
        if (card.fp16_tflops) EXPECT_GE(*card.fp16_tflops, card.fp32_tflops) << card.key;
        EXPECT_GE(card.tdp_w, 60) << card.key;
    }
}

TEST(CardCatalogue, holds_the_reference_card_as_nvidia_specifies_it) {
    const auto card = find_card("rtx3050-6gb");
    ASSERT_TRUE(card.has_value());
    EXPECT_EQ((*card)->cores, 2304);
    EXPECT_DOUBLE_EQ((*card)->bandwidth_gbs, 168);
    EXPECT_NEAR((*card)->fp32_tflops, 6.77, 0.01);
    EXPECT_EQ((*card)->compute_capability, 86);
    EXPECT_EQ((*card)->pcie_gen, 4);
    EXPECT_EQ((*card)->pcie_lanes, 8);
    EXPECT_EQ((*card)->visible, Bytes::from_mib(5898));
}

TEST(FindCard, understands_keys_driver_names_and_what_comfyui_prints) {
    EXPECT_EQ(key_of("RTX3050-6GB"), "rtx3050-6gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 3050 6GB Laptop GPU"), "rtx3050-6gb-laptop");
    EXPECT_EQ(key_of("cuda:0 NVIDIA GeForce RTX 3060 : cudaMallocAsync"), "rtx3060-12gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 4070 Ti SUPER"), "rtx4070tis");
    EXPECT_EQ(key_of("rtx 4060 ti 16gb"), "rtx4060ti-16gb");
    EXPECT_EQ(key_of("NVIDIA A10G"), "a10g");
    EXPECT_EQ(key_of("NVIDIA A10"), "a10");
    EXPECT_EQ(key_of("Tesla T4"), "t4");
    EXPECT_EQ(key_of("AMD Radeon RX 7900 XTX"), "rx7900xtx");
    EXPECT_EQ(key_of("Intel(R) Arc(TM) A770 Graphics"), "arc-a770-16gb");
    EXPECT_EQ(key_of("xpu:0 Intel(R) Arc(TM) B580 Graphics"), "arc-b580");
    EXPECT_EQ(key_of("cuda:0 NVIDIA GeForce RTX 3050 6GB Laptop GPU : cudaMallocAsync"),
              "rtx3050-6gb-laptop");
    EXPECT_EQ(key_of("cuda:0 AMD Radeon RX 6800 XT [ZLUDA] : native"), "rx6800xt");
    EXPECT_EQ(key_of("CUDA cuda:0: NVIDIA GeForce RTX 4090 D"), "rtx4090d");
    EXPECT_EQ(key_of("GeForce RTX 2070 with Max-Q Design"), "rtx2070-maxq");  // old driver
    EXPECT_EQ(key_of("Quadro RTX 6000"), "quadro-rtx6000");
    EXPECT_EQ(key_of("NVIDIA RTX 6000 Ada Generation"), "rtx6000ada");
    EXPECT_EQ(key_of("Tesla V100-PCIE-32GB"), "v100-32gb-pcie");
}

TEST(FindCard, lets_the_reported_memory_decide_between_cards_of_one_name) {
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 3050", Bytes::from_mib(5898)), "rtx3050-6gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 3050", Bytes::from_mib(8191)), "rtx3050-8gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 3060", Bytes::from_mib(8192)), "rtx3060-8gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 4060 Ti", Bytes::from_mib(16379)), "rtx4060ti-16gb");
    EXPECT_EQ(key_of("NVIDIA GeForce RTX 3050 Laptop GPU", Bytes::from_mib(6143)),
              "rtx3050-6gb-laptop");
    EXPECT_EQ(key_of("NVIDIA GeForce GTX 1060", Bytes::from_mib(6071)), "gtx1060-6gb");
}

TEST(FindCard, names_the_nearest_cards_when_it_does_not_know_one) {
    for (const std::string_view unknown : {"rtx3055-6gb", "", "   ", "gpu", "rtx3050-7gb"}) {
        const auto card = find_card(unknown);
        ASSERT_FALSE(card.has_value()) << unknown;
        EXPECT_EQ(card.error().code, Errc::NotFound);
    }
    for (const std::string_view typo : {"rtx3055-6gb", "rtx3055", "NVIDIA GeForce RTX 3055"})
        EXPECT_THAT(find_card(typo).error().message, HasSubstr("rtx3050-6gb"));
    EXPECT_FALSE(find_card(std::string(100'000, '9')).has_value());
}

TEST(FindCard, finds_every_card_by_its_own_key_and_name) {
    for (const Card& card : card_catalogue()) {
        EXPECT_EQ(key_of(card.key), card.key);
        EXPECT_EQ(key_of(card.name), card.key);
        EXPECT_EQ(key_of("cuda:0 " + card.name + " : native", card.visible), card.key);
    }
}

TEST(DeviceFrom, reports_the_memory_that_the_system_shows) {
    const Card& card = **find_card("rtx3050-6gb");
    const memory::Device on_linux = device_from(card);
    EXPECT_EQ(on_linux.total, Bytes::from_mib(5898));
    EXPECT_EQ(on_linux.used_by_others, Bytes::from_mib(300));
    EXPECT_EQ(on_linux.compute_capability, 86);
    EXPECT_EQ(device_from(card, memory::OperatingSystem::Windows).total, Bytes::from_mib(6143));
    EXPECT_EQ(
        device_from(card, memory::OperatingSystem::Linux, Bytes::from_mib(1200)).used_by_others,
        Bytes::from_mib(1200));
}

TEST(ParseCards, refuses_lines_that_are_not_cards) {
    const std::string header = "key\n";
    EXPECT_THAT(parse_cards(header + "a,b,c").error().message, HasSubstr("line 2: 3 columns"));
    EXPECT_EQ(
        parse_cards(header + "k,n,nvidia,a,86,x,1,text,1,1,1,1,1,1,1,1,4,8,70,s").error().code,
        Errc::Corrupt);
    EXPECT_EQ(parse_cards(header + "k,n,tandy,a,86,1,1,text,1,1,1,1,1,1,1,1,4,8,70,s").error().code,
              Errc::Corrupt);
    EXPECT_TRUE(parse_cards("").has_value());
}

}  // namespace
}  // namespace plimsoll::timing
