// SPDX-License-Identifier: Apache-2.0
//
// Goal: a latent is saved only where that is all that is lost, and a replay reads it in the
// sampler's place with everything else byte for byte. Method: graphs written down.
#include "guard/saved_latent.h"

#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

using testing::HasSubstr;

const std::string kGraph =
    R"({"3": {"class_type": "KSampler", "inputs": {"seed": 12345678901234567890, "cfg":  5.0}}, )"
    R"("8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}}, )"
    R"("9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}})";

std::optional<LatentCut> cut_of(const std::string& prompt) {
    return find_latent_cut(workflow::parse_api_workflow(prompt).value());
}

TEST(FindLatentCut, is_where_a_latent_is_only_decoded) {
    const auto cut = cut_of(kGraph);
    ASSERT_TRUE(cut);
    EXPECT_EQ(cut->sampler_id, "3");
    EXPECT_EQ(cut->decode_id, "8");
    // A second sampler reads it, too: it would have to be drawn again all the same.
    std::string both = kGraph;
    both.replace(both.rfind('}'), 1,
                 R"(, "5": {"class_type": "KSampler", "inputs": {"latent_image": ["3", 0]}}})");
    EXPECT_FALSE(cut_of(both));
    std::string two = kGraph;
    two.replace(two.rfind('}'), 1,
                R"(, "5": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0]}}})");
    EXPECT_FALSE(cut_of(two));
    EXPECT_FALSE(cut_of(R"({"9": {"class_type": "SaveImage", "inputs": {}}})"));
}

TEST(IsWorthSaving, where_much_would_be_lost_and_the_decode_is_near_the_line) {
    const LatentCut cut{.sampler_id = "3", .slot = 0, .decode_id = "8"};
    const auto forecast = [](double seconds, double gib) {
        return JobForecast{.nodes = {{"3", {.peak = Bytes::from_gib(2), .seconds = seconds}},
                                     {"8", {.peak = Bytes::from_gib(gib), .seconds = 5}}},
                           .load_line = Bytes::from_gib(4)};
    };
    EXPECT_TRUE(is_worth_saving(cut, forecast(300, 3.9)));
    EXPECT_FALSE(is_worth_saving(cut, forecast(20, 3.9)));
    EXPECT_FALSE(is_worth_saving(cut, forecast(300, 2)));
    EXPECT_FALSE(is_worth_saving(cut, {}));
}

TEST(SavedLatent, is_put_in_and_read_with_all_else_byte_for_byte) {
    LatentCut cut = cut_of(kGraph).value();
    cut.stem = "job-a";
    const std::string saved = with_saved_latent(kGraph, cut).value();
    EXPECT_TRUE(saved.starts_with(kGraph.substr(0, kGraph.size() - 3)));
    EXPECT_THAT(saved, HasSubstr("SaveLatent"));
    EXPECT_THAT(saved, HasSubstr(R"("plimsoll/job-a")"));
    const std::string loaded = with_loaded_latent(saved, cut).value();
    const workflow::Graph graph = workflow::parse_api_workflow(loaded).value();
    EXPECT_EQ(*graph.find("8")->link_of("samples"), (workflow::Link{"plimsoll_latent", 0}));
    EXPECT_EQ(graph.find("plimsoll_latent")->text_of("latent"),
              "plimsoll/job-a_00001_.latent [output]");
    EXPECT_THAT(loaded, HasSubstr(R"("seed": 12345678901234567890, "cfg":  5.0)"));
    EXPECT_EQ(loaded.find("SaveLatent"), std::string::npos);
    EXPECT_FALSE(cut_of(loaded));
    // And out again, from either form, to what the client sent.
    EXPECT_EQ(without_latent(loaded, cut).value(), kGraph);
    EXPECT_EQ(without_latent(saved, cut).value(), kGraph);
}

TEST(SavedLatent, is_left_out_where_the_name_is_taken) {
    LatentCut cut = cut_of(kGraph).value();
    cut.stem = "job-a";
    const std::string saved = with_saved_latent(kGraph, cut).value();
    EXPECT_FALSE(with_saved_latent(saved, cut));
}

}  // namespace
}  // namespace plimsoll::guard
