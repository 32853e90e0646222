// SPDX-License-Identifier: Apache-2.0
//
// The cheapest setting of a model that is not worse than its best, found with pictures.
//
//   find_cheaper_setting MODEL [PROMPT...]
//
// ComfyUI is where COMFYUI_SERVER_URL and COMFYUI_PORT say; Ctrl-C cancels the test.
#include <plimsoll/plimsoll.h>

#include <atomic>
#include <csignal>
#include <cstdio>

namespace {

std::atomic<bool> cancelled = false;

int fail(const plimsoll::Error& error) {
    std::fprintf(stderr, "find_cheaper_setting: %s\n", error.message.c_str());
    return error.code == plimsoll::Errc::Unavailable ? 4 : 1;
}

void print_progress(const plimsoll::QualityResults& results) {
    std::printf("\r%zu of at most %zu pictures, at most %.0f s left ", results.images,
                results.images_max, results.seconds_left);
    std::fflush(stdout);
}

void print(const plimsoll::QualityResults& results) {
    std::printf("\n%s %s\n", results.session_id.c_str(),
                std::string(plimsoll::quality_test_state_name(results.state)).c_str());
    for (const plimsoll::QualityCandidate& candidate : results.candidates)
        if (candidate.to_best)
            std::printf("%3d steps %7.1f s  %+6.1f points (%+.1f to %+.1f)  %s\n",
                        candidate.settings.steps, candidate.seconds, candidate.to_best->points,
                        candidate.to_best->low, candidate.to_best->high,
                        candidate.why.empty() ? "chosen" : candidate.why.c_str());
    std::printf("grade %c: %s\n", results.grade, results.words.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: find_cheaper_setting MODEL [PROMPT...]\n");
        return 2;
    }
    std::signal(SIGINT, [](int) { cancelled = true; });
    auto tester = plimsoll::QualityTester::create();
    if (!tester) return fail(tester.error());
    plimsoll::QualityTestOptions options;
    options.prompts.assign(argv + 2, argv + argc);
    const auto results = tester->quick_quality_test(argv[1], options, print_progress, &cancelled);
    if (!results) return fail(results.error());
    print(*results);
    if (results->state != plimsoll::QualityTestState::Done) return 1;
    // Others find it by its id, in this program or the next.
    const auto again = tester->get_test_status(results->session_id);
    if (!again) return fail(again.error());
    return again->chosen == results->chosen ? 0 : 1;
}
