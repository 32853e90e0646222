// SPDX-License-Identifier: Apache-2.0
//
// Will it fit, how long will it take, and what should change?
//
//   will_it_fit MODEL_FILE|FAMILY [CARD [SIDE]]
//   will_it_fit sdxl rtx3050-6gb 1024
//   will_it_fit ~/models/base.safetensors "NVIDIA GeForce RTX 4060" 1536
#include <plimsoll/plimsoll.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

double mib(std::int64_t bytes) {
    return static_cast<double>(bytes) / 1048576.0;
}

int fail(const plimsoll::Error& error) {
    std::fprintf(stderr, "will_it_fit: %s\n", error.message.c_str());
    return 1;
}

void print(const plimsoll::Forecast& forecast) {
    std::printf("%s: %s\n", forecast.where.c_str(), forecast.sentence.c_str());
    for (const plimsoll::Phase& phase : forecast.phases)
        std::printf("  %-12s %6.0f MiB, of these %6.0f MiB of weights  %7.1f s\n",
                    phase.kind.c_str(), mib(phase.peak_bytes), mib(phase.resident_bytes),
                    phase.seconds);
    std::printf("load line %.0f MiB, peak %.0f MiB, %.0f s: %s\n", mib(forecast.load_line_bytes),
                mib(forecast.peak_bytes), forecast.seconds,
                std::string(plimsoll::verdict_name(forecast.verdict)).c_str());
    for (const std::string& warning : forecast.warnings)
        std::printf("  note: %s\n", warning.c_str());
}

void print(const plimsoll::Plan& plan) {
    std::printf("plan: %s\n", plan.explanation.c_str());
    for (const auto* changes : {&plan.changes, &plan.environment})
        for (const plimsoll::Change& change : *changes)
            std::printf("  %s: saves %.0f MiB, %+.1f s\n", change.what.c_str(),
                        mib(change.saves_bytes), change.seconds_delta);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 4) {
        std::fprintf(stderr, "usage: will_it_fit MODEL_FILE|FAMILY [CARD [SIDE]]\n");
        return 2;
    }
    plimsoll::Job job;
    if (std::filesystem::exists(argv[1]))
        job.model_file = argv[1];
    else
        job.family = argv[1];
    plimsoll::Options options;
    if (argc > 2) options.card = argv[2];  // else: the card of the running ComfyUI
    if (argc > 3) {
        job.wishes.width = std::atoi(argv[3]);
        job.wishes.height = std::atoi(argv[3]);
    }

    const auto forecast = plimsoll::forecast(job, options);
    if (!forecast) return fail(forecast.error());
    print(*forecast);
    const auto plan = plimsoll::plan(job, options);
    if (!plan) return fail(plan.error());
    print(*plan);
    const auto largest = plimsoll::largest(job, plimsoll::Knob::Batch, options);
    if (!largest) return fail(largest.error());
    if (largest->value) std::printf("largest batch that fits: %.0f\n", *largest->value);
    return forecast->verdict == plimsoll::Verdict::WillNotFit ? 3 : 0;
}
