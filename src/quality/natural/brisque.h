// SPDX-License-Identifier: Apache-2.0
//
// BRISQUE (Mittal, Moorthy, Bovik 2012): the statistics of a whole picture, judged by a support
// vector machine that was trained on people's scores of photographs. The machine is a file that
// OpenCV publishes (Debian: opencv-data); Plimsoll carries none.
//
// Enters through: the bytes of two files.   Leaves through: a score.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "quality/image.h"

#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

inline constexpr int kBrisqueFeatures = 36;  // 18 at each of two scales
inline constexpr int kBrisqueSideLeast = 16;
using BrisqueFeatures = std::array<double, kBrisqueFeatures>;

// None of a picture without any variation.
[[nodiscard]] std::optional<BrisqueFeatures> brisque_features(const Plane& whole_luma);

// An epsilon-SVR with a radial kernel, and the range by which features are scaled to -1...1.
struct BrisqueModel {
    BrisqueFeatures least{};
    BrisqueFeatures most{};
    double gamma = 0;
    double rho = 0;
    std::vector<BrisqueFeatures> support_vectors;
    std::vector<double> weights;  // one for each
};

// From brisque_model_live.yml and brisque_range_live.yml as OpenCV writes them. Corrupt when they
// are something else, LimitExceeded for more vectors than kBrisqueVectorsMax.
[[nodiscard]] Result<BrisqueModel> parse_brisque_model(std::string_view model_yml,
                                                       std::string_view range_yml);
inline constexpr int kBrisqueVectorsMax = 10'000;  // chosen: the published one has 774

// 0 clean to 100 bad for the photographs it was trained on; not clamped, so that good pictures
// still differ.
[[nodiscard]] double brisque(const BrisqueModel& model, const BrisqueFeatures& features);

}  // namespace plimsoll::quality
