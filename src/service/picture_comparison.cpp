// SPDX-License-Identifier: Apache-2.0
#include "service/picture_comparison.h"

#include "base/byte_source.h"
#include "base/text.h"
#include "quality/compare.h"
#include "quality/encode_png.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace plimsoll::service {

namespace {

// Where Debian's and Ubuntu's opencv-data (4.6) put the two files.
constexpr std::string_view kBrisqueFolder = "/usr/share/opencv4/quality";
constexpr std::size_t kBrisqueBytesMax = std::size_t{16} << 20;  // chosen: the model has 0.6 MB
constexpr std::size_t kRunReferencesMax = 64;                    // chosen: 8 are enough

// What the end of the name promises, none when it promises no picture.
std::optional<quality::FileFormat> promised_format(const std::filesystem::path& path) {
    const std::string extension = to_lower_ascii(path.extension().string());
    if (extension == ".png") return quality::FileFormat::Png;
    if (extension == ".jpg" || extension == ".jpeg") return quality::FileFormat::Jpeg;
    if (extension == ".webp") return quality::FileFormat::Webp;
    return std::nullopt;
}

PictureFile facts_of(const std::filesystem::path& path, const quality::Decoded& decoded) {
    return {.name = path.string(),
            .width = decoded.image.width,
            .height = decoded.image.height,
            .format = decoded.format,
            .bits = decoded.bits,
            .is_grey = decoded.is_grey,
            .transparent_share = decoded.transparent_share,
            .notes = decoded.notes};
}

Result<std::optional<quality::NiqeModel>> fit_run_references(
    const std::vector<std::filesystem::path>& paths) {
    if (paths.empty()) return std::nullopt;
    if (paths.size() > kRunReferencesMax)
        return fail(Errc::LimitExceeded, fmt::format("{} pictures of the run, limit {}",
                                                     paths.size(), kRunReferencesMax));
    std::vector<quality::NiqeSample> samples;
    for (const std::filesystem::path& path : paths) {
        TRY_ASSIGN(const quality::Decoded decoded, read_picture_file(path));
        samples.push_back(quality::sample_niqe(quality::whole_luma(decoded.image)));
    }
    auto model = quality::fit_niqe(samples);
    if (!model) return fail_at("the pictures of the run", std::move(model).error());
    return *std::move(model);
}

}  // namespace

Result<std::optional<quality::BrisqueModel>> read_brisque(
    const std::optional<std::filesystem::path>& wanted) {
    const std::filesystem::path folder = wanted.value_or(kBrisqueFolder);
    const std::filesystem::path model = folder / "brisque_model_live.yml";
    std::error_code ignored;
    if (!wanted && !std::filesystem::exists(model, ignored)) return std::nullopt;
    TRY_ASSIGN(const std::string model_yml, read_text_file(model, kBrisqueBytesMax));
    TRY_ASSIGN(const std::string range_yml,
               read_text_file(folder / "brisque_range_live.yml", kBrisqueBytesMax));
    auto parsed = quality::parse_brisque_model(model_yml, range_yml);
    if (!parsed) return fail_at(folder.string(), std::move(parsed).error());
    return *std::move(parsed);
}

Result<quality::Decoded> read_picture_file(const std::filesystem::path& path) {
    TRY_ASSIGN(const std::string bytes, read_text_file(path, kPictureBytesMax));
    auto decoded = quality::decode_image(std::as_bytes(std::span(bytes)));
    if (!decoded) return fail_at(path.string(), std::move(decoded).error());
    const std::optional<quality::FileFormat> promised = promised_format(path);
    if (promised && *promised != decoded->format)
        decoded->notes.push_back(
            fmt::format("it is a {}, whatever its name says", quality::name_of(decoded->format)));
    return decoded;
}

Result<PictureAnswer> compare_picture_files(const PictureRequest& request) {
    TRY_ASSIGN(const std::optional<quality::BrisqueModel> brisque,
               read_brisque(request.brisque_folder));
    TRY_ASSIGN(const std::optional<quality::NiqeModel> niqe,
               fit_run_references(request.run_references));
    TRY_ASSIGN(const quality::Decoded reference, read_picture_file(request.reference));
    TRY_ASSIGN(const quality::Decoded candidate, read_picture_file(request.candidate));
    PictureAnswer answer;
    answer.reference = facts_of(request.reference, reference);
    answer.candidate = facts_of(request.candidate, candidate);
    if (request.wants_map) {
        const quality::Image& a = reference.image;
        const quality::Image& b = candidate.image;
        if (a.width != b.width || a.height != b.height || std::min(a.width, a.height) < 2)
            return fail(Errc::InvalidInput,
                        fmt::format("a map needs two pictures of one size and 2 pixels a side: {} "
                                    "and {} pixels",
                                    quality::size_text(a.width, a.height),
                                    quality::size_text(b.width, b.height)));
        answer.map_png = quality::encode_png(quality::difference_map(a, b));
    }
    answer.comparison = quality::compare(reference.image, candidate.image,
                                         {.niqe = niqe ? &*niqe : nullptr,
                                          .brisque = brisque ? &*brisque : nullptr,
                                          .tile_stride = request.tile_stride});
    return answer;
}

}  // namespace plimsoll::service
