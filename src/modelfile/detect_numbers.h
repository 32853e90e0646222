// SPDX-License-Identifier: Apache-2.0
//
// NumberReader: reads a network's numbers from tensors that must be there, and keeps the first
// contradiction. Private to this folder.
#pragma once
#include "modelfile/detect_parts.h"
#include "modelfile/untrusted.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::modelfile {

class NumberReader {
  public:
    NumberReader(const TensorView& view, std::string_view network)
        : view_(&view), network_(network) {}

    // Length of an axis of a tensor of exactly `rank` axes; 0 with a fault where there is none.
    int length(std::string_view name, std::size_t at, std::size_t rank) {
        const int length = view_->axis(name, at, rank);
        if (length == 0) refuse(fmt::format("{} is missing or of another shape", name));
        return length;
    }
    // The same of a tensor that may be missing; 0 where it is.
    int length_if_any(std::string_view name, std::size_t at, std::size_t rank) {
        return view_->has(name) ? length(name, at, rank) : 0;
    }
    // Blocks that are numbered without a hole.
    int blocks(fmt::format_string<int&> pattern, std::string_view what) {
        const int blocks = view_->count(pattern);
        if (blocks == 0) refuse(fmt::format("it has no {}", what));
        return blocks;
    }
    // dividend / divisor, which must be whole and above 0.
    int quotient(int dividend, int divisor, std::string_view what) {
        if (divisor > 0 && dividend > 0 && dividend % divisor == 0) return dividend / divisor;
        refuse(fmt::format("{} of {} / {} is no whole number", what, dividend, divisor));
        return 0;
    }
    // The factor that makes `width` of `base`, so that the product rounded down is exact again.
    double ratio(int width, int base) {
        if (width <= 0 || base <= 0) return 0;
        double ratio = static_cast<double>(width) / base;
        while (static_cast<int>(ratio * base) < width)
            ratio = std::nextafter(ratio, std::numeric_limits<double>::infinity());
        return ratio;
    }
    void expect(bool holds, std::string_view why) {
        if (!holds) refuse(std::string(why));
    }

    // True where all numbers were there; else says what contradicts.
    [[nodiscard]] bool sound(Notes& notes) const {
        if (fault_.empty()) return true;
        notes.push_back(fmt::format("looks like {} below \"{}\", but contradicts itself: {}",
                                    network_, view_->prefix(), fault_));
        return false;
    }

  private:
    void refuse(std::string fault) {
        if (fault_.empty()) fault_ = std::move(fault);
    }

    const TensorView* view_;
    std::string network_;
    std::string fault_;
};

// Says that it is a relative of a network that is known, and answers nullopt.
inline std::nullopt_t not_modelled(Notes& notes, std::string_view network) {
    notes.push_back(fmt::format("looks like {}, which is not modelled yet", network));
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
