// SPDX-License-Identifier: Apache-2.0
#include "quality/encode_jpeg.h"

#include "base/check.h"

// libjpeg's header names FILE and size_t and includes neither.
// clang-format off
#include <stdio.h>
#include <jpeglib.h>
// clang-format on

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace plimsoll::quality {

namespace {

// Nothing is read from outside: it fails only without memory.
[[noreturn]] void leave(j_common_ptr) {
    CHECK(false);
    std::abort();
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality) {
    CHECK(image.count() > 0 && image.width <= 65'500 && image.height <= 65'500);
    CHECK(quality >= 1 && quality <= 100);
    jpeg_compress_struct jpeg{};
    jpeg_error_mgr errors{};
    jpeg.err = jpeg_std_error(&errors);
    errors.error_exit = leave;
    jpeg_create_compress(&jpeg);
    unsigned char* bytes = nullptr;
    unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's
    jpeg_mem_dest(&jpeg, &bytes, &size);
    jpeg.image_width = static_cast<JDIMENSION>(image.width);
    jpeg.image_height = static_cast<JDIMENSION>(image.height);
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    std::vector<std::uint8_t> line(static_cast<std::size_t>(image.width) * 3);
    for (int y = 0; y < image.height; ++y) {
        for (int c = 0; c < 3; ++c) {
            const auto row = image.row(c, y);
            for (std::size_t x = 0; x < row.size(); ++x)
                line[x * 3 + static_cast<std::size_t>(c)] =
                    static_cast<std::uint8_t>((row[x] + kSamplesPerLevel / 2) / kSamplesPerLevel);
        }
        JSAMPROW rows = line.data();
        jpeg_write_scanlines(&jpeg, &rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    std::string out(reinterpret_cast<const char*>(bytes), size);
    std::free(bytes);  // NOLINT: libjpeg takes it by malloc
    return out;
}

}  // namespace plimsoll::quality
