// SPDX-License-Identifier: Apache-2.0
#include "simulator/picture/pixels.h"

#include "base/check.h"

#include <fmt/format.h>
#include <png.h>
// libjpeg's header needs <cstdio> before it.
#include <cstdio>
// clang-format off
#include <jpeglib.h>
// clang-format on
#include <webp/decode.h>
#include <webp/encode.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdlib>

namespace plimsoll::simulator {

namespace {

constexpr std::uint64_t kPixelsMax = 64'000'000;  // chosen: an 8000 x 8000 upload

std::unexpected<Error> too_large(std::uint64_t width, std::uint64_t height) {
    return fail(Errc::LimitExceeded, fmt::format("a picture of {} x {} pixels, limit {} pixels",
                                                 width, height, kPixelsMax));
}

Pixels split_rgba(const std::vector<std::uint8_t>& rgba, int width, int height) {
    Pixels pixels = make_pixels(width, height);
    pixels.alpha.resize(pixels.count());
    bool opaque = true;
    for (std::size_t i = 0; i < pixels.count(); ++i) {
        std::copy_n(&rgba[i * 4], 3, &pixels.rgb[i * 3]);
        pixels.alpha[i] = rgba[i * 4 + 3];
        opaque = opaque && pixels.alpha[i] == 255;
    }
    if (opaque) pixels.alpha.clear();
    return pixels;
}

Result<Pixels> decode_png(std::string_view bytes) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0)
        return fail(Errc::Corrupt, fmt::format("no readable PNG: {}", &image.message[0]));
    if (std::uint64_t{image.width} * image.height > kPixelsMax) {
        png_image_free(&image);
        return too_large(image.width, image.height);
    }
    image.format = PNG_FORMAT_RGBA;
    std::vector<std::uint8_t> rgba(PNG_IMAGE_SIZE(image));
    if (png_image_finish_read(&image, nullptr, rgba.data(), 0, nullptr) == 0)
        return fail(Errc::Corrupt, fmt::format("no readable PNG: {}", &image.message[0]));
    return split_rgba(rgba, static_cast<int>(image.width), static_cast<int>(image.height));
}

// libjpeg ends a process on errors unless its handler jumps away.
struct JpegErrors {
    jpeg_error_mgr manager{};
    std::jmp_buf jump{};
};
void leave(j_common_ptr info) {
    std::longjmp(reinterpret_cast<JpegErrors*>(info->err)->jump, 1);  // NOLINT
}
void stay_silent(j_common_ptr) {}

// Nothing with a destructor lives in here: longjmp crosses this frame.
bool read_jpeg(jpeg_decompress_struct& info, JpegErrors& errors, std::string_view bytes,
               Pixels& into) {
    if (setjmp(errors.jump) != 0) return false;  // NOLINT
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&info, TRUE);
    if (std::uint64_t{info.image_width} * info.image_height > kPixelsMax) return false;
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    into.width = static_cast<int>(info.output_width);
    into.height = static_cast<int>(info.output_height);
    into.rgb.resize(into.count() * 3);
    while (info.output_scanline < info.output_height) {
        unsigned char* row = &into.rgb[std::size_t{info.output_scanline} * info.output_width * 3];
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return true;
}

Result<Pixels> decode_jpeg(std::string_view bytes) {
    jpeg_decompress_struct info{};
    JpegErrors errors;
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = leave;
    errors.manager.output_message = stay_silent;
    Pixels pixels;
    const bool read = read_jpeg(info, errors, bytes, pixels);
    jpeg_destroy_decompress(&info);
    if (!read) return fail(Errc::Corrupt, "no readable JPEG, or one too large");
    return pixels;
}

Result<Pixels> decode_webp(std::string_view bytes) {
    const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    int width = 0;
    int height = 0;
    if (WebPGetInfo(data, bytes.size(), &width, &height) == 0)
        return fail(Errc::Corrupt, "no readable WebP");
    const std::uint64_t count = static_cast<std::uint64_t>(width) * static_cast<unsigned>(height);
    if (count > kPixelsMax)
        return too_large(static_cast<unsigned>(width), static_cast<unsigned>(height));
    std::vector<std::uint8_t> rgba(count * 4);
    if (WebPDecodeRGBAInto(data, bytes.size(), rgba.data(), rgba.size(), width * 4) == nullptr)
        return fail(Errc::Corrupt, "no readable WebP");
    return split_rgba(rgba, width, height);
}

// libpng leaves through here only when memory ends or we broke its contract.
[[noreturn]] void refuse_png(png_structp, png_const_charp) {
    check_failed("libpng writes", __FILE__, __LINE__);
}
void ignore_png(png_structp, png_const_charp) {}
void append_png(png_structp png, png_bytep data, png_size_t size) {
    static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<char*>(data), size);
}
void flush_png(png_structp) {}

}  // namespace

Pixels make_pixels(int width, int height) {
    Pixels pixels{.width = width, .height = height, .rgb = {}, .alpha = {}};
    pixels.rgb.resize(pixels.count() * 3);
    return pixels;
}

std::string encode_png(const Pixels& pixels, const PngTexts& texts, int compression) {
    std::string file;
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, refuse_png, ignore_png);
    CHECK(png != nullptr);
    png_infop info = png_create_info_struct(png);
    CHECK(info != nullptr);
    png_set_write_fn(png, &file, append_png, flush_png);
    png_set_compression_level(png, compression);
    // One cheap filter and run lengths: a 1024 x 1024 picture takes 30 ms instead of the 200 that
    // matching strings costs, for a fifth more bytes (measured).
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
    png_set_compression_strategy(png, Z_RLE);
    png_set_text_compression_level(png, 0);
    const bool alpha = !pixels.alpha.empty();
    png_set_IHDR(png, info, static_cast<png_uint_32>(pixels.width),
                 static_cast<png_uint_32>(pixels.height), 8,
                 alpha ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    std::vector<png_text> chunks;
    for (const auto& [keyword, text] : texts) {
        png_text chunk{};
        chunk.compression = PNG_TEXT_COMPRESSION_NONE;
        chunk.key = const_cast<char*>(keyword.c_str());  // libpng does not write there
        chunk.text = const_cast<char*>(text.c_str());
        chunk.text_length = text.size();
        chunks.push_back(chunk);
    }
    if (!chunks.empty()) png_set_text(png, info, chunks.data(), static_cast<int>(chunks.size()));
    png_write_info(png, info);
    std::vector<std::uint8_t> row;
    const auto width = static_cast<std::size_t>(pixels.width);
    for (std::size_t y = 0; y < static_cast<std::size_t>(pixels.height); ++y) {
        if (!alpha) {
            png_write_row(png, &pixels.rgb[y * width * 3]);
            continue;
        }
        row.clear();
        for (std::size_t x = 0; x < width; ++x) {
            const std::size_t i = y * width + x;
            row.insert(row.end(), {pixels.rgb[i * 3], pixels.rgb[i * 3 + 1], pixels.rgb[i * 3 + 2],
                                   pixels.alpha[i]});
        }
        png_write_row(png, row.data());
    }
    png_write_end(png, nullptr);
    png_destroy_write_struct(&png, &info);
    return file;
}

std::string encode_jpeg(const Pixels& pixels, int quality) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* buffer = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &buffer, &size);
    info.image_width = static_cast<JDIMENSION>(pixels.width);
    info.image_height = static_cast<JDIMENSION>(pixels.height);
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        auto* row = const_cast<unsigned char*>(
            &pixels.rgb[std::size_t{info.next_scanline} * info.image_width * 3]);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    std::string file(reinterpret_cast<char*>(buffer), size);
    jpeg_destroy_compress(&info);
    std::free(buffer);  // NOLINT: libjpeg took it with malloc
    return file;
}

std::string encode_webp(const Pixels& pixels, int quality) {
    std::uint8_t* buffer = nullptr;
    std::size_t size = 0;
    if (pixels.alpha.empty()) {
        size = WebPEncodeRGB(pixels.rgb.data(), pixels.width, pixels.height, pixels.width * 3,
                             static_cast<float>(quality), &buffer);
    } else {
        std::vector<std::uint8_t> rgba(pixels.count() * 4);
        for (std::size_t i = 0; i < pixels.count(); ++i) {
            std::copy_n(&pixels.rgb[i * 3], 3, &rgba[i * 4]);
            rgba[i * 4 + 3] = pixels.alpha[i];
        }
        size = WebPEncodeRGBA(rgba.data(), pixels.width, pixels.height, pixels.width * 4,
                              static_cast<float>(quality), &buffer);
    }
    std::string file(reinterpret_cast<char*>(buffer), size);
    WebPFree(buffer);
    return file;
}

Result<Pixels> decode_picture(std::string_view bytes) {
    if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes);
    if (bytes.starts_with("\xFF\xD8\xFF")) return decode_jpeg(bytes);
    if (bytes.starts_with("RIFF") && bytes.substr(0, 16).contains("WEBP"))
        return decode_webp(bytes);
    return fail(Errc::Corrupt, "neither PNG, JPEG nor WebP");
}

Pixels resize(const Pixels& pixels, int width, int height, Resampling method) {
    if (pixels.width == width && pixels.height == height) return pixels;
    Pixels result = make_pixels(width, height);
    if (!pixels.alpha.empty()) result.alpha.resize(result.count());
    const double scale_x = static_cast<double>(pixels.width) / width;
    const double scale_y = static_cast<double>(pixels.height) / height;
    const auto at = [&](int x, int y) {
        return static_cast<std::size_t>(std::clamp(y, 0, pixels.height - 1)) *
                   static_cast<std::size_t>(pixels.width) +
               static_cast<std::size_t>(std::clamp(x, 0, pixels.width - 1));
    };
    for (int y = 0; y < height; ++y) {
        const double source_y = (y + 0.5) * scale_y - 0.5;
        const int y0 = static_cast<int>(std::floor(source_y));
        const double part_y = method == Resampling::Nearest ? 0 : source_y - y0;
        for (int x = 0; x < width; ++x) {
            const double source_x = (x + 0.5) * scale_x - 0.5;
            const int x0 = static_cast<int>(std::floor(source_x));
            const double part_x = method == Resampling::Nearest ? 0 : source_x - x0;
            const std::size_t to = static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                                   static_cast<std::size_t>(x);
            if (method == Resampling::Nearest) {
                const std::size_t from = at(static_cast<int>((x + 0.5) * scale_x),
                                            static_cast<int>((y + 0.5) * scale_y));
                std::copy_n(&pixels.rgb[from * 3], 3, &result.rgb[to * 3]);
                if (!result.alpha.empty()) result.alpha[to] = pixels.alpha[from];
                continue;
            }
            const std::array<std::size_t, 4> corners{at(x0, y0), at(x0 + 1, y0), at(x0, y0 + 1),
                                                     at(x0 + 1, y0 + 1)};
            const std::array<double, 4> weights{(1 - part_x) * (1 - part_y), part_x * (1 - part_y),
                                                (1 - part_x) * part_y, part_x * part_y};
            for (std::size_t c = 0; c < 3; ++c) {
                double sum = 0.5;
                for (std::size_t k = 0; k < 4; ++k)
                    sum += weights.at(k) * pixels.rgb[corners.at(k) * 3 + c];
                result.rgb[to * 3 + c] = static_cast<std::uint8_t>(sum);
            }
            if (!result.alpha.empty()) result.alpha[to] = pixels.alpha[corners[0]];
        }
    }
    return result;
}

Pixels crop_to_shape(const Pixels& pixels, int width, int height) {
    const double wanted = static_cast<double>(width) / height;
    int part_width = pixels.width;
    int part_height = pixels.height;
    if (static_cast<double>(part_width) / part_height > wanted)
        part_width = std::max(1, static_cast<int>(std::lround(part_height * wanted)));
    else
        part_height = std::max(1, static_cast<int>(std::lround(part_width / wanted)));
    Pixels result = make_pixels(part_width, part_height);
    const int left = (pixels.width - part_width) / 2;
    const int top = (pixels.height - part_height) / 2;
    for (int y = 0; y < part_height; ++y)
        std::copy_n(
            &pixels
                 .rgb[(static_cast<std::size_t>(top + y) * static_cast<std::size_t>(pixels.width) +
                       static_cast<std::size_t>(left)) *
                      3],
            static_cast<std::size_t>(part_width) * 3,
            &result.rgb[static_cast<std::size_t>(y) * static_cast<std::size_t>(part_width) * 3]);
    return result;
}

}  // namespace plimsoll::simulator
