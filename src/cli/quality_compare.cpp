// SPDX-License-Identifier: Apache-2.0
//
// plimsoll quality compare: how good is this picture beside its reference?
#include "base/byte_source.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/draw_pictures.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "service/picture_comparison.h"
#include "wire/encode_pictures.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <span>
#include <string>

namespace plimsoll::cli {

namespace {

struct CompareFlags {
    service::PictureRequest request;
    std::string map;
};

Result<Exit> compare(Session& session, const CompareFlags& flags) {
    service::PictureRequest request = flags.request;
    request.wants_map = !flags.map.empty();
    TRY_ASSIGN(const service::PictureAnswer answer, service::compare_picture_files(request));
    if (request.wants_map)
        TRY_DO(write_file_atomically(flags.map, std::as_bytes(std::span(answer.map_png))));
    if (session.json) {
        json::object object = wire::encode_picture_comparison(answer);
        if (request.wants_map) object["map"] = flags.map;
        session.answer(object);
        return Exit::Done;
    }
    draw_picture_comparison(session.out, answer);
    if (request.wants_map) {
        session.out.line();
        session.out.line(fmt::format("written    {} (red: what the eye minds)", flags.map));
    }
    return Exit::Done;
}

}  // namespace

void add_quality_compare(Commands& commands, CLI::App& quality) {
    auto flags = std::make_shared<CompareFlags>();
    CLI::App& command = commands.add_below(
        quality, "compare", "hold a picture against its reference, of the same prompt and seed",
        "plimsoll quality compare 30_steps.png 12_steps.png --map difference.png",
        [flags](Session& session) { return compare(session, *flags); });
    constexpr const char* kPictures = "Pictures";
    command
        .add_option("reference", flags->request.reference,
                    "the better one: PNG, JPEG or WebP, from the costlier setting")
        ->type_name("FILE")
        ->required()
        ->group(kPictures);
    command.add_option("candidate", flags->request.candidate, "the one that is judged")
        ->type_name("FILE")
        ->required()
        ->group(kPictures);
    command
        .add_option("--run-reference", flags->request.run_references,
                    "a picture of the same model that NIQE holds both against; may be repeated, "
                    "eight of 1024 x 1024 are enough")
        ->type_name("FILE")
        ->group(kPictures);
    add_checked(
        command, "--tile-stride", "PIXELS",
        "from one of the VAE's tiles to the next (tile size less overlap), to look for seams",
        [flags](const std::string& text) {
            const std::optional<long long> value = parse_integer(text);
            if (!value || *value < 16 || *value > 8192)
                return fmt::format("'{}' is no tile stride: 16 to 8192 pixels", text);
            flags->request.tile_stride = static_cast<int>(*value);
            return std::string();
        })
        .group(kPictures);
    command
        .add_option("--brisque", flags->request.brisque_folder,
                    "where OpenCV's brisque_model_live.yml and brisque_range_live.yml are; "
                    "Debian's opencv-data is found by itself")
        ->type_name("FOLDER")
        ->group(kPictures);
    command.add_option("--map", flags->map, "write a picture of what differs, as a PNG")
        ->type_name("FILE")
        ->group("Output");
}

}  // namespace plimsoll::cli
