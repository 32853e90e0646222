// SPDX-License-Identifier: Apache-2.0
//
// Runs as years of work would leave them, from a seed: three years of days of different length, 24
// models of which few make most runs, three cards one after the other, settings that people use,
// prompts from a vocabulary with a long tail (Zipf, as text has it), all outcomes.
#pragma once
#include "history/run.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace plimsoll::bench {

inline constexpr std::int64_t kFirstMs = 1'672'531'200'000;    // 2023-01-01
inline constexpr std::int64_t kSpanMs = 1'095LL * 86'400'000;  // three years
inline constexpr int kMadeModels = 24;

[[nodiscard]] std::string made_model(int number);
[[nodiscard]] std::string made_card(int number);
// The more often used ones have the lower numbers.
[[nodiscard]] std::string made_word(int number);

class RunMaker {
  public:
    explicit RunMaker(std::int64_t runs) : runs_(runs) {}
    // The next run, a little later than the one before.
    [[nodiscard]] const history::RunRecord& next();

  private:
    [[nodiscard]] int zipf(int below);
    [[nodiscard]] double uniform();
    void choose_settings();
    void choose_end();

    std::int64_t runs_;
    std::int64_t made_ = 0;
    std::mt19937_64 random_{20261129};
    history::RunRecord run_;
};

}  // namespace plimsoll::bench
