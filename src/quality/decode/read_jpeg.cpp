// SPDX-License-Identifier: Apache-2.0
#include "quality/decode/raster.h"

#include <fmt/format.h>

// libjpeg's header names FILE and size_t and includes neither.
// clang-format off
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <array>
#include <csetjmp>
#include <cstdlib>
#include <string_view>

namespace plimsoll::quality {

namespace {

// A progressive file of few bytes can ask for any number of passes over the whole picture. Encoders
// write about ten (chosen; libjpeg-turbo's own fuzzers allow 500).
constexpr int kScansMax = 100;

struct Reading {
    jpeg_error_mgr errors{};  // first: libjpeg hands it back
    jpeg_progress_mgr progress{};
    bool is_short = false;
    bool has_too_many_scans = false;
    std::array<char, JMSG_LENGTH_MAX> message{};
    std::jmp_buf jump{};
};

Reading& reading_of(j_common_ptr info) {
    return *reinterpret_cast<Reading*>(info->err);
}

// libjpeg's errors must not return: out through the jump.
[[noreturn]] void leave(j_common_ptr info) {
    Reading& reading = reading_of(info);
    (*info->err->format_message)(info, reading.message.data());
    std::longjmp(reading.jump, 1);  // NOLINT
}

// Warnings of data that libjpeg would make up are errors here.
void hear(j_common_ptr info, int level) {
    if (level >= 0) return;
    const int code = info->err->msg_code;
    if (code == JWRN_JPEG_EOF) reading_of(info).is_short = true;
    if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
        code == JWRN_ARITH_BAD_CODE || code == JWRN_MUST_RESYNC)
        leave(info);
}

void watch_scans(j_common_ptr info) {
    const auto* const decompress = reinterpret_cast<j_decompress_ptr>(info);
    if (decompress->input_scan_number <= kScansMax) return;
    reading_of(info).has_too_many_scans = true;
    leave(info);
}

struct Reader {
    jpeg_decompress_struct info{};
    Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { jpeg_destroy_decompress(&info); }
};

// The readers below are left by longjmp: nothing with a destructor is made in them.
bool read_header(jpeg_decompress_struct& info, Reading& reading, std::span<const std::byte> bytes) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    jpeg_create_decompress(&info);
    info.progress = &reading.progress;
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);  // Exif
    jpeg_save_markers(&info, JPEG_APP0 + 2, 0xFFFF);  // ICC
    jpeg_read_header(&info, TRUE);
    return true;
}

bool read_profile(jpeg_decompress_struct& info, Reading& reading, JOCTET*& profile,
                  unsigned int& size) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    return jpeg_read_icc_profile(&info, &profile, &size) != 0;
}

bool read_rows(jpeg_decompress_struct& info, Reading& reading, std::uint8_t* rows,
               std::size_t row_bytes) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
        unsigned char* row = rows + std::size_t{info.output_scanline} * row_bytes;
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return true;
}

int find_orientation(const jpeg_decompress_struct& info) {
    constexpr std::string_view kExif("Exif\0\0", 6);
    for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr;
         marker = marker->next) {
        const std::string_view text(reinterpret_cast<const char*>(marker->data),
                                    marker->data_length);
        if (marker->marker == JPEG_APP0 + 1 && text.starts_with(kExif))
            return exif_orientation(
                std::as_bytes(std::span(text.data() + kExif.size(), text.size() - kExif.size())));
    }
    return 1;
}

std::unexpected<Error> refused(const Reading& reading, std::size_t size) {
    if (reading.is_short)
        return fail(Errc::Corrupt, fmt::format("the JPEG is cut off after {} bytes", size));
    if (reading.has_too_many_scans)
        return fail(Errc::LimitExceeded, fmt::format("the JPEG has more than {} scans", kScansMax));
    return fail(Errc::Corrupt, fmt::format("the JPEG is damaged: {}", reading.message.data()));
}

// Grey stays grey, YCCK becomes CMYK, everything else RGB.
ColourModel wanted_model(jpeg_decompress_struct& info) {
    switch (info.jpeg_color_space) {
        case JCS_GRAYSCALE:
            info.out_color_space = JCS_GRAYSCALE;
            return ColourModel::Grey;
        case JCS_CMYK:
        case JCS_YCCK:
            info.out_color_space = JCS_CMYK;
            return ColourModel::Cmyk;
        default:
            info.out_color_space = JCS_RGB;
            return ColourModel::Rgb;
    }
}

}  // namespace

Result<Raster> read_jpeg(std::span<const std::byte> bytes, const DecodeLimits& limits) {
    Reading reading;
    Reader reader;
    jpeg_decompress_struct& info = reader.info;
    info.err = jpeg_std_error(&reading.errors);
    reading.errors.error_exit = leave;
    reading.errors.emit_message = hear;
    reading.progress.progress_monitor = watch_scans;
    if (!read_header(info, reading, bytes)) return refused(reading, bytes.size());
    TRY_DO(check_size(info.image_width, info.image_height, limits));
    Raster raster;
    raster.width = static_cast<int>(info.image_width);
    raster.height = static_cast<int>(info.image_height);
    raster.file_bits = info.data_precision;
    raster.model = wanted_model(info);
    raster.is_inverted = info.saw_Adobe_marker != 0;
    raster.orientation = find_orientation(info);
    JOCTET* profile = nullptr;
    unsigned int profile_size = 0;
    if (read_profile(info, reading, profile, profile_size)) {
        if (profile_size <= kProfileBytesMax) {
            const auto* const from = reinterpret_cast<const std::byte*>(profile);
            raster.profile.assign(from, from + profile_size);
        }
        std::free(profile);  // NOLINT: libjpeg took it with malloc
    }
    const std::size_t row_bytes =
        static_cast<std::size_t>(raster.width) * static_cast<std::size_t>(raster.colours());
    raster.bytes.resize(row_bytes * static_cast<std::size_t>(raster.height));
    if (!read_rows(info, reading, raster.bytes.data(), row_bytes))
        return refused(reading, bytes.size());
    return raster;
}

}  // namespace plimsoll::quality
