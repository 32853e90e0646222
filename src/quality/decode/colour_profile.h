// SPDX-License-Identifier: Apache-2.0
//
// From the colours that a file means to sRGB: its ICC profile, or PNG's gamma and primaries,
// through Little CMS.
#pragma once
#include "base/error.h"
#include "quality/decode/raster.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace plimsoll::quality {

class ColourTransform {
  public:
    // None (a null pointer) when the file's colours are sRGB: without a profile, or with one that
    // changes no sample by half a level. Corrupt when the profile cannot be read or is for another
    // kind of colours; the message is a note, since such a picture is shown as sRGB everywhere.
    [[nodiscard]] static Result<std::unique_ptr<ColourTransform>> create(const Raster& raster);
    virtual ~ColourTransform() = default;

    // Pixels of `colours()` samples of 16 bits, to red, green and blue of 16 bits.
    virtual void convert(std::span<const std::uint16_t> from, std::span<std::uint16_t> into,
                         std::size_t pixels) const = 0;
    [[nodiscard]] virtual const std::string& name() const = 0;
};

}  // namespace plimsoll::quality
