// SPDX-License-Identifier: Apache-2.0
//
// Pictures in memory and the file formats in which ComfyUI sends them. Decoders take untrusted
// bytes.
//
// Threads: no shared state.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::simulator {

// 8 bits a channel, rows from the top. `alpha` is empty or has one byte a pixel.
struct Pixels {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;
    std::vector<std::uint8_t> alpha;

    [[nodiscard]] std::size_t count() const {
        return static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    }
};
[[nodiscard]] Pixels make_pixels(int width, int height);

// Keyword and text of tEXt chunks, written before the image data in this order.
using PngTexts = std::vector<std::pair<std::string, std::string>>;
// `compression`: zlib's level; ComfyUI saves with 4 and makes previews with 1.
[[nodiscard]] std::string encode_png(const Pixels& pixels, const PngTexts& texts, int compression);
// Alpha is dropped. `quality` 1 to 100.
[[nodiscard]] std::string encode_jpeg(const Pixels& pixels, int quality);
[[nodiscard]] std::string encode_webp(const Pixels& pixels, int quality);

// PNG, JPEG or WebP. Corrupt for anything else, LimitExceeded above 64 million pixels.
[[nodiscard]] Result<Pixels> decode_picture(std::string_view bytes);

enum class Resampling { Nearest, Bilinear };
[[nodiscard]] Pixels resize(const Pixels& pixels, int width, int height, Resampling method);
// The largest centred part with the same shape as width x height.
[[nodiscard]] Pixels crop_to_shape(const Pixels& pixels, int width, int height);

}  // namespace plimsoll::simulator
