// SPDX-License-Identifier: Apache-2.0
//
// Files of every kind that the reader must know, made by the formats' own libraries. For tests.
#pragma once
#include <lcms2.h>
#include <png.h>
#include <webp/encode.h>
// libjpeg's header names FILE and size_t and includes neither.
// clang-format off
#include <stdio.h>
#include <jpeglib.h>
// clang-format on

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::quality::test {

inline std::span<const std::byte> bytes_of(const std::string& file) {
    return std::as_bytes(std::span(file));
}

struct MadePng {
    int width = 0;
    int height = 0;
    int bits = 8;
    int colour_type = PNG_COLOR_TYPE_RGB;
    bool is_interlaced = false;
    // NOLINTBEGIN(readability-redundant-member-init): lets designated initialisers leave them out
    std::string profile = {};  // ICC
    double gamma = 0;
    std::vector<png_color> palette = {};
    // NOLINTEND(readability-redundant-member-init)
    std::vector<std::uint8_t> rows;  // as PNG has them: 16 bits the high byte first
};

inline std::string write_png(const MadePng& made) {
    std::string file;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &file,
        [](png_structp from, png_bytep data, png_size_t size) {
            static_cast<std::string*>(png_get_io_ptr(from))
                ->append(reinterpret_cast<char*>(data), size);
        },
        [](png_structp) {});
    png_set_IHDR(png, info, static_cast<png_uint_32>(made.width),
                 static_cast<png_uint_32>(made.height), made.bits, made.colour_type,
                 made.is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!made.profile.empty())
        png_set_iCCP(png, info, "made", PNG_COMPRESSION_TYPE_BASE,
                     reinterpret_cast<png_const_bytep>(made.profile.data()),
                     static_cast<png_uint_32>(made.profile.size()));
    if (made.gamma > 0) png_set_gAMA(png, info, made.gamma);
    if (!made.palette.empty())
        png_set_PLTE(png, info, made.palette.data(), static_cast<int>(made.palette.size()));
    png_write_info(png, info);
    const std::size_t row_bytes = png_get_rowbytes(png, info);
    std::vector<png_bytep> rows;
    rows.reserve(static_cast<std::size_t>(made.height));
    for (int y = 0; y < made.height; ++y)
        rows.push_back(const_cast<png_bytep>(&made.rows[static_cast<std::size_t>(y) * row_bytes]));
    png_write_image(png, rows.data());
    png_write_end(png, nullptr);
    png_destroy_write_struct(&png, &info);
    return file;
}

// Exif goes into an APP1 marker, whole.
inline std::string write_jpeg(std::span<const std::uint8_t> samples, int width, int height,
                              J_COLOR_SPACE space, const std::string& profile = {},
                              const std::string& exif = {}, bool is_progressive = false) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* buffer = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &buffer, &size);
    info.image_width = static_cast<JDIMENSION>(width);
    info.image_height = static_cast<JDIMENSION>(height);
    info.input_components = space == JCS_GRAYSCALE ? 1 : space == JCS_CMYK ? 4 : 3;
    info.in_color_space = space;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 95, TRUE);
    if (is_progressive) jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    if (!exif.empty())
        jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                          static_cast<unsigned>(exif.size()));
    if (!profile.empty())
        jpeg_write_icc_profile(&info, reinterpret_cast<const JOCTET*>(profile.data()),
                               static_cast<unsigned>(profile.size()));
    while (info.next_scanline < info.image_height) {
        auto* row = const_cast<unsigned char*>(
            &samples[static_cast<std::size_t>(info.next_scanline) * info.image_width *
                     static_cast<std::size_t>(info.input_components)]);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    std::string file(reinterpret_cast<char*>(buffer), size);
    jpeg_destroy_compress(&info);
    std::free(buffer);  // NOLINT: libjpeg took it with malloc
    return file;
}

inline std::string write_webp(std::span<const std::uint8_t> rgba, int width, int height) {
    std::uint8_t* buffer = nullptr;
    const std::size_t size = WebPEncodeLosslessRGBA(rgba.data(), width, height, width * 4, &buffer);
    std::string file(reinterpret_cast<char*>(buffer), size);
    WebPFree(buffer);
    return file;
}

// An RGB profile with sRGB's primaries and a plain gamma: 1.0 makes every tone brighter in sRGB.
inline std::string make_profile(double gamma) {
    cmsToneCurve* curve = cmsBuildGamma(nullptr, gamma);
    const cmsCIExyY white{0.3127, 0.3290, 1};
    const cmsCIExyYTRIPLE primaries{{0.64, 0.33, 1}, {0.30, 0.60, 1}, {0.15, 0.06, 1}};
    cmsToneCurve* curves[3] = {curve, curve, curve};
    cmsHPROFILE profile = cmsCreateRGBProfile(&white, &primaries, curves);
    cmsUInt32Number size = 0;
    cmsSaveProfileToMem(profile, nullptr, &size);
    std::string bytes(size, '\0');
    cmsSaveProfileToMem(profile, bytes.data(), &size);
    cmsCloseProfile(profile);
    cmsFreeToneCurve(curve);
    return bytes;
}

inline std::string make_srgb_profile() {
    cmsHPROFILE profile = cmsCreate_sRGBProfile();
    cmsUInt32Number size = 0;
    cmsSaveProfileToMem(profile, nullptr, &size);
    std::string bytes(size, '\0');
    cmsSaveProfileToMem(profile, bytes.data(), &size);
    cmsCloseProfile(profile);
    return bytes;
}

}  // namespace plimsoll::quality::test
