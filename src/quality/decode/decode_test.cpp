// SPDX-License-Identifier: Apache-2.0
//
// Goal: a file of any kind becomes the picture that it means, and a bad one an error that says why.
// Method: files made by the formats' own libraries with known samples, then damaged.
#include "quality/decode/decode.h"

#include "quality/decode/made_files.h"
#include "quality/decode/raster.h"
#include "quality/encode_png.h"
#include "quality/test_pictures.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

namespace plimsoll::quality {
namespace {

using test::bytes_of;

Decoded decoded_of(const std::string& file) {
    Result<Decoded> decoded = decode_image(bytes_of(file));
    EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
    return decoded ? *decoded : Decoded{};
}

Error error_of(const std::string& file, const DecodeLimits& limits = {}) {
    const Result<Decoded> decoded = decode_image(bytes_of(file), limits);
    EXPECT_FALSE(decoded);
    return decoded ? Error{} : decoded.error();
}

std::array<double, 3> pixel(const Image& image, int x, int y) {
    std::array<double, 3> out{};
    for (int c = 0; c < 3; ++c)
        out.at(static_cast<std::size_t>(c)) =
            image.row(c, y)[static_cast<std::size_t>(x)] / double{kSamplesPerLevel};
    return out;
}

TEST(DecodePng, gives_back_what_was_encoded) {
    const Image image = test::picture_a(64).image();
    const Decoded decoded = decoded_of(encode_png(image));
    EXPECT_EQ(decoded.image, image);
    EXPECT_EQ(decoded.format, FileFormat::Png);
    EXPECT_EQ(decoded.bits, 8);
    EXPECT_TRUE(decoded.notes.empty());
}

TEST(DecodePng, keeps_16_bits) {
    const std::string file = test::write_png(
        {.width = 1, .height = 1, .bits = 16, .rows = {0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC}});
    const Decoded decoded = decoded_of(file);
    EXPECT_EQ(decoded.bits, 16);
    EXPECT_EQ(decoded.image.channels[0][0], 0x1234);
    EXPECT_EQ(decoded.image.channels[1][0], 0x5678);
    EXPECT_EQ(decoded.image.channels[2][0], 0x9ABC);
}

TEST(DecodePng, spreads_grey_of_any_depth) {
    const Decoded one_bit = decoded_of(test::write_png(
        {.width = 2, .height = 1, .bits = 1, .colour_type = PNG_COLOR_TYPE_GRAY, .rows = {0x40}}));
    EXPECT_TRUE(one_bit.is_grey);
    EXPECT_EQ(pixel(one_bit.image, 0, 0), (std::array{0.0, 0.0, 0.0}));
    EXPECT_EQ(pixel(one_bit.image, 1, 0), (std::array{255.0, 255.0, 255.0}));
    const Decoded wide = decoded_of(test::write_png({.width = 1,
                                                     .height = 1,
                                                     .bits = 16,
                                                     .colour_type = PNG_COLOR_TYPE_GRAY,
                                                     .rows = {0x80, 0x01}}));
    EXPECT_EQ(wide.image.channels[2][0], 0x8001);
}

TEST(DecodePng, looks_up_a_palette) {
    const Decoded decoded = decoded_of(test::write_png({.width = 2,
                                                        .height = 1,
                                                        .bits = 4,
                                                        .colour_type = PNG_COLOR_TYPE_PALETTE,
                                                        .palette = {{1, 2, 3}, {200, 100, 50}},
                                                        .rows = {0x10}}));
    EXPECT_EQ(pixel(decoded.image, 0, 0), (std::array{200.0, 100.0, 50.0}));
    EXPECT_EQ(pixel(decoded.image, 1, 0), (std::array{1.0, 2.0, 3.0}));
}

TEST(DecodePng, lays_transparent_pixels_over_middle_grey) {
    const Decoded decoded = decoded_of(
        test::write_png({.width = 4,
                         .height = 1,
                         .colour_type = PNG_COLOR_TYPE_RGB_ALPHA,
                         .rows = {255, 0, 9, 0, 255, 0, 9, 255, 228, 28, 128, 51, 1, 2, 3, 255}}));
    EXPECT_EQ(pixel(decoded.image, 0, 0), (std::array{128.0, 128.0, 128.0}));
    EXPECT_EQ(pixel(decoded.image, 1, 0), (std::array{255.0, 0.0, 9.0}));
    // 51 of 255 is a fifth: 128 + (228 - 128)/5.
    EXPECT_NEAR(pixel(decoded.image, 2, 0)[0], 148, 0.01);
    EXPECT_NEAR(pixel(decoded.image, 2, 0)[1], 108, 0.01);
    EXPECT_EQ(decoded.transparent_share, 0.5);
    EXPECT_EQ(decoded.notes,
              (std::vector<std::string>{"transparent pixels are laid over middle grey"}));
}

TEST(DecodePng, reads_interlaced_rows) {
    const test::Levels levels = test::picture_a(37);
    std::vector<std::uint8_t> rows(levels.rgb.begin(), levels.rgb.end());
    const std::string file =
        test::write_png({.width = 37, .height = 37, .is_interlaced = true, .rows = rows});
    EXPECT_EQ(decoded_of(file).image, levels.image());
}

TEST(DecodePng, converts_from_its_profile) {
    const std::string file = test::write_png(
        {.width = 1, .height = 1, .profile = test::make_profile(1.0), .rows = {128, 64, 0}});
    const Decoded decoded = decoded_of(file);
    // Linear light through sRGB's curve.
    const auto srgb = [](double v) { return 255 * (1.055 * std::pow(v, 1 / 2.4) - 0.055); };
    EXPECT_NEAR(pixel(decoded.image, 0, 0)[0], srgb(128 / 255.0), 0.5);
    EXPECT_NEAR(pixel(decoded.image, 0, 0)[1], srgb(64 / 255.0), 0.5);
    EXPECT_FALSE(decoded.profile.empty());
}

TEST(DecodePng, leaves_srgb_as_it_is_whether_or_not_it_says_so) {
    const test::Levels levels = test::picture_a(16);
    const std::vector<std::uint8_t> rows(levels.rgb.begin(), levels.rgb.end());
    const std::string with_profile = test::write_png(
        {.width = 16, .height = 16, .profile = test::make_srgb_profile(), .rows = rows});
    const std::string with_gamma =
        test::write_png({.width = 16, .height = 16, .gamma = 0.45455, .rows = rows});
    EXPECT_EQ(decoded_of(with_profile).image, levels.image());
    EXPECT_EQ(decoded_of(with_gamma).image, levels.image());
    EXPECT_TRUE(decoded_of(with_profile).notes.empty());
}

TEST(DecodePng, heeds_a_gamma_without_a_profile) {
    const Decoded decoded = decoded_of(
        test::write_png({.width = 1, .height = 1, .gamma = 1.0, .rows = {128, 128, 128}}));
    EXPECT_NEAR(pixel(decoded.image, 0, 0)[0], 188, 0.6);  // half of the light in sRGB
}

TEST(DecodeImage, says_that_a_profile_is_for_other_colours) {
    const std::string file = test::write_jpeg(std::vector<std::uint8_t>(64, 90), 8, 8,
                                              JCS_GRAYSCALE, test::make_profile(1.0));
    const Decoded decoded = decoded_of(file);
    ASSERT_EQ(decoded.notes.size(), 1U);
    EXPECT_TRUE(decoded.notes[0].ends_with("is for another kind of colours, it is taken as sRGB"));
    EXPECT_NEAR(pixel(decoded.image, 3, 3)[0], 90, 1);
}

TEST(DecodeJpeg, gives_nearly_what_was_encoded) {
    const test::Levels levels = test::blurred(test::scene(64, 2), 2);
    const std::vector<std::uint8_t> rgb(levels.rgb.begin(), levels.rgb.end());
    for (const bool is_progressive : {false, true}) {
        const Decoded decoded =
            decoded_of(test::write_jpeg(rgb, 64, 64, JCS_RGB, {}, {}, is_progressive));
        EXPECT_EQ(decoded.format, FileFormat::Jpeg);
        double squares = 0;
        const Image wanted = levels.image();
        for (std::size_t c = 0; c < 3; ++c)
            for (std::size_t i = 0; i < wanted.count(); ++i) {
                const double off =
                    (1.0 * decoded.image.channels.at(c)[i] - wanted.channels.at(c)[i]) /
                    kSamplesPerLevel;
                squares += off * off;
            }
        EXPECT_LT(std::sqrt(squares / (3.0 * 64 * 64)), 4);
    }
}

TEST(DecodeJpeg, refuses_inks_that_nothing_describes) {
    const Error error =
        error_of(test::write_jpeg(std::vector<std::uint8_t>(256, 90), 8, 8, JCS_CMYK));
    EXPECT_EQ(error.code, Errc::InvalidInput);
    EXPECT_TRUE(error.message.starts_with("a CMYK picture without a usable colour profile"));
}

TEST(DecodeJpeg, turns_the_picture_as_its_orientation_says) {
    // Left half dark, right half bright; turned by 90 degrees clockwise the upper half is dark.
    std::vector<std::uint8_t> grey(32 * 16);
    for (std::size_t i = 0; i < grey.size(); ++i) grey[i] = i % 32 < 16 ? 20 : 230;
    const auto exif = [](char orientation) {
        return std::string("Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 25) +
               std::string(1, orientation) + std::string("\0\0\0\0\0\0", 6);
    };
    const auto turned = [&](char orientation) {
        return decoded_of(test::write_jpeg(grey, 32, 16, JCS_GRAYSCALE, {}, exif(orientation)))
            .image;
    };
    EXPECT_LT(pixel(turned(1), 2, 2)[0], 60);
    EXPECT_GT(pixel(turned(2), 2, 2)[0], 200);
    EXPECT_GT(pixel(turned(3), 2, 2)[0], 200);
    EXPECT_LT(pixel(turned(4), 2, 2)[0], 60);
    const Image clockwise = turned(6);
    EXPECT_EQ(clockwise.width, 16);
    EXPECT_EQ(clockwise.height, 32);
    EXPECT_LT(pixel(clockwise, 2, 2)[0], 60);
    EXPECT_GT(pixel(clockwise, 2, 29)[0], 200);
    EXPECT_GT(pixel(turned(8), 2, 2)[0], 200);
    EXPECT_LT(pixel(turned(5), 2, 2)[0], 60);
    EXPECT_GT(pixel(turned(7), 2, 2)[0], 200);
    EXPECT_EQ(turned(9).width, 32);  // no orientation: as it lies
}

TEST(DecodeWebp, gives_back_what_was_encoded) {
    const test::Levels levels = test::picture_a(32);
    std::vector<std::uint8_t> rgba;
    for (std::size_t i = 0; i < levels.rgb.size(); i += 3)
        for (std::size_t c = 0; c < 4; ++c)
            rgba.push_back(c < 3 ? static_cast<std::uint8_t>(levels.rgb[i + c]) : 255);
    EXPECT_EQ(decoded_of(test::write_webp(rgba, 32, 32)).image, levels.image());
    for (std::size_t i = 3; i < rgba.size(); i += 4) rgba[i] = 0;
    EXPECT_EQ(decoded_of(test::write_webp(rgba, 32, 32)).transparent_share, 1);
}

TEST(DecodeImage, names_what_is_no_picture) {
    EXPECT_EQ(error_of("").message, "the file is empty");
    EXPECT_EQ(error_of("GIF89a.....").message,
              "neither PNG, JPEG nor WebP: the file begins with 'GIF89a..'");
    EXPECT_EQ(error_of(std::string("\0\1\2", 3)).message,
              "neither PNG, JPEG nor WebP: the file begins with 00 01 02");
    EXPECT_EQ(error_of("GIF89a").code, Errc::InvalidInput);
}

TEST(DecodeImage, knows_a_file_by_its_bytes_and_takes_one_pixel) {
    const Decoded decoded =
        decoded_of(test::write_png({.width = 1, .height = 1, .rows = {7, 8, 9}}));
    EXPECT_EQ(pixel(decoded.image, 0, 0), (std::array{7.0, 8.0, 9.0}));
}

TEST(DecodeImage, refuses_too_many_pixels_before_it_takes_memory) {
    // 20,000 x 20,000 in a header, and nothing behind it.
    std::string file = test::write_png({.width = 1, .height = 1, .rows = {7, 8, 9}});
    const std::string side("\0\0\x4E\x20", 4);
    file.replace(16, 4, side).replace(20, 4, side);
    // The header's checksum (CRC-32, as PNG's specification has it).
    std::uint32_t crc = 0xFFFFFFFF;
    for (std::size_t i = 12; i < 29; ++i) {
        crc ^= static_cast<unsigned char>(file[i]);
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    crc = ~crc;
    for (std::size_t i = 0; i < 4; ++i) file[29 + i] = static_cast<char>(crc >> (24 - 8 * i));
    const Error error = error_of(file);
    EXPECT_EQ(error.code, Errc::LimitExceeded);
    EXPECT_EQ(error.message, "a picture of 20000 x 20000 is 400000000 pixels, limit 40000000");
    EXPECT_EQ(error_of(encode_png(Image(9, 2)), {.pixels_max = 100, .side_max = 8}).message,
              "a picture of 9 x 2 pixels, limit 8 a side");
}

TEST(DecodeImage, takes_a_strip_that_is_20000_pixels_wide) {
    EXPECT_EQ(decoded_of(encode_png(Image(20'000, 3))).image.width, 20'000);
}

TEST(DecodeImage, never_makes_up_what_is_cut_off) {
    const test::Levels levels = test::scene(48, 2);
    const std::vector<std::uint8_t> rgb(levels.rgb.begin(), levels.rgb.end());
    std::vector<std::uint8_t> rgba;
    for (std::size_t i = 0; i < rgb.size(); ++i) {
        rgba.push_back(rgb[i]);
        if (i % 3 == 2) rgba.push_back(static_cast<std::uint8_t>(i));
    }
    for (const std::string& file :
         {encode_png(levels.image()), test::write_jpeg(rgb, 48, 48, JCS_RGB),
          test::write_jpeg(rgb, 48, 48, JCS_RGB, {}, {}, true), test::write_webp(rgba, 48, 48)})
        // The last bytes of a JPEG are its end marker, of a PNG its end chunk, of a WebP padding.
        for (std::size_t size = 0; size + 16 < file.size(); size += 1 + size / 64) {
            const std::string shorter = file.substr(0, size);
            const Result<Decoded> decoded = decode_image(bytes_of(shorter));
            ASSERT_FALSE(decoded) << size << " of " << file.size();
            EXPECT_FALSE(decoded.error().message.empty());
        }
}

TEST(ExifOrientation, survives_any_bytes) {
    const std::string good("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 22);
    EXPECT_EQ(exif_orientation(bytes_of(good)), 6);
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_EQ(exif_orientation(bytes_of(good).first(size)), 1);
    std::string far = good;
    far[7] = '\x7F';  // the directory lies beyond the end
    EXPECT_EQ(exif_orientation(bytes_of(far)), 1);
}

}  // namespace
}  // namespace plimsoll::quality
