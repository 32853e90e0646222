// SPDX-License-Identifier: Apache-2.0
//
// SAM 3 (Carion et al. 2025) on single images: what a text names is found in each and cut out, and
// every mask is made better from a closer look. The files hold the tracker of videos too.
#pragma once
#include "memory/networks/vision/image_reader.h"
#include "memory/networks/vision/sam3_detector.h"
#include "memory/networks/vision/sam3_tracker.h"
#include "memory/networks/vision/sam3_vision.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Sam3Network final : public ImageReader {
  public:
    explicit Sam3Network(const modelfile::Sam3Config& config);
    // One image, where there are several the last of them: those before have left their masks.
    [[nodiscard]] std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const override;
    [[nodiscard]] ReaderLoader loader() const override { return ReaderLoader::AsDiffusion; }
    [[nodiscard]] std::string_view title() const override { return "SAM 3"; }

  private:
    // The masks of all queries in the size of the image, beside what else was found.
    [[nodiscard]] std::vector<Tensor> find(Tape& tape, const Tensor& image, const ReaderCall& call,
                                           Sam3Places& places) const;
    // The mask of one thing, in the size of the image and in fp32.
    [[nodiscard]] Tensor refine(Tape& tape, const Tensor& coarse, const ReaderCall& call,
                                Sam3Places& places) const;

    modelfile::Sam3Config config_;
    Module root_;
    Sam3Vision vision_;
    Sam3Detector detector_;
    Sam3Tracker tracker_;
};

}  // namespace plimsoll::memory
