// SPDX-License-Identifier: Apache-2.0
#include "service/quality/votes.h"

#include "base/json.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace plimsoll::service {
namespace {

using quality::Cell;
using quality::Session;

json::object encode_cell(const Cell& cell) {
    return {{"candidate", cell.candidate}, {"block", cell.block}};
}

std::string encode_ballot(const Ballot& ballot) {
    constexpr std::array<std::string_view, 3> kNames{"left", "right", "neither"};
    return json::serialize(
        json::object{{"left", encode_cell(ballot.left)},
                     {"right", encode_cell(ballot.right)},
                     {"preferred", kNames.at(static_cast<std::size_t>(ballot.preferred))}});
}

std::optional<quality::Vote> vote_of(std::string_view text) {
    const auto value = parse_json(text);
    if (!value) return std::nullopt;
    const auto candidate = [&](std::string_view side) -> std::optional<std::int64_t> {
        const json::value* const cell = find(*value, side);
        return cell == nullptr ? std::nullopt : find_int(*cell, "candidate");
    };
    const auto left = candidate("left");
    const auto right = candidate("right");
    const auto preferred = find_string(*value, "preferred");
    if (!left || !right || *left < 0 || *right < 0 || !preferred) return std::nullopt;
    return quality::Vote{.first = static_cast<std::size_t>(*left),
                         .second = static_cast<std::size_t>(*right),
                         .preferred = *preferred == "left"    ? quality::Preferred::First
                                      : *preferred == "right" ? quality::Preferred::Second
                                                              : quality::Preferred::Neither};
}

bool is_drawn(const Session& session, const Cell& cell) {
    const quality::Picture* const picture = session.picture(cell);
    return picture != nullptr && picture->state == quality::PictureState::Drawn;
}

// Candidates that another one shares a block with.
std::vector<std::size_t> votable(const Session& session) {
    std::map<std::size_t, std::vector<std::size_t>> by_block;
    for (const auto& [cell, picture] : session.pictures())
        if (picture.state == quality::PictureState::Drawn)
            by_block[cell.block].push_back(cell.candidate);
    std::vector<std::size_t> out;
    for (const auto& [block, candidates] : by_block)
        if (candidates.size() > 1) out.insert(out.end(), candidates.begin(), candidates.end());
    std::ranges::sort(out);
    const auto rest = std::ranges::unique(out);
    out.erase(rest.begin(), rest.end());
    return out;
}

Result<std::vector<quality::Vote>> votes_of(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto rows, store.list_votes(session.plan().session_id));
    std::vector<quality::Vote> votes;
    for (const history::QualityVote& row : rows)
        if (const auto vote = vote_of(row.vote_json)) votes.push_back(*vote);
    return votes;
}

}  // namespace

Result<VoteCount> count_votes(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto votes, votes_of(session, store));
    return VoteCount{.standings = quality::stand(session.plan().entrants.size(), votes),
                     .candidates = votable(session)};
}

Result<BlindPair> next_blind_pair(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto votes, votes_of(session, store));
    const quality::SessionPlan& plan = session.plan();
    const auto pair =
        quality::next_pair(quality::stand(plan.entrants.size(), votes), votable(session), votes);
    if (!pair) return fail(Errc::NotFound, "no block has pictures of two settings yet");
    std::vector<std::size_t> shared;
    for (std::size_t b = 0; b < plan.rules.blocks_max; ++b)
        if (is_drawn(session, {pair->first, b}) && is_drawn(session, {pair->second, b}))
            shared.push_back(b);
    if (shared.empty()) return fail(Errc::NotFound, "no block has pictures of both settings");
    // Side and block by chance, the same until the vote is cast.
    Random chance(plan.seed + votes.size());
    const std::size_t block = shared[chance.next_u64() % shared.size()];
    const bool swap = chance.next_unit() < 0.5;
    const quality::Block key = quality::blocks_of(plan)[block];
    return BlindPair{.session_id = plan.session_id,
                     .block = key,
                     .block_index = block,
                     .prompt = plan.prompts[key.prompt],
                     .left = {swap ? pair->second : pair->first, block},
                     .right = {swap ? pair->first : pair->second, block}};
}

Result<VoteCount> cast_vote(const Session& session, history::Store& store, const Ballot& ballot,
                            std::int64_t now_ms, Random& ids) {
    if (ballot.left.block != ballot.right.block || ballot.left.candidate == ballot.right.candidate)
        return fail(Errc::InvalidInput, "a vote is between two settings of one block");
    if (!is_drawn(session, ballot.left) || !is_drawn(session, ballot.right))
        return fail(Errc::InvalidInput, "a vote is between two pictures that were drawn");
    TRY_DO(store.keep_vote({.vote_id = ballot.vote_id.empty() ? ids.next_uuid() : ballot.vote_id,
                            .session_id = session.plan().session_id,
                            .voted_ms = now_ms,
                            .vote_json = encode_ballot(ballot)}));
    return count_votes(session, store);
}

}  // namespace plimsoll::service
