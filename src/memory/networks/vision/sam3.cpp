// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/sam3.h"

#include "memory/networks/calls.h"

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {
constexpr std::int64_t kColours = 3;
constexpr std::int64_t kTextTokens = 32;  // whatever the text
}  // namespace

Sam3Network::Sam3Network(const modelfile::Sam3Config& c)
    : config_(c),
      root_(registry_.path("detector", "")),
      vision_(registry_, "detector.backbone.vision_backbone", c),
      detector_(registry_, "detector", c),
      tracker_(registry_, "tracker", c) {}

std::vector<Tensor> Sam3Network::find(Tape& tape, const Tensor& image, const ReaderCall& call,
                                      Sam3Places& places) const {
    using enum Sam3Vision::Neck;
    std::vector<Tensor> for_tracker;
    const Sam3Vision::Maps maps = [&] {
        const Tensor seen = vision_.look(tape, image);
        Sam3Vision::Maps made = vision_.make_maps(tape, Detector, seen, places);
        // The tracker's are made with them; what stays by accident are their positions.
        for_tracker = vision_.make_maps(tape, Tracker, seen, places).positions;
        return made;
    }();
    const Tensor text =
        ghost::create(tape, "_to_copy", root_, {1, kTextTokens, config_.text_width}, image.type());
    std::vector<Tensor> answers = detector_.detect(tape, maps, text);
    answers.back() = resize(tape, root_, answers.back(), call.height, call.width);
    return answers;
}

// A closer look at what was found, as often as the node is asked to: each sees anew.
Tensor Sam3Network::refine(Tape& tape, const Tensor& coarse, const ReaderCall& call,
                           Sam3Places& places) const {
    const ElementType type = coarse.type();
    const Tensor close = ghost::create(tape, "_to_copy", root_,
                                       {1, kColours, Sam3Vision::kSide, Sam3Vision::kSide}, type);
    Tensor mask = coarse;
    // Points and boxes are read by the first of them.
    const int looks = call.has_text ? call.refinements : std::max(1, call.refinements);
    for (int i = 0; i < looks; ++i) {
        const Tensor given = resize(tape, root_, mask, Sam3Vision::kSide, Sam3Vision::kSide);
        std::vector<Tensor> for_detector;
        const Sam3Vision::Maps maps = [&] {
            const Tensor seen = vision_.look(tape, close);
            // As before, the other way round.
            for_detector =
                vision_.make_maps(tape, Sam3Vision::Neck::Detector, seen, places).positions;
            return vision_.make_maps(tape, Sam3Vision::Neck::Interactive, seen, places);
        }();
        mask = tracker_.refine(tape, maps, given);
    }
    const Shape whole{1, 1, call.height, call.width};
    const Tensor back = resize(tape, root_, mask, call.height, call.width);  // at most as large
    const Tensor placed = ghost::create(tape, "zeros", root_, whole, type);
    const Tensor before = resize(tape, root_, coarse, call.height, call.width);
    return ghost::combine(tape, "_to_copy", root_, {&placed, &before}, whole, ElementType::Float32);
}

std::vector<Tensor> Sam3Network::read(Tape& tape, const ReaderCall& call) const {
    const ElementType type = element_type(call.compute);
    const std::int64_t height = call.height;
    const std::int64_t width = call.width;
    // Resized on the host.
    const Tensor image = tape.input({1, kColours, Sam3Vision::kSide, Sam3Vision::kSide}, type);
    std::vector<Tensor> made;  // masks of images before, which wait on the card
    if (call.batch > 1)
        made.push_back(
            tape.make({call.batch - 1, height, width}, ElementType::Float32, "_to_copy", root_));
    Sam3Places places;
    std::vector<Tensor> found;
    Tensor coarse;
    if (call.has_text) {
        // Python lets go of what was found in the image before when the next answer is there.
        if (call.batch > 1)
            found.push_back(
                tape.make({1, config_.queries, height, width}, type, "upsample_bilinear2d", root_));
        found = find(tape, image, call, places);
        // One thing is cut out unless the text asks for more.
        coarse = ghost::produce(tape, OpClass::Copy, "index", root_, found.back(),
                                {1, 1, height, width}, type);
    } else {
        coarse = ghost::create(tape, "full", root_, {1, 1, height, width}, type);
    }
    const Tensor mask = refine(tape, coarse, call, places);
    made.push_back(ghost::unary(tape, "_to_copy", root_, mask));
    for (Tensor& place : places) made.push_back(std::move(place));
    return made;
}

}  // namespace plimsoll::memory
