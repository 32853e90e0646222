// SPDX-License-Identifier: Apache-2.0
#include "service/quality/votes.h"

#include "base/json.h"
#include "base/say.h"

#include <fmt/format.h>

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
    json::object out{{"left", encode_cell(ballot.left)},
                     {"right", encode_cell(ballot.right)},
                     {"preferred", kNames.at(static_cast<std::size_t>(ballot.preferred))}};
    if (!ballot.voter.empty()) out["voter"] = ballot.voter;
    return json::serialize(out);
}

std::optional<Ballot> ballot_of(const json::value& value) {
    const auto cell = [&](std::string_view side) -> std::optional<Cell> {
        const json::value* const found = find(value, side);
        if (found == nullptr) return std::nullopt;
        const auto candidate = find_int(*found, "candidate");
        const auto block = find_int(*found, "block");
        if (!candidate || !block || *candidate < 0 || *block < 0) return std::nullopt;
        return Cell{static_cast<std::size_t>(*candidate), static_cast<std::size_t>(*block)};
    };
    const auto left = cell("left");
    const auto right = cell("right");
    const auto preferred = find_string(value, "preferred");
    if (!left || !right || (preferred != "left" && preferred != "right" && preferred != "neither"))
        return std::nullopt;
    return Ballot{.vote_id = {},
                  .left = *left,
                  .right = *right,
                  .preferred = *preferred == "left"    ? quality::Preferred::First
                               : *preferred == "right" ? quality::Preferred::Second
                                                       : quality::Preferred::Neither,
                  .voter = std::string(find_string(value, "voter").value_or(""))};
}

quality::Vote vote_of(const Ballot& ballot) {
    return {.first = ballot.left.candidate,
            .second = ballot.right.candidate,
            .preferred = ballot.preferred};
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
    TRY_ASSIGN(const auto ballots, list_ballots(session, store));
    std::vector<quality::Vote> votes;
    for (const KeptBallot& kept : ballots) votes.push_back(vote_of(kept.ballot));
    return votes;
}

Result<BlindPair> blind_pair(const Session& session, std::span<const quality::Vote> votes) {
    const quality::SessionPlan& plan = session.plan();
    const auto pair =
        quality::next_pair(quality::stand(plan.entrants.size(), votes), votable(session), votes);
    if (!pair) return fail(Errc::NotFound, say<"error.no_pair">());
    std::vector<std::size_t> shared;
    for (std::size_t b = 0; b < plan.rules.blocks_max; ++b)
        if (is_drawn(session, {pair->first, b}) && is_drawn(session, {pair->second, b}))
            shared.push_back(b);
    if (shared.empty()) return fail(Errc::NotFound, say<"error.no_shared">());
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

Result<void> check_ballot(const Session& session, const Ballot& ballot) {
    if (ballot.left.block != ballot.right.block || ballot.left.candidate == ballot.right.candidate)
        return fail(Errc::InvalidInput, "a vote is between two settings of one block");
    if (!is_drawn(session, ballot.left) || !is_drawn(session, ballot.right))
        return fail(Errc::InvalidInput, say<"error.not_drawn">());
    if (ballot.voter.size() > kVoterBytesMax)
        return fail(Errc::InvalidInput,
                    fmt::format("the voter's name has {} bytes, at most {} are kept",
                                ballot.voter.size(), kVoterBytesMax));
    return {};
}

}  // namespace

std::optional<CastVote> parse_vote(std::string_view text) {
    const auto value = parse_json(text);
    const auto ballot = value ? ballot_of(*value) : std::nullopt;
    if (!ballot) return std::nullopt;
    return CastVote{.vote = vote_of(*ballot), .voter = ballot->voter};
}

Result<VoteCount> count_votes(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto votes, votes_of(session, store));
    return VoteCount{.standings = quality::stand(session.plan().entrants.size(), votes),
                     .candidates = votable(session)};
}

Result<BlindPair> next_blind_pair(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto votes, votes_of(session, store));
    return blind_pair(session, votes);
}

Result<PairList> next_blind_pairs(const Session& session, history::Store& store, std::size_t count,
                                  Random& ids) {
    TRY_ASSIGN(auto votes, votes_of(session, store));
    PairList pairs;
    while (pairs.size() < std::min(count, kPairsListedMax)) {
        TRY_ASSIGN(BlindPair pair, blind_pair(session, votes));
        votes.push_back({.first = pair.left.candidate,
                         .second = pair.right.candidate,
                         .preferred = quality::Preferred::Neither});
        pairs.push_back({.vote_id = ids.next_uuid(), .pair = std::move(pair)});
    }
    return pairs;
}

Result<VoteCount> cast_vote(const Session& session, history::Store& store, const Ballot& ballot,
                            std::int64_t now_ms, Random& ids) {
    TRY_DO(check_ballot(session, ballot));
    TRY_DO(store.keep_vote({.vote_id = ballot.vote_id.empty() ? ids.next_uuid() : ballot.vote_id,
                            .session_id = session.plan().session_id,
                            .voted_ms = now_ms,
                            .vote_json = encode_ballot(ballot)}));
    return count_votes(session, store);
}

Result<VoteCount> cast_votes(const Session& session, history::Store& store,
                             std::span<const Ballot> ballots, std::int64_t now_ms, Random& ids) {
    if (ballots.size() > kBallotsAtOnceMax)
        return fail(Errc::LimitExceeded,
                    say<"error.votes_at_once">(ballots.size(), kBallotsAtOnceMax));
    for (std::size_t i = 0; i < ballots.size(); ++i)
        if (const auto right = check_ballot(session, ballots[i]); !right)
            return fail(right.error().code,
                        say<"error.vote">(i + 1, Phrase(right.error().message)));
    for (const Ballot& ballot : ballots)
        TRY_DO(
            store.keep_vote({.vote_id = ballot.vote_id.empty() ? ids.next_uuid() : ballot.vote_id,
                             .session_id = session.plan().session_id,
                             .voted_ms = now_ms,
                             .vote_json = encode_ballot(ballot)}));
    return count_votes(session, store);
}

Result<std::vector<Ballot>> parse_ballots(std::string_view text) {
    TRY_ASSIGN(const json::value value, parse_json(text));
    const json::value* list = find(value, "ballots");
    if (list == nullptr) list = find(value, "pairs");
    if (list == nullptr || !list->is_array()) return fail(Errc::Corrupt, say<"error.no_votes">());
    if (list->get_array().size() > kBallotsAtOnceMax)
        return fail(Errc::LimitExceeded,
                    say<"error.votes_at_once">(list->get_array().size(), kBallotsAtOnceMax));
    std::vector<Ballot> ballots;
    for (std::size_t i = 0; i < list->get_array().size(); ++i) {
        const json::value& one = list->get_array()[i];
        const json::value* const preferred = find(one, "preferred");
        if (preferred != nullptr && preferred->is_null()) continue;
        auto ballot = ballot_of(one);
        if (!ballot)
            return fail(Errc::Corrupt,
                        fmt::format("vote {} needs left and right {{candidate, block}} and "
                                    "preferred: left, right or neither",
                                    i + 1));
        const auto vote_id = find_string(one, "voteId").value_or("");
        if (vote_id.size() > 64)
            return fail(Errc::Corrupt, fmt::format("vote {} has a voteId of {} characters", i + 1,
                                                   vote_id.size()));
        ballot->vote_id = vote_id;
        ballots.push_back(std::move(*ballot));
    }
    return ballots;
}

Result<std::vector<KeptBallot>> list_ballots(const Session& session, history::Store& store) {
    TRY_ASSIGN(const auto rows, store.list_votes(session.plan().session_id));
    std::vector<KeptBallot> ballots;
    for (const history::QualityVote& row : rows) {
        const auto value = parse_json(row.vote_json);
        auto ballot = value ? ballot_of(*value) : std::nullopt;
        if (!ballot) continue;
        ballot->vote_id = row.vote_id;
        ballots.push_back({.ballot = std::move(*ballot), .voted_ms = row.voted_ms});
    }
    return ballots;
}

}  // namespace plimsoll::service
