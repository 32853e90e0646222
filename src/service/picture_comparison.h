// SPDX-License-Identifier: Apache-2.0
//
// How good is this picture file beside that one? What `plimsoll quality compare` does.
//
// Enters through: files.   Leaves through: PictureAnswer.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "quality/decode/decode.h"
#include "quality/natural/brisque.h"
#include "quality/scores.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

// The largest file that is read (chosen: 40 million pixels of 16 bits and four channels are 320 MB
// before they are compressed).
inline constexpr std::size_t kPictureBytesMax = std::size_t{256} << 20;

// A picture from a file: its name only decides a note when it says another format.
[[nodiscard]] Result<quality::Decoded> read_picture_file(const std::filesystem::path& path);

struct PictureRequest {
    std::filesystem::path reference;
    std::filesystem::path candidate;
    // Pictures of the same run that NIQE holds both against; empty: no NIQE.
    std::vector<std::filesystem::path> run_references;
    // A folder with brisque_model_live.yml and brisque_range_live.yml. Not given: where Debian's
    // opencv-data puts them, if it is installed.
    std::optional<std::filesystem::path> brisque_folder;
    std::optional<int> tile_stride;
    bool wants_map = false;
};

// What is known about a file, without its pixels.
struct PictureFile {
    std::string name;
    int width = 0;
    int height = 0;
    quality::FileFormat format = quality::FileFormat::Png;
    int bits = 8;
    bool is_grey = false;
    double transparent_share = 0;
    std::vector<std::string> notes;
};

struct PictureAnswer {
    PictureFile reference;
    PictureFile candidate;
    quality::Comparison comparison;
    std::string map_png;  // empty when none was wanted
};

// OpenCV's two files in `folder`; without one, where Debian's opencv-data puts them: nullopt when
// it is not installed.
[[nodiscard]] Result<std::optional<quality::BrisqueModel>> read_brisque(
    const std::optional<std::filesystem::path>& folder);

// Pictures of two sizes are an answer too, whose pair measures say why they have no value; only a
// map of them is InvalidInput.
[[nodiscard]] Result<PictureAnswer> compare_picture_files(const PictureRequest& request);

}  // namespace plimsoll::service
