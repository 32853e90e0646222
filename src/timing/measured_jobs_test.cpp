// SPDX-License-Identifier: Apache-2.0
#include "timing/measured_jobs.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace plimsoll::timing {
namespace {

std::string table_text() {
    std::ifstream file(PLIMSOLL_TEST_DATA "/../../data/timing/measured.csv");
    return {std::istreambuf_iterator<char>(file), {}};
}

const std::vector<MeasuredJob>& jobs() {
    static const std::vector<MeasuredJob> all = [] {
        auto read = read_measured_jobs(table_text());
        EXPECT_TRUE(read.has_value()) << (read ? "" : read.error().message);
        return read ? std::move(*read) : std::vector<MeasuredJob>{};
    }();
    return all;
}

template <class Wanted>
ForecastErrors errors_of(Wanted wanted) {
    std::vector<const MeasuredJob*> some;
    for (const MeasuredJob& job : jobs())
        if (wanted(job)) some.push_back(&job);
    return forecast_errors(some);
}

bool draws_video_or_flux(const MeasuredJob& job) {
    return job.network.starts_with("wan") || job.network == "hunyuan_video" ||
           job.network == "flux_dev";
}

// The promise for cards that are in the fit: the middle error of the whole public table is at most
// 10 %. Cards left out are the fit's own check (tools/fit_timing.py, functional.timing_fit).
TEST(MeasuredJobs, are_forecast_within_ten_percent_in_the_middle) {
    ASSERT_GE(jobs().size(), 400U);
    EXPECT_LE(errors_of([](const MeasuredJob&) { return true; }).median, 0.10);
    EXPECT_LE(errors_of([](const MeasuredJob&) { return true; }).ninetieth, 0.25);
}

// Each way of running by itself, so that the many rows of one do not hide another.
TEST(MeasuredJobs, are_forecast_as_well_compiled_eager_and_for_large_transformers) {
    EXPECT_LE(errors_of([](const MeasuredJob& j) { return j.software.compiled; }).median, 0.10);
    EXPECT_LE(errors_of([](const MeasuredJob& j) { return !j.software.compiled; }).median, 0.10);
    EXPECT_LE(errors_of([](const MeasuredJob& j) { return j.timed == "decode"; }).median, 0.10);
    const ForecastErrors large = errors_of(draws_video_or_flux);
    EXPECT_GE(large.jobs, 30U);
    EXPECT_LE(large.median, 0.10);
}

TEST(MeasuredJobs, hold_what_was_timed_and_nothing_else) {
    for (const MeasuredJob& job : jobs()) {
        ASSERT_FALSE(job.parts.empty()) << job.id;
        for (const MeasuredPart& part : job.parts) {
            EXPECT_GT(part.costs.total().flops, 0) << job.id;
            if (job.timed == "decode") EXPECT_EQ(part.phase, "vae_decode") << job.id;
            if (job.timed == "step") EXPECT_NE(part.phase, "vae_decode") << job.id;
        }
    }
}

TEST(ReadMeasuredJobs, names_the_line_that_it_cannot_read) {
    const std::string header =
        "id,source,card,network,software,dtype,matmul,layout,attention,width,height,frames,images,"
        "steps,forwards,forward_batch,timed,seconds\n";
    const std::string good =
        "m1,\"a, page\",t4,sd15,eager,fp16,,,xformers,512,512,1,1,,1,2,step,0.2\n";
    const auto read = read_measured_jobs(header + good);
    ASSERT_TRUE(read.has_value()) << read.error().message;
    EXPECT_EQ(read->front().card->key, "t4");
    for (const auto& [from, to] : {std::pair{"t4", "nocard"},
                                   {"sd15", "nonetwork"},
                                   {"fp16", "fp1"},
                                   {"xformers", "magic"},
                                   {",0.2", ",-1"},
                                   {",0.2", ""},
                                   {"512,512", "3,3"}}) {
        std::string bad = good;
        bad.replace(bad.find(from), std::string_view(from).size(), to);
        const auto refused = read_measured_jobs(header + bad);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_EQ(refused.error().code, Errc::Corrupt);
        EXPECT_NE(refused.error().message.find("line 2"), std::string::npos);
    }
    EXPECT_FALSE(read_measured_jobs("id,card\nm1,t4\n").has_value());
}

TEST(ForecastErrors, of_no_jobs_are_nothing) {
    const ForecastErrors none = forecast_errors({});
    EXPECT_EQ(none.jobs, 0U);
    EXPECT_EQ(none.median, 0);
}

}  // namespace
}  // namespace plimsoll::timing
