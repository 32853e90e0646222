// SPDX-License-Identifier: Apache-2.0
//
// A picture from the bytes of a PNG, JPEG or WebP file. What a file may hold is taken into account,
// not assumed: 1 to 16 bits, palettes, grey, CMYK, transparency, a colour profile, a camera's
// orientation. The bytes are untrusted: sizes are checked before memory is taken.
//
// Enters through: bytes.   Leaves through: Decoded.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "quality/image.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality {

enum class FileFormat : std::uint8_t { Png, Jpeg, Webp };
[[nodiscard]] std::string_view name_of(FileFormat format);  // "PNG"...

// By the first bytes, whatever the file is called. InvalidInput names what it begins with.
[[nodiscard]] Result<FileFormat> detect_format(std::span<const std::byte> bytes);

struct DecodeLimits {
    // 7680 x 4320 and a 6 k square: 6 bytes a pixel are kept, up to 14 are held while decoding.
    std::uint64_t pixels_max = 40'000'000;
    int side_max = 65'535;  // JPEG's own
};

struct Decoded {
    Image image;  // sRGB
    FileFormat format = FileFormat::Png;
    int bits = 8;                  // a sample, in the file
    bool is_grey = false;          // all three channels are one
    double transparent_share = 0;  // pixels that were not wholly opaque
    std::string profile;           // that it was converted from, empty when it is in sRGB
    std::vector<std::string>
        notes;  // what was done to it, in words: "turned as its orientation says"
};

// Transparent pixels are laid over middle grey (128): neither end of the range, which would count
// as clipped, nor a colour.
inline constexpr int kBackdropLevel = 128;

// InvalidInput: not one of the three formats, or a kind of picture that has no one image (animated,
// CMYK without a profile). Corrupt: damaged or cut off; nothing is made up for what is missing.
// LimitExceeded: more pixels than the limits allow.
[[nodiscard]] Result<Decoded> decode_image(std::span<const std::byte> bytes,
                                           const DecodeLimits& limits = {});

}  // namespace plimsoll::quality
