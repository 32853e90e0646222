// SPDX-License-Identifier: Apache-2.0
#include "made_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

namespace plimsoll::bench {

namespace {

constexpr int kVocabulary = 20'000;  // chosen: words that prompts of one house use

template <class T, std::size_t N>
const T& one_of(const std::array<T, N>& all, double chance) {
    return all.at(std::min(N - 1, static_cast<std::size_t>(chance * N)));
}

}  // namespace

std::string made_model(int number) {
    return number == 0 ? "sdxl-base" : fmt::format("checkpoint_{:02}.safetensors", number);
}

std::string made_card(int number) {
    constexpr std::array kCards{"NVIDIA GeForce GTX 1060 6GB", "NVIDIA GeForce RTX 3050 6GB",
                                "NVIDIA GeForce RTX 4070"};
    return kCards.at(static_cast<std::size_t>(number));
}

std::string made_word(int number) {
    // Digits as syllables: words of two to eight letters that can be spoken.
    constexpr std::array kSyllables{"ka", "lo", "mi", "ne", "ru", "sa", "to", "vi", "we", "zy"};
    std::string word;
    for (int rest = number; word.empty() || rest > 0; rest /= 10)
        word += kSyllables.at(static_cast<std::size_t>(rest % 10));
    return word;
}

double RunMaker::uniform() {
    return static_cast<double>(random_() >> 11U) * 0x1p-53;
}

// Of about 1/number: the inverse of the logarithm.
int RunMaker::zipf(int below) {
    return std::min(below - 1, static_cast<int>(std::pow(below + 1.0, uniform())) - 1);
}

void RunMaker::choose_settings() {
    constexpr std::array kSides{512, 640, 768, 832, 896, 1024, 1216, 1344};
    constexpr std::array kSteps{8, 12, 20, 20, 25, 28, 30, 40};
    constexpr std::array kCfg{1.0, 4.5, 5.5, 6.5, 7.0, 7.5, 8.0};
    constexpr std::array kSamplers{"euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde"};
    constexpr std::array kSchedulers{"normal", "karras"};
    history::Settings& s = run_.settings;
    s.width = one_of(kSides, uniform());
    s.height = one_of(kSides, uniform());
    s.batch = uniform() < 0.8 ? 1 : 4;
    s.steps = one_of(kSteps, uniform());
    s.cfg = one_of(kCfg, uniform());
    s.sampler = one_of(kSamplers, uniform());
    s.scheduler = one_of(kSchedulers, uniform());
    s.quality = s.steps < 16 ? "draft" : "optimized";
    s.seed = fmt::format("{}", random_());
}

void RunMaker::choose_end() {
    const double seconds =
        run_.settings.steps * run_.settings.width * run_.settings.height * 5e-7 + 2 * uniform();
    const double mib = 2500 + run_.settings.width * run_.settings.height / 700.0;
    run_.forecast_seconds = seconds * (0.9 + 0.2 * uniform());
    run_.forecast_peak = Bytes::from_mib(mib * (0.98 + 0.04 * uniform()));
    run_.observed_peak = Bytes::from_mib(mib);
    run_.observed_used = Bytes::from_mib(mib + 700);
    run_.observed_seconds = seconds;
    run_.ended_ms = run_.started_ms + std::llround(seconds * 1000);
    run_.error.clear();
    const double chance = uniform();
    run_.outcome = history::Outcome::Done;
    if (chance < 0.03) run_.outcome = history::Outcome::Cancelled;
    if (chance < 0.01) run_.outcome = history::Outcome::OutOfMemory;
    if (chance < 0.003) run_.outcome = history::Outcome::Failed;
    if (chance < 0.0001) run_.outcome = history::Outcome::Lost;
    if (run_.outcome == history::Outcome::OutOfMemory) run_.error = "node 8: allocation on device";
    run_.verdict = mib < 3900 ? "fits" : "fits_slowly";
    run_.phases = {{"text_encode", "6", Bytes(1'800'000'000), 0.4, Bytes(1'790'000'000), 0.5},
                   {"sample", "3", run_.forecast_peak, run_.forecast_seconds, run_.observed_peak,
                    run_.observed_seconds},
                   {"vae_decode", "8", Bytes(3'600'000'000), 1.5, Bytes(3'590'000'000), 1.6}};
}

const history::RunRecord& RunMaker::next() {
    const double along = static_cast<double>(made_) / static_cast<double>(runs_);
    run_.run_id =
        fmt::format("{:08x}-{:04x}-4000-8000-{:012x}", random_() >> 32U, random_() >> 48U, made_);
    run_.started_ms = kFirstMs + static_cast<std::int64_t>(along * static_cast<double>(kSpanMs));
    run_.prompt_id = run_.run_id;
    run_.prompt.clear();
    const int words = 6 + static_cast<int>(8 * uniform());
    for (int i = 0; i < words; ++i)
        fmt::format_to(std::back_inserter(run_.prompt), "{}{}",
                       i == 0       ? ""
                       : i % 3 == 0 ? ", "
                                    : " ",
                       made_word(zipf(kVocabulary)));
    run_.model = made_model(zipf(kMadeModels));
    run_.checkpoint = run_.model == "sdxl-base" ? "sd_xl_base_1.0.safetensors" : run_.model;
    run_.family = run_.model.back() % 2 == 0 ? "sd15" : "sdxl";
    run_.card = made_card(std::min(2, static_cast<int>(3 * along)));
    run_.comfyui_version = "0.3.64";
    run_.load_line = Bytes::from_mib(4352);
    run_.card_total = Bytes::from_mib(6144);
    run_.images = {fmt::format("/pictures/plimsoll_{:08}_.png", made_)};
    choose_settings();
    choose_end();
    ++made_;
    return run_;
}

}  // namespace plimsoll::bench
