// SPDX-License-Identifier: Apache-2.0
#include "service/quality/run_statistics.h"

#include "base/byte_source.h"
#include "quality/decode/decode.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace plimsoll::service {

namespace {

using quality::Cell;
using quality::Session;

constexpr std::uint64_t kPictureBytesMax = 256ULL << 20U;  // as draw.cpp

std::size_t blocks_needed(const Session& session) {
    return std::min(kNiqeBlocks, session.plan().rules.blocks_max);
}

bool is_drawn(const Session& session, const Cell& cell) {
    const quality::Picture* const picture = session.picture(cell);
    return picture != nullptr && picture->state == quality::PictureState::Drawn;
}

}  // namespace

Result<quality::NiqeSample> sample_picture_file(std::string_view bytes) {
    TRY_ASSIGN(const quality::Decoded decoded,
               quality::decode_image(std::as_bytes(std::span(bytes.data(), bytes.size()))));
    return quality::sample_niqe(quality::whole_luma(decoded.image));
}

void RunStatistics::begin(const Session& session) {
    if (session_id_ == session.plan().session_id) return;
    session_id_ = session.plan().session_id;
    references_.clear();
    models_.clear();
    is_hopeless_ = false;
}

std::optional<Cell> RunStatistics::next_unmeasured(const Session& session) {
    begin(session);
    if (is_hopeless_) return std::nullopt;
    for (std::size_t b = 0; b < blocks_needed(session); ++b)
        if (!is_drawn(session, {session.plan().reference, b})) return std::nullopt;
    for (const auto& [cell, picture] : session.pictures())
        if (picture.state == quality::PictureState::Drawn &&
            !picture.seen.measures.contains(quality::Measure::Niqe) &&
            !picture.seen.unscored.contains(std::string(kNiqeName)))
            return cell;
    return std::nullopt;
}

const Result<quality::NiqeModel>& RunStatistics::model_for(const Session& session,
                                                           std::size_t block) {
    const std::vector<quality::Block> blocks = quality::blocks_of(session.plan());
    // With one prompt alone its other seeds are what is left.
    const bool by_prompt = session.plan().prompts.size() > 1;
    const std::size_t left_out = by_prompt ? blocks.at(block).prompt : block;
    const auto known = models_.find(left_out);
    if (known != models_.end()) return known->second;
    std::vector<quality::NiqeSample> samples;
    for (std::size_t b = 0; b < blocks_needed(session); ++b) {
        if ((by_prompt ? blocks[b].prompt : b) == left_out) continue;
        auto sample = references_.find(b);
        if (sample == references_.end()) {
            const auto bytes = read_text_file(session.picture({session.plan().reference, b})->file,
                                              kPictureBytesMax);
            auto sampled = bytes ? sample_(*bytes)
                                 : Result<quality::NiqeSample>(std::unexpected(bytes.error()));
            if (!sampled)
                return models_.emplace(left_out, std::unexpected(sampled.error())).first->second;
            sample = references_.emplace(b, std::move(*sampled)).first;
        }
        samples.push_back(sample->second);
    }
    return models_.emplace(left_out, quality::fit_niqe(samples)).first->second;
}

void RunStatistics::measure(const Session& session, const Cell& cell, quality::Seen& seen) {
    begin(session);
    const Result<quality::NiqeModel>& model = model_for(session, cell.block);
    const auto distance = [&]() -> Result<double> {
        if (!model) return fail_at("the reference pictures", model.error());
        TRY_ASSIGN(const std::string bytes,
                   read_text_file(session.picture(cell)->file, kPictureBytesMax));
        TRY_ASSIGN(const quality::NiqeSample sample, sample_(bytes));
        return quality::niqe(*model, sample);
    }();
    if (distance)
        seen.measures[quality::Measure::Niqe] = *distance;
    else
        seen.unscored[std::string(kNiqeName)] = distance.error().message;
    is_hopeless_ = !model.has_value();
}

}  // namespace plimsoll::service
