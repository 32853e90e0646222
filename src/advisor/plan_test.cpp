// SPDX-License-Identifier: Apache-2.0
//
// The solver against the closed forms of loader_law.h: an SDXL job on a 6 GB card whose load line
// is 4352 MiB.
#include "advisor/plan.h"

#include "advisor/loader_law.h"
#include "advisor/text_to_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace plimsoll::advisor {
namespace {

using ::testing::HasSubstr;

std::string job(int width, int height, int batch = 1, int steps = 28) {
    return build_text_to_image({.model = "sdxl-base",
                                .width = width,
                                .height = height,
                                .steps = steps,
                                .batch = batch,
                                .seed = 12345678901234567890ULL},
                               "sd_xl_base_1.0.safetensors", "cute dragon character", "blurry");
}

workflow::Graph graph_of(const std::string& text) {
    auto graph = workflow::parse_api_workflow(text);
    EXPECT_TRUE(graph.has_value());
    return std::move(*graph);
}

Plan plan_of(const std::string& text, PlanRequest request = {}, const LoaderLaw& law = {}) {
    request.workflow = text;
    auto plan = solve_plan(request, law);
    EXPECT_TRUE(plan.has_value()) << plan.error().message;
    return std::move(*plan);
}

std::set<ChangeKind> kinds(const Plan& plan) {
    std::set<ChangeKind> out;
    for (const Change& change : plan.changes) out.insert(change.kind);
    return out;
}

TEST(SolvePlan, changes_nothing_where_everything_fits) {
    LoaderLaw large;
    large.free_mib = 11'500;
    PlanRequest request;
    request.budget = *make_budget(12'288, 0.15, 30);
    const std::string text = job(1024, 1024);
    const Plan plan = plan_of(text, request, large);
    EXPECT_EQ(plan.verdict, PlanVerdict::Fits);
    EXPECT_TRUE(plan.changes.empty());
    EXPECT_TRUE(plan.environment.empty());
    ASSERT_EQ(plan.workflows.size(), 1U);
    EXPECT_EQ(plan.workflows[0], text);  // byte for byte
}

// The reference case: weights that the loader parks are above the line, nothing else is. The
// picture must not pay for it.
TEST(SolvePlan, holds_the_line_with_the_servers_flag_and_leaves_the_picture_alone) {
    const std::string text = job(1024, 1024);
    PlanRequest request;
    request.control = ServerControl::Ours;
    const Plan plan = plan_of(text, request);
    EXPECT_EQ(plan.judged_before.standing, Standing::Parked);
    EXPECT_EQ(plan.verdict, PlanVerdict::FitsChanged);
    EXPECT_TRUE(plan.changes.empty());
    ASSERT_EQ(plan.environment.size(), 1U);
    EXPECT_EQ(plan.environment[0].kind, ChangeKind::ReserveVram);
    EXPECT_TRUE(plan.environment[0].needs_restart);
    EXPECT_GT(plan.environment[0].saves, Bytes::from_mib(300));
    EXPECT_GT(plan.environment[0].seconds_delta, 0);
    EXPECT_LE(plan.after.memory.peak, request.budget.load_line);
    EXPECT_EQ(plan.workflows, std::vector<std::string>{text});
    // The smallest flag that does it: a tenth of a GiB less leaves the peak above.
    const LoaderLaw law;
    const auto less = law({text, *plan.reserve_vram - Bytes::from_gib(0.1)});
    EXPECT_GT(less->memory.peak, request.budget.load_line);
}

TEST(SolvePlan, says_that_a_flag_of_a_users_server_is_only_advice) {
    const Plan plan = plan_of(job(1024, 1024));
    EXPECT_EQ(plan.verdict, PlanVerdict::FitsParked);
    EXPECT_EQ(plan.judged_after.standing,
              Standing::Parked);  // what will happen, not what the flag would make of it
    EXPECT_THAT(plan.explanation, HasSubstr("--reserve-vram"));
    EXPECT_THAT(plan.run_anyway, HasSubstr("it runs"));
}

// 2048 x 2048 decoded whole needs 5.1 GiB of activations.
TEST(SolvePlan, tiles_the_decode_before_anything_else) {
    const Plan plan = plan_of(job(2048, 2048));
    EXPECT_EQ(plan.judged_before.standing, Standing::Over);
    EXPECT_EQ(kinds(plan), std::set{ChangeKind::TileVae});
    EXPECT_EQ(plan.changes[0].node_id, "8");
    EXPECT_GT(plan.changes[0].saves, Bytes::from_gib(0.75));  // as little as is needed
    EXPECT_FALSE(plan.changes[0].changes_composition);
    const auto graph = graph_of(plan.workflows.at(0));
    EXPECT_EQ(graph.find("8")->class_type, "VAEDecodeTiled");
    // The largest that fits: a step more is above the line.
    const int tile = static_cast<int>(*graph.find("8")->int_of("tile_size"));
    EXPECT_GE(tile, 1024);
    const auto decode_with = [&](int pixels) {
        return 159.6 + 81'928.0 / 1048576 * pixels * pixels / 64;  // the law's, in MiB
    };
    const double line = Budget{}.load_line.mib();
    EXPECT_LE(decode_with(tile), line);
    EXPECT_GT(decode_with(tile + kPlannedTileStep), line);
    EXPECT_EQ(graph.find("8")->link_of("samples")->node_id, "3");
}

TEST(SolvePlan, splits_a_batch_into_runs_that_take_their_part_of_the_same_noise) {
    const Plan plan = plan_of(job(1024, 1024, 60));
    EXPECT_EQ(plan.judged_before.standing, Standing::Over);
    ASSERT_TRUE(kinds(plan).contains(ChangeKind::SplitBatch));
    ASSERT_GT(plan.workflows.size(), 1U);
    int next = 0;
    for (const std::string& text : plan.workflows) {
        const auto graph = graph_of(text);
        EXPECT_EQ(graph.find("5")->int_of("batch_size"), 60);  // the whole noise is drawn
        const auto* link = graph.find("3")->link_of("latent_image");
        const auto* part = graph.find(link->node_id);
        ASSERT_EQ(part->class_type, "LatentFromBatch");
        EXPECT_EQ(part->link_of("samples")->node_id, "5");
        EXPECT_EQ(part->int_of("batch_index"), next);
        next += static_cast<int>(*part->int_of("length"));
    }
    EXPECT_EQ(next, 60);
    EXPECT_GT(plan.seconds_all, plan.after.seconds.total);
}

// Both phases are over: relieving one must count although the other is still the highest.
TEST(SolvePlan, relieves_several_phases_with_their_own_levers) {
    PlanRequest request;
    request.budget.seconds_max = 1e6;
    const Plan plan = plan_of(job(2048, 2048, 30), request);
    EXPECT_EQ(kinds(plan), (std::set{ChangeKind::TileVae, ChangeKind::SplitBatch}));
    EXPECT_NE(plan.verdict, PlanVerdict::NothingFits);
}

TEST(SolvePlan, takes_fewer_steps_before_a_smaller_picture_when_time_is_short) {
    PlanRequest request;
    request.budget.seconds_max = 40;
    const Plan plan = plan_of(job(1024, 1024, 1, 50), request);
    EXPECT_EQ(kinds(plan), std::set{ChangeKind::Steps});
    EXPECT_LE(plan.seconds_all, 40);
    EXPECT_LT(plan.changes[0].seconds_delta, 0);
    EXPECT_FALSE(plan.changes[0].changes_composition);
}

TEST(SolvePlan, says_so_when_a_change_alters_the_composition) {
    PlanRequest request;
    request.budget.seconds_max = 40;
    request.pins = *parse_pins("steps");
    const Plan plan = plan_of(job(1024, 1024, 1, 50), request);
    ASSERT_FALSE(plan.changes.empty());
    for (const Change& change : plan.changes)
        EXPECT_TRUE(change.changes_composition) << change.what.message();
    EXPECT_THAT(plan.refused, ::testing::Contains(HasSubstr("steps is pinned")));
}

TEST(SolvePlan, drawn_smaller_still_delivers_the_wanted_size) {
    PlanRequest request;
    request.budget.seconds_max = 60;
    request.pins = *parse_pins("steps");
    const Plan plan = plan_of(job(1536, 1024, 1, 30), request);
    ASSERT_EQ(kinds(plan), std::set{ChangeKind::TwoPass});
    const auto graph = graph_of(plan.workflows.at(0));
    const auto* scale = graph.find(graph.find("9")->link_of("images")->node_id);
    ASSERT_EQ(scale->class_type, "ImageScale");
    EXPECT_EQ(scale->int_of("width"), 1536);
    EXPECT_EQ(scale->int_of("height"), 1024);
    EXPECT_LT(*graph.find("5")->int_of("width"), 1536);
    EXPECT_EQ(scale->link_of("image")->node_id, "8");
}

TEST(SolvePlan, explains_when_nothing_fits) {
    PlanRequest request;
    request.pins = *parse_pins("size,batch,vae,precision");
    const Plan plan = plan_of(job(2048, 2048), request);
    EXPECT_EQ(plan.verdict, PlanVerdict::NothingFits);
    EXPECT_TRUE(plan.changes.empty());
    EXPECT_THAT(plan.explanation, HasSubstr("no allowed change is enough"));
    EXPECT_THAT(plan.explanation, HasSubstr("the size is pinned"));
    EXPECT_EQ(plan.workflows, std::vector<std::string>{job(2048, 2048)});
}

TEST(SolvePlan, tells_that_running_anyway_dies_where_the_card_is_too_small) {
    const Plan plan = plan_of(job(3072, 3072));
    EXPECT_THAT(plan.run_anyway, HasSubstr("runs out of memory in node 8 (VAEDecode)"));
}

TEST(SolvePlan, leaves_a_workflow_alone_that_it_does_not_understand) {
    std::string text = job(1024, 1024);
    text.replace(text.rfind('}'), 1, R"(, "10": {"class_type": "Mystery", "inputs": {}}})");
    LoaderLaw large;
    large.free_mib = 20'000;
    const Plan plan = plan_of(text, {}, large);
    EXPECT_EQ(plan.verdict, PlanVerdict::Unknown);
    EXPECT_EQ(plan.workflows, std::vector<std::string>{text});
}

TEST(SolvePlan, uses_a_lower_precision_that_exists_on_disk) {
    std::string text =
        R"({"3": {"class_type": "KSampler", "inputs": {"steps": 20, "latent_image": ["5", 0], "model": ["4", 0]}},
        "4": {"class_type": "UNETLoader", "inputs": {"unet_name": "big.safetensors", "weight_dtype": "default"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}}})";
    workflow::Graph graph = graph_of(text);
    const LeverList levers =
        find_levers(graph, {}, {{"big.safetensors", {{"big_q5.gguf", "Q5_K", 0.1}}}});
    bool found = false;
    for (const Lever& lever : levers.levers)
        if (lever.kind == ChangeKind::LowerPrecision) {
            found = true;
            ASSERT_EQ(lever.offers.size(), 2U);
            EXPECT_EQ(lever.offers[0].values[0].to, "fp8_e4m3fn");
            EXPECT_EQ(lever.offers[1].values[0].to, "big_q5.gguf");
        }
    EXPECT_TRUE(found);
}

// Whatever is asked: a pinned value is the same in every workflow of the plan, and the seed's 20
// digits survive.
TEST(SolvePlan, never_touches_a_pinned_value) {
    for (const char* pin : {"steps", "size", "batch", "vae"})
        for (const int side : {1024, 2048, 3072})
            for (const int batch : {1, 7, 60}) {
                PlanRequest request;
                request.pins = *parse_pins(pin);
                request.budget.seconds_max = 60;
                const Plan plan = plan_of(job(side, side, batch, 50), request);
                for (const std::string& text : plan.workflows) {
                    const auto graph = graph_of(text);
                    const std::string name = pin;
                    EXPECT_THAT(text, HasSubstr("12345678901234567890"));
                    if (name == "steps") EXPECT_EQ(graph.find("3")->int_of("steps"), 50);
                    if (name == "size") EXPECT_EQ(graph.find("5")->int_of("width"), side);
                    if (name == "batch")
                        EXPECT_EQ(graph.find("3")->link_of("latent_image")->node_id, "5");
                    if (name == "vae") EXPECT_EQ(graph.find("8")->class_type, "VAEDecode");
                }
                EXPECT_EQ(kinds(plan).contains(ChangeKind::Steps) && std::string(pin) == "steps",
                          false);
            }
}

TEST(SolvePlan, fails_clearly_on_what_is_no_workflow) {
    for (const char* text : {"", "{", "[]", "not json"}) {
        PlanRequest request;
        request.workflow = text;
        EXPECT_FALSE(solve_plan(request, LoaderLaw{}).has_value()) << text;
    }
}

TEST(SolvePlan, passes_on_what_the_forecaster_reports) {
    const std::string text = job(1024, 1024);
    PlanRequest request;
    request.workflow = text;
    const auto plan = solve_plan(request, [](const Scenario&) -> Result<PricedForecast> {
        return fail(Errc::Unavailable, "card unplugged");
    });
    ASSERT_FALSE(plan.has_value());
    EXPECT_EQ(plan.error().message, "card unplugged");
}

TEST(ParsePins, lists_the_names_for_an_unknown_one) {
    EXPECT_EQ(*parse_pins(" Steps, seed,,"), (Pins{"steps", "seed"}));
    EXPECT_THAT(parse_pins("stepz").error().message, HasSubstr("steps, seed, width"));
}

TEST(MakeBudget, is_the_line_less_the_margin_and_names_ranges) {
    EXPECT_EQ(make_budget(5120, 0.15, 30)->load_line, Bytes::from_mib(4352));
    EXPECT_EQ(Budget{}.load_line, Bytes::from_mib(4352));
    EXPECT_THAT(make_budget(10, 0.15, 30).error().message, HasSubstr("256 to"));
    EXPECT_THAT(make_budget(5120, 1.5, 30).error().message, HasSubstr("0 to 0.9"));
    EXPECT_FALSE(make_budget(5120, 0.1, 0).has_value());
}

// What the lab knows of the job's model: fewer steps lose little.
QualityEvidence evidence_of(const workflow::Graph& graph, double lost_at_12) {
    const Settings now = settings_of_graph(graph).value();
    const auto at = [&](int steps, double quality) {
        SettingQuality one{.settings = now,
                           .quality = quality,
                           .low = quality - 0.5,
                           .high = quality + 0.5,
                           .pairs = 24};
        one.settings.steps = steps;
        return one;
    };
    return {.settings = {at(8, 90 - lost_at_12), at(12, 100 - lost_at_12), at(now.steps, 100)},
            .minding = {}};
}

TEST(SolvePlan, prices_fewer_steps_by_what_the_lab_measured_and_says_so) {
    const std::string text = job(1024, 1024);
    PlanRequest request;
    request.budget.seconds_max = plan_of(text).before.seconds.total * 0.7;
    const Plan prior = plan_of(text, request);
    ASSERT_TRUE(kinds(prior).contains(ChangeKind::Steps));
    EXPECT_EQ(prior.changes[0].price_basis, PriceBasis::Prior);
    request.evidence = evidence_of(graph_of(text), 3);
    const Plan measured = plan_of(text, request);
    ASSERT_EQ(kinds(measured), kinds(prior));
    EXPECT_EQ(measured.changes[0].to, prior.changes[0].to);
    EXPECT_EQ(measured.changes[0].price_basis, PriceBasis::Measured);
    EXPECT_LT(measured.changes[0].quality_cost, prior.changes[0].quality_cost);
    EXPECT_THAT(measured.changes[0].quality_words, HasSubstr("measured"));
}

// Whoever asks for speed gets the strongest change that surely hardly shows; votes move that line.
TEST(SolvePlan, goes_as_far_for_speed_as_the_user_does_not_see) {
    const std::string text = job(512, 512);
    PlanRequest request;
    request.preference = Preference::Speed;
    const auto steps_of_plan = [&] {
        const Plan plan = plan_of(text, request);
        return graph_of(plan.workflows.at(0)).find("3")->int_of("steps").value();
    };
    const auto now = settings_of_graph(graph_of(text))->steps;
    const auto by_prior = steps_of_plan();  // the mildest offer, and no more
    EXPECT_GT(by_prior, now * 3 / 4);
    request.evidence = evidence_of(graph_of(text), 2);
    const auto measured = steps_of_plan();
    EXPECT_LT(measured, by_prior);
    request.evidence.minding = {.weight = 0.2, .low = 0.1, .high = 0.4, .votes = 50};
    EXPECT_LT(steps_of_plan(), measured);
    request.evidence.minding = {.weight = 4, .low = 2, .high = 7, .votes = 50};
    EXPECT_GT(steps_of_plan(), measured);
}

}  // namespace
}  // namespace plimsoll::advisor
