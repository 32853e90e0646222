// SPDX-License-Identifier: Apache-2.0
#include "service/quality/look.h"

#include "base/say.h"
#include "quality/compare.h"
#include "quality/encode_jpeg.h"
#include "quality/encode_png.h"
#include "quality/shrink.h"
#include "service/picture_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace plimsoll::service {
namespace {

using quality::Cell;
using quality::Session;

Result<const quality::Picture*> drawn(const Session& session, const Cell& cell) {
    const quality::Picture* const picture = session.picture(cell);
    if (picture == nullptr || picture->state != quality::PictureState::Drawn)
        return fail(Errc::NotFound, say<"error.no_picture">());
    return picture;
}

// What costs less is not shown as a fault (chosen: a point of the hundred).
constexpr double kCostLeast = 1;

// The part of its marks that cost the most.
std::string worst_of(const Session& session, const Cell& cell) {
    if (cell.candidate == session.plan().reference) return "";
    const auto marks = session.table().scores[cell.candidate][cell.block];
    if (!marks || std::min(marks->retention.value_or(100), marks->defects) > 100 - kCostLeast)
        return "";
    if (marks->retention && *marks->retention < marks->defects)
        return std::string(quality::kDifference);
    return marks->worst_defect;
}

}  // namespace

// Its path is nobody's business who sees only pictures.
Result<quality::Image> read_session_picture(const std::filesystem::path& file) {
    auto decoded = read_picture_file(file);
    if (!decoded) return fail(Errc::NotFound, say<"error.picture_gone">());
    return std::move(decoded->image);
}

Result<std::string> small_picture(const std::filesystem::path& file, int side_max) {
    TRY_ASSIGN(const quality::Image image, read_session_picture(file));
    return quality::encode_jpeg(quality::shrunk(image, side_max), kLookJpegQuality);
}

Result<std::string> draw_map(const Session& session, const Cell& cell, int side_max) {
    TRY_ASSIGN(const quality::Picture* const picture, drawn(session, cell));
    if (cell.candidate == session.plan().reference)
        return fail(Errc::NotFound, "it is the reference itself: nothing differs");
    if (!picture->seen.distance)
        return fail(Errc::NotFound, say<"error.no_map">(picture->seen.why_no_distance));
    TRY_ASSIGN(const quality::Picture* const beside,
               drawn(session, {session.plan().reference, cell.block}));
    TRY_ASSIGN(const quality::Image reference, read_session_picture(beside->file));
    TRY_ASSIGN(const quality::Image candidate, read_session_picture(picture->file));
    if (reference.width != candidate.width || reference.height != candidate.height ||
        candidate.width < 2 || candidate.height < 2)
        return fail(Errc::NotFound, "a map would say nothing: the sizes are not the same");
    // At full size first: fine noise would be gone from a smaller picture.
    return quality::encode_png(
        quality::shrunk(quality::difference_map(reference, candidate), side_max));
}

DefectMark mark_defect(const Session& session, const Cell& cell, const quality::Image& reference,
                       const quality::Image& candidate) {
    DefectMark mark{.cell = cell,
                    .defect = worst_of(session, cell),
                    .width = candidate.width,
                    .height = candidate.height,
                    .place = std::nullopt,
                    .why_no_place = {}};
    if (mark.defect.empty()) {
        mark.why_no_place = cell.candidate == session.plan().reference
                                ? "it is the reference"
                                : "nothing is wrong with it beyond the reference's own";
        return mark;
    }
    mark.place = quality::find_defect(reference, candidate, mark.defect);
    if (!mark.place) mark.why_no_place = "no part of the picture shows it more than the others";
    return mark;
}

Result<DefectMark> mark_defect(const Session& session, const Cell& cell) {
    TRY_ASSIGN(const quality::Picture* const picture, drawn(session, cell));
    TRY_ASSIGN(const quality::Picture* const beside,
               drawn(session, {session.plan().reference, cell.block}));
    TRY_ASSIGN(const quality::Image candidate, read_session_picture(picture->file));
    if (picture == beside) return mark_defect(session, cell, candidate, candidate);
    TRY_ASSIGN(const quality::Image reference, read_session_picture(beside->file));
    return mark_defect(session, cell, reference, candidate);
}

std::string mark_words(const DefectMark& mark) {
    if (mark.defect.empty()) return mark.why_no_place;
    if (!mark.place) return fmt::format("{}: {}", mark.defect, mark.why_no_place);
    const quality::DefectPlace& place = *mark.place;
    const bool share = mark.defect == "burn";
    const auto amount = [&](double value) {
        return share ? fmt::format("{:.0f} %", 100 * value) : fmt::format("{:.1f}", value);
    };
    if (mark.defect == quality::kDifference)
        return "difference: here it differs most from the reference";
    const std::string_view unit = share ? " of the pixels" : " levels";
    if (!place.in_reference) return fmt::format("{}: {}{}", mark.defect, amount(place.here), unit);
    return fmt::format("{}: {}{} where the reference has {}", mark.defect, amount(place.here), unit,
                       amount(*place.in_reference));
}

}  // namespace plimsoll::service
