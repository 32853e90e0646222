// SPDX-License-Identifier: Apache-2.0
// A picture from any bytes: PNG, JPEG or WebP, with colour profile, transparency and orientation.
#include "base/check.h"
#include "quality/decode/decode.h"

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kPixelsMax = 1 << 18;
    const auto decoded = plimsoll::quality::decode_image(
        std::as_bytes(std::span(data, size)), {.pixels_max = kPixelsMax, .side_max = 4096});
    if (!decoded) {
        CHECK(!decoded.error().message.empty());
        return 0;
    }
    const plimsoll::quality::Image& image = decoded->image;
    CHECK(image.count() > 0 && image.count() <= kPixelsMax);
    for (const auto& channel : image.channels) CHECK(channel.size() == image.count());
    CHECK(decoded->transparent_share >= 0 && decoded->transparent_share <= 1);
    return 0;
}
