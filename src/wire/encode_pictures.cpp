// SPDX-License-Identifier: Apache-2.0
#include "wire/encode_pictures.h"

#include "base/check.h"
#include "base/utf8.h"
#include "wire/encode_parts.h"

#include <cmath>
#include <string_view>

namespace plimsoll::wire {

namespace {

std::string_view name_of(quality::Better better) {
    switch (better) {
        case quality::Better::Higher:
            return "higher";
        case quality::Better::Lower:
            return "lower";
        case quality::Better::AsReference:
            return "asReference";
    }
    CHECK(false);
}

json::object encode_score(const quality::Score& score) {
    const quality::MeasureFacts& facts = quality::facts_of(score.measure);
    json::object out{{"measure", facts.name}, {"scale", quality::name_of(score.scale)},
                     {"value", nullptr},      {"better", name_of(facts.better)},
                     {"unit", facts.unit},    {"reason", nullptr}};
    // JSON has no infinity: that of equal pictures is said in words.
    if (score.value && std::isfinite(*score.value))
        out["value"] = *score.value;
    else if (score.value)
        out["reason"] = "the pictures are equal: infinite";
    else
        out["reason"] = score.reason;
    return out;
}

json::object encode_picture(const service::PictureFile& file, const quality::Scores& scores) {
    return {{"file", valid_utf8(file.name)},
            {"width", file.width},
            {"height", file.height},
            {"format", quality::name_of(file.format)},
            {"bits", file.bits},
            {"grey", file.is_grey},
            {"transparentShare", file.transparent_share},
            {"notes", texts(file.notes)},
            {"measures", encode_scores(scores)}};
}

}  // namespace

json::array encode_scores(const quality::Scores& scores) {
    json::array out;
    for (const quality::Score& score : scores.all) out.push_back(encode_score(score));
    return out;
}

json::object encode_picture_comparison(const service::PictureAnswer& answer) {
    const quality::Comparison& both = answer.comparison;
    return {{"likeness", quality::name_of(both.likeness)},
            {"pair", encode_scores(both.pair)},
            {"reference", encode_picture(answer.reference, both.reference)},
            {"candidate", encode_picture(answer.candidate, both.candidate)}};
}

}  // namespace plimsoll::wire
