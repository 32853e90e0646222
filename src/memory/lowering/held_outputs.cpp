// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/held_outputs.h"

#include <algorithm>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kElement = 4;  // fp32

// Saturates far above any host's memory.
std::int64_t bytes_of(double elements) {
    constexpr double kBytesMax = 1e15;
    return static_cast<std::int64_t>(std::clamp(elements * kElement, 0.0, kBytesMax));
}

struct Held {
    // Of an image's outputs the first has colours; what follows is its mask.
    int channels = 3;

    std::int64_t operator()(const LatentShape& l) const {
        return bytes_of(1.0 * l.batch * l.channels * l.frames * l.height * l.width);
    }
    std::int64_t operator()(const ImageShape& i) const {
        return bytes_of(1.0 * i.batch * i.height * i.width * channels);
    }
    std::int64_t operator()(const SoundShape& s) const {
        constexpr double kSamples = 44'100 * 2;  // a second of two channels
        return bytes_of(s.seconds * kSamples);
    }
    // Models are counted where they lie; a video is a file until its frames are taken.
    template <class Other>
    std::int64_t operator()(const Other&) const {
        return 0;
    }
};

}  // namespace

Bytes held_bytes(const workflow::NodeKind& kind, const Values& values) {
    using enum workflow::NodeVerb;
    using OutputKind = workflow::NodeOutput::Kind;
    Bytes held;
    for (std::size_t slot = 0; slot < values.size(); ++slot) {
        if (slot < kind.outputs.size()) {
            const OutputKind made = kind.outputs[slot].kind;
            if (made == OutputKind::Input || made == OutputKind::Choice) continue;
        }
        const bool mask = kind.verb == LoadMedia && slot > 0;
        held += Bytes(std::visit(Held{mask ? 1 : 3}, values[slot].what));
    }
    return held;
}

}  // namespace plimsoll::memory
