// SPDX-License-Identifier: Apache-2.0
//
// Goal: every form of running out of memory is recognised, and no job is tried for ever. Method:
// texts as they were reported (reference/comfyui-api.md, section 7), the ladder climbed to its end.
#include "guard/ladder.h"

#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

service::NodeError error(std::string type, std::string message) {
    return {.node_id = "3",
            .node_type = "KSampler",
            .message = std::move(message),
            .exception_type = std::move(type)};
}

TEST(ClassifyFailure, knows_every_form_of_a_full_card) {
    for (const auto& [type, message] : std::initializer_list<std::pair<const char*, const char*>>{
             {"torch.OutOfMemoryError", "Allocation on device "},
             {"torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."},
             {"torch.OutOfMemoryError",
              "Allocation on device 0 would exceed allowed memory. (out "
              "of memory)\nCurrently allocated     : 5.1 GiB"},
             {"RuntimeError", "CUDA out of memory. Tried to allocate 20.00 MiB"},
             {"torch.AcceleratorError", "CUDA error: out of memory"},
             {"RuntimeError", "HIP out of memory. Tried to allocate 1.00 GiB"},
             {"RuntimeError", "MPS backend out of memory (MPS allocated: 17 GB)"},
             {"RuntimeError",
              "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling "
              "`cublasCreate(handle)`"},
             {"RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"},
             {"RuntimeError", "Not enough memory, use lower resolution (max approx. 640x640)."}})
        EXPECT_EQ(classify_failure(error(type, message)), Failure::CardMemory) << message;
}

TEST(ClassifyFailure, tells_the_machines_memory_and_other_errors_apart) {
    EXPECT_EQ(classify_failure(error("MemoryError", "")), Failure::HostMemory);
    EXPECT_EQ(classify_failure(error("RuntimeError",
                                     "[enforce fail at alloc_cpu.cpp:114] . "
                                     "DefaultCPUAllocator: not enough memory: you "
                                     "tried to allocate 100 bytes.")),
              Failure::HostMemory);
    EXPECT_EQ(classify_failure(error("ValueError", "width must be a multiple of 8")),
              Failure::Other);
    EXPECT_EQ(classify_failure(error("RuntimeError", "CUDA error: device-side assert triggered")),
              Failure::Other);
}

TEST(Climb, frees_and_tries_once_more_then_changes_then_gives_up) {
    Tries tries{.as_it_is = 1};
    const LadderStep first = climb(Failure::CardMemory, tries, true);
    EXPECT_EQ(first.action, LadderAction::Again);
    EXPECT_TRUE(first.unload_models);
    // ComfyUI's cache keeps what was drawn before the wall: only the tail is computed again.
    EXPECT_FALSE(first.reset_caches);
    EXPECT_FALSE(first.meets_wall);
    int sent = 1;
    for (;;) {
        ++sent;
        ++tries.as_it_is;
        const LadderStep step = climb(Failure::CardMemory, tries, true);
        if (step.action == LadderAction::Quarantine) break;
        ASSERT_LT(sent, 20) << "climbs for ever";
        if (step.action != LadderAction::NextPlan) continue;
        EXPECT_TRUE(step.meets_wall);
        ++tries.plan_level;
        tries.as_it_is = 0;
    }
    EXPECT_EQ(tries.plan_level, kPlanLevelMax);
}

TEST(Climb, changes_nothing_where_the_policy_forbids_it) {
    const LadderStep step = climb(Failure::CardMemory, {.as_it_is = 2}, false);
    EXPECT_EQ(step.action, LadderAction::Quarantine);
    EXPECT_TRUE(step.meets_wall);
    EXPECT_FALSE(step.reason.empty());
}

TEST(Climb, a_job_that_takes_comfyui_down_twice_is_no_accident) {
    EXPECT_EQ(climb(Failure::ServerLost, {.servers_lost = 1}, true).action, LadderAction::Again);
    const LadderStep step = climb(Failure::ServerLost, {.servers_lost = 2}, true);
    EXPECT_EQ(step.action, LadderAction::Quarantine);
    EXPECT_TRUE(step.meets_wall);
}

TEST(Climb, a_full_machine_is_helped_by_dropping_caches_once) {
    const LadderStep first = climb(Failure::HostMemory, {.as_it_is = 1}, true);
    EXPECT_EQ(first.action, LadderAction::Again);
    EXPECT_TRUE(first.reset_caches);
    EXPECT_EQ(climb(Failure::HostMemory, {.as_it_is = 2}, true).action, LadderAction::Quarantine);
}

TEST(Climb, what_we_stopped_comes_back_smaller_or_as_it_is_and_is_never_put_aside) {
    for (const Failure failure : {Failure::Spilled, Failure::Stalled, Failure::Drifted}) {
        const LadderStep step = climb(failure, {.stops = 1}, true);
        EXPECT_EQ(step.action, LadderAction::NextPlan);
        EXPECT_TRUE(step.else_again);
        EXPECT_TRUE(step.unload_models);
        EXPECT_FALSE(step.meets_wall);
        EXPECT_EQ(climb(failure, {.plan_level = kPlanLevelMax, .stops = 1}, true).action,
                  LadderAction::Again);
        EXPECT_EQ(climb(failure, {.stops = 1}, false).action, LadderAction::Again);
    }
}

TEST(Climb, what_leaves_something_behind_comes_back_as_it_is_on_a_card_without_it) {
    const LadderStep step = climb(Failure::Crept, {.stops = 1}, true);
    EXPECT_EQ(step.action, LadderAction::Again);
    EXPECT_TRUE(step.unload_models);
    EXPECT_TRUE(step.reset_caches);
    EXPECT_FALSE(step.meets_wall);
}

TEST(Climb, other_errors_are_the_clients) {
    EXPECT_EQ(climb(Failure::Other, {}, true).action, LadderAction::Pass);
}

TEST(MemorySettles, waits_until_three_looks_agree) {
    MemorySettles settles(0);
    EXPECT_FALSE(settles.add(0, Bytes::from_gib(1)));
    EXPECT_FALSE(settles.add(250, Bytes::from_gib(3)));
    EXPECT_FALSE(settles.add(500, Bytes::from_gib(5)));
    EXPECT_FALSE(settles.add(750, Bytes::from_gib(5)));
    EXPECT_TRUE(settles.add(1000, Bytes::from_gib(5)));
    EXPECT_FALSE(settles.gave_up());
}

TEST(MemorySettles, is_looked_at_four_times_a_second) {
    MemorySettles settles(0);
    EXPECT_TRUE(settles.is_due(1'000));
    (void)settles.add(1'000, Bytes(0));
    EXPECT_FALSE(settles.is_due(1'249));
    EXPECT_TRUE(settles.is_due(1'250));
}

TEST(MemorySettles, does_not_wait_for_ever) {
    MemorySettles settles(0);
    std::int64_t at = 0;
    for (bool up = false; !settles.add(at, Bytes::from_gib(up ? 1 : 5)); up = !up) at += 1000;
    EXPECT_EQ(at, kSettleMsMax);
    EXPECT_TRUE(settles.gave_up());
}

}  // namespace
}  // namespace plimsoll::guard
