// SPDX-License-Identifier: Apache-2.0
//
// Every native metric of a pair of 1024 x 1024 on one core (target < 0.5 s), HaarPSI (< 15 ms) and
// MDSI
// (< 5 ms) from decoded pictures, and the memory at most in use while two PNG files of 2048 x 2048
// are read and compared (< 200 MiB, the whole process).
#include "base/check.h"
#include "quality/compare.h"
#include "quality/decode/decode.h"
#include "quality/defects/colour.h"
#include "quality/defects/spectrum.h"
#include "quality/encode_png.h"
#include "quality/metrics/haar_psi.h"
#include "quality/metrics/mdsi.h"
#include "quality/pyramid.h"
#include "quality/test_pictures.h"
#include "targets.h"
#include "yardstick.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>

namespace plimsoll::bench {
namespace {

using quality::BrisqueModel;
using quality::decode_image;
using quality::Decoded;
using quality::Image;
using quality::mdsi_pool_side;
using quality::Models;
using quality::NiqeModel;
using quality::NiqeSample;
using quality::Plane;
namespace test = quality::test;

constexpr double kMebibyte = 1024.0 * 1024;
constexpr double kPeakMiBMax = 200;

// 100 kB of numbers: a tenth of a millisecond on the machine that the targets were set for.
const std::string& yard_text() {
    static const std::string text = [] {
        std::string out = "[0";
        while (out.size() < 100'000) out += ",0.12345";
        return out + "]";
    }();
    return text;
}

struct Pictures {
    Image reference;
    Image candidate;
    NiqeModel niqe;
    BrisqueModel brisque;

    [[nodiscard]] Models models() const {
        return {.niqe = &niqe, .brisque = &brisque, .tile_stride = 448};
    }
};

// A machine as large as the published one; its numbers do not change what it costs.
BrisqueModel brisque_of_size(std::size_t vectors) {
    BrisqueModel model;
    model.most.fill(1);
    model.gamma = 0.05;
    model.support_vectors.resize(vectors);
    model.weights.assign(vectors, 1.0);
    return model;
}

Pictures make_pictures(int side) {
    const test::Levels reference = test::with_texture(test::scene(side, 1), 0.7, 1);
    Pictures out{.reference = reference.image(),
                 .candidate = test::with_noise(reference, 3).image(),
                 .niqe = {},
                 .brisque = brisque_of_size(774)};
    const std::array<NiqeSample, 2> samples{sample_niqe(whole_luma(out.reference)),
                                            sample_niqe(whole_luma(out.candidate))};
    const Result<NiqeModel> niqe = fit_niqe(samples);
    CHECK(niqe);
    out.niqe = *niqe;
    return out;
}

const Pictures& pictures() {
    static const Pictures made = make_pictures(1024);
    return made;
}

void all_metrics(benchmark::State& state) {
    const Pictures& made = pictures();
    against_parsing(state, yard_text(), [&] {
        benchmark::DoNotOptimize(compare(made.reference, made.candidate, made.models()));
    });
}
BENCHMARK(all_metrics)->Unit(benchmark::kMillisecond);

void haar_psi_1024(benchmark::State& state) {
    const Pictures& made = pictures();
    against_parsing(state, yard_text(), [&] {
        benchmark::DoNotOptimize(haar_psi(pooled(made.reference, 2), pooled(made.candidate, 2)));
    });
}
BENCHMARK(haar_psi_1024)->Unit(benchmark::kMillisecond);

void mdsi_1024(benchmark::State& state) {
    const Pictures& made = pictures();
    const int side = mdsi_pool_side(1024, 1024);
    against_parsing(state, yard_text(), [&] {
        benchmark::DoNotOptimize(mdsi(pooled(made.reference, side), pooled(made.candidate, side)));
    });
}
BENCHMARK(mdsi_1024)->Unit(benchmark::kMillisecond);

// Parts, to see where the time goes.
void part_pyramid(benchmark::State& state) {
    for ([[maybe_unused]] auto _ : state)
        benchmark::DoNotOptimize(make_pyramid(pictures().reference));
}
BENCHMARK(part_pyramid)->Unit(benchmark::kMillisecond);

void part_inspect_one(benchmark::State& state) {
    for ([[maybe_unused]] auto _ : state)
        benchmark::DoNotOptimize(inspect(pictures().reference, pictures().models()));
}
BENCHMARK(part_inspect_one)->Unit(benchmark::kMillisecond);

void part_colour(benchmark::State& state) {
    for ([[maybe_unused]] auto _ : state)
        benchmark::DoNotOptimize(measure_colour(pictures().reference));
}
BENCHMARK(part_colour)->Unit(benchmark::kMillisecond);

void part_spectrum(benchmark::State& state) {
    const Plane luma = whole_luma(pictures().reference);
    for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(measure_spectrum(luma));
}
BENCHMARK(part_spectrum)->Unit(benchmark::kMillisecond);

void part_niqe_sample(benchmark::State& state) {
    const Plane luma = whole_luma(pictures().reference);
    for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(sample_niqe(luma));
}
BENCHMARK(part_niqe_sample)->Unit(benchmark::kMillisecond);

void part_brisque_features(benchmark::State& state) {
    const Plane luma = whole_luma(pictures().reference);
    for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(brisque_features(luma));
}
BENCHMARK(part_brisque_features)->Unit(benchmark::kMillisecond);

void decode_png_1024(benchmark::State& state) {
    const std::string file = encode_png(pictures().reference);
    for ([[maybe_unused]] auto _ : state)
        benchmark::DoNotOptimize(decode_image(std::as_bytes(std::span(file))));
}
BENCHMARK(decode_png_1024)->Unit(benchmark::kMillisecond);

// The most memory this process ever held, in MiB; 0 where Linux does not say.
double peak_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmHWM:"))
            return std::strtod(line.c_str() + 6, nullptr) * 1024 / kMebibyte;
    return 0;
}

// From now on the peak is counted anew.
bool forget_peak() {
    std::ofstream clear("/proc/self/clear_refs");
    clear << "5" << std::flush;
    return clear.good();
}

bool print_memory() {
    std::string reference;
    std::string candidate;
    NiqeModel niqe;
    const BrisqueModel brisque = brisque_of_size(774);
    {
        const Pictures made = make_pictures(1024);
        niqe = made.niqe;
        // Four of them: making a scene of 2048 takes longer than all the rest.
        const auto four_of = [](const Image& one) {
            Image four(2048, 2048);
            for (int c = 0; c < 3; ++c)
                for (int y = 0; y < 2048; ++y)
                    for (std::size_t x = 0; x < 2048; ++x)
                        four.row(c, y)[x] = one.row(c, y % 1024)[x % 1024];
            return encode_png(four);
        };
        reference = four_of(made.reference);
        candidate = four_of(made.candidate);
    }
    if (!forget_peak()) {
        std::printf("MISSED  memory_2048                  cannot be measured here\n");
        return false;
    }
    {
        const Decoded a = *decode_image(std::as_bytes(std::span(reference)));
        const Decoded b = *decode_image(std::as_bytes(std::span(candidate)));
        benchmark::DoNotOptimize(compare(a.image, b.image, {.niqe = &niqe, .brisque = &brisque}));
    }
    const double peak = peak_mib();
    const bool met = peak > 0 && peak < kPeakMiBMax;
    std::printf("%-7s %-28s %9.1f MiB, target < %g MiB, its two files included\n",
                met ? "met" : "MISSED", "memory_2048", peak, kPeakMiBMax);
    return met;
}

}  // namespace
}  // namespace plimsoll::bench

int main(int argc, char** argv) {
    const bool memory_met = argc > 1 || plimsoll::bench::print_memory();
    const int times = plimsoll::bench::run_against(
        {{"all_metrics", 0.5}, {"haar_psi_1024", 15e-3}, {"mdsi_1024", 5e-3}}, argc, argv);
    return memory_met ? times : EXIT_FAILURE;
}
