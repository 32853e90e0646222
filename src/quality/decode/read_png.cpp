// SPDX-License-Identifier: Apache-2.0
#include "quality/decode/raster.h"

#include "base/check.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <bit>
#include <csetjmp>
#include <cstring>

namespace plimsoll::quality {

namespace {

// What one reading shares with libpng's callbacks.
struct Reading {
    std::span<const std::byte> bytes;
    std::size_t at = 0;
    bool is_short = false;
    std::array<char, 160> message{};  // of libpng's, kept across the jump
    std::jmp_buf jump{};
};

// libpng's errors must not return: out through the jump.
[[noreturn]] void leave(png_structp png, png_const_charp message) {
    auto* const reading = static_cast<Reading*>(png_get_error_ptr(png));
    const std::size_t most = reading->message.size() - 1;  // and a zero, which is there
    std::memcpy(reading->message.data(), message, std::min(most, std::strlen(message)));
    std::longjmp(reading->jump, 1);  // NOLINT
}
void ignore(png_structp, png_const_charp) {}

void give_bytes(png_structp png, png_bytep into, std::size_t count) {
    auto* const reading = static_cast<Reading*>(png_get_io_ptr(png));
    if (reading->bytes.size() - reading->at < count) {
        reading->is_short = true;
        png_error(png, "the file is cut off");
    }
    std::memcpy(into, reading->bytes.data() + reading->at, count);
    reading->at += count;
}

struct Reader {
    png_structp png = nullptr;
    png_infop info = nullptr;

    Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

// The readers below are left by longjmp: nothing with a destructor is made in them.
bool read_header(Reader& reader, Reading& reading) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    png_set_read_fn(reader.png, &reading, give_bytes);
    // Chunks beside the picture: their bytes together, and how many.
    png_set_chunk_malloc_max(reader.png, kProfileBytesMax);
    png_set_chunk_cache_max(reader.png, 1000);
    png_set_user_limits(reader.png, 0x7FFFFFFF, 0x7FFFFFFF);  // ours are checked with our words
    png_read_info(reader.png, reader.info);
    return true;
}

bool start_rows(Reader& reader, Reading& reading, int& passes) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    png_set_expand(reader.png);                   // palettes, fewer than 8 bits, tRNS
    if constexpr (std::endian::native == std::endian::little)
        if (png_get_bit_depth(reader.png, reader.info) == 16) png_set_swap(reader.png);
    passes = png_set_interlace_handling(reader.png);
    png_read_update_info(reader.png, reader.info);
    return true;
}

bool read_rows(Reader& reader, Reading& reading, std::uint8_t* rows, std::size_t row_bytes,
               int height, int passes) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    for (int pass = 0; pass < passes; ++pass)
        for (int y = 0; y < height; ++y)
            png_read_row(reader.png, rows + static_cast<std::size_t>(y) * row_bytes, nullptr);
    png_read_end(reader.png, nullptr);
    return true;
}

bool find_profile(Reader& reader, Reading& reading, png_bytep& profile, png_uint_32& size) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    png_charp name = nullptr;
    int method = 0;
    return png_get_iCCP(reader.png, reader.info, &name, &method, &profile, &size) != 0;
}

bool find_calibration(Reader& reader, Reading& reading, Calibration& into) {
    if (setjmp(reading.jump) != 0) return false;  // NOLINT
    int intent = 0;
    if (png_get_sRGB(reader.png, reader.info, &intent) != 0) return false;
    if (png_get_gAMA(reader.png, reader.info, &into.gamma) == 0) return false;
    Calibration::Primaries p;
    if (png_get_cHRM(reader.png, reader.info, &p.white.x, &p.white.y, &p.red.x, &p.red.y,
                     &p.green.x, &p.green.y, &p.blue.x, &p.blue.y) != 0)
        into.primaries = p;
    return true;
}

int find_orientation(Reader& reader) {
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(reader.png, reader.info, &size, &exif) == 0) return 1;
    return exif_orientation(std::as_bytes(std::span(exif, size)));
}

std::unexpected<Error> refused(const Reading& reading) {
    if (reading.is_short)
        return fail(Errc::Corrupt,
                    fmt::format("the PNG is cut off after {} bytes", reading.bytes.size()));
    return fail(Errc::Corrupt, fmt::format("the PNG is damaged: {}", reading.message.data()));
}

}  // namespace

Result<Raster> read_png(std::span<const std::byte> bytes, const DecodeLimits& limits) {
    Reading reading{.bytes = bytes};
    Reader reader;
    reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, leave, ignore);
    CHECK(reader.png != nullptr);
    reader.info = png_create_info_struct(reader.png);
    CHECK(reader.info != nullptr);
    if (!read_header(reader, reading)) return refused(reading);
    const png_uint_32 width = png_get_image_width(reader.png, reader.info);
    const png_uint_32 height = png_get_image_height(reader.png, reader.info);
    TRY_DO(check_size(width, height, limits));
    Raster raster;
    raster.width = static_cast<int>(width);
    raster.height = static_cast<int>(height);
    raster.file_bits = png_get_bit_depth(reader.png, reader.info);
    png_bytep profile = nullptr;
    png_uint_32 profile_size = 0;
    if (find_profile(reader, reading, profile, profile_size)) {
        const std::span<const std::byte> found = std::as_bytes(std::span(profile, profile_size));
        raster.profile.assign(found.begin(), found.end());
    }
    if (Calibration calibration; find_calibration(reader, reading, calibration))
        raster.calibration = calibration;
    raster.orientation = find_orientation(reader);
    int passes = 0;
    if (!start_rows(reader, reading, passes)) return refused(reading);
    const int channels = png_get_channels(reader.png, reader.info);
    raster.model = channels <= 2 ? ColourModel::Grey : ColourModel::Rgb;
    raster.has_alpha = channels % 2 == 0;
    raster.is_wide = png_get_bit_depth(reader.png, reader.info) == 16;
    const std::size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
    const std::size_t samples = std::size_t{width} * height * static_cast<std::size_t>(channels);
    CHECK(row_bytes * height == samples * (raster.is_wide ? 2 : 1));
    std::uint8_t* rows = nullptr;
    if (raster.is_wide) {
        raster.words.resize(samples);
        rows = reinterpret_cast<std::uint8_t*>(raster.words.data());
    } else {
        raster.bytes.resize(samples);
        rows = raster.bytes.data();
    }
    if (!read_rows(reader, reading, rows, row_bytes, raster.height, passes))
        return refused(reading);
    return raster;
}

}  // namespace plimsoll::quality
