// SPDX-License-Identifier: Apache-2.0
//
// Blind votes between pictures of a session: the pair to ask about next, what was answered, and
// what all answers together say.
//
// Enters through: Store.   Leaves through: BlindPair, VoteCount.   Threads: as the Store.
#pragma once
#include "base/error.h"
#include "base/random.h"
#include "history/store.h"
#include "quality/lab/session.h"
#include "quality/votes/bradley_terry.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

inline constexpr std::size_t kPairsListedMax = 500;     // chosen: an evening of looking
inline constexpr std::size_t kBallotsAtOnceMax = 5000;  // chosen: of one file

// A pair to be judged blind: which is which is not told before the vote.
struct BlindPair {
    std::string session_id;
    quality::Block block;
    std::size_t block_index = 0;
    std::string prompt;
    quality::Cell left;
    quality::Cell right;
};

// A pair with the id that its vote is to have: the same file taken in twice counts once.
struct NumberedPair {
    std::string vote_id;
    BlindPair pair;
};
using PairList = std::vector<NumberedPair>;

struct Ballot {
    std::string
        vote_id;  // the caller's, so that the same vote sent twice counts once; may be empty
    quality::Cell left;
    quality::Cell right;
    quality::Preferred preferred = quality::Preferred::Neither;  // First: left
    std::string voter = {};                                      // who; empty: nobody said
};
inline constexpr std::size_t kVoterBytesMax = 64;  // chosen

// A vote as it was kept; nullopt where the text is none.
struct CastVote {
    quality::Vote vote;
    std::string voter;
};
[[nodiscard]] std::optional<CastVote> parse_vote(std::string_view text);

struct KeptBallot {
    Ballot ballot;
    std::int64_t voted_ms = 0;
};

struct VoteCount {
    quality::Standings standings;
    std::vector<std::size_t> candidates;  // that votes are about: with pictures of a shared block
};

// NotFound where no block has pictures of two settings.
[[nodiscard]] Result<BlindPair> next_blind_pair(const quality::Session& session,
                                                history::Store& store);
// `count` pairs to be judged in one sitting, each chosen as if those before it had ended without a
// preference; the first is next_blind_pair's. At most kPairsListedMax.
[[nodiscard]] Result<PairList> next_blind_pairs(const quality::Session& session,
                                                history::Store& store, std::size_t count,
                                                Random& ids);
// InvalidInput unless both pictures are of one block and were drawn. A ballot without an id gets
// one of `ids`.
[[nodiscard]] Result<VoteCount> cast_vote(const quality::Session& session, history::Store& store,
                                          const Ballot& ballot, std::int64_t now_ms, Random& ids);
// All or none: the first that is wrong is told by its number. LimitExceeded above
// kBallotsAtOnceMax.
[[nodiscard]] Result<VoteCount> cast_votes(const quality::Session& session, history::Store& store,
                                           std::span<const Ballot> ballots, std::int64_t now_ms,
                                           Random& ids);
// A file of votes: {"ballots": [...]} as they are listed, or {"pairs": [...]} with `preferred`
// filled in; pairs that were not judged (null) are left out. Corrupt, with its number, where one is
// wrong.
[[nodiscard]] Result<std::vector<Ballot>> parse_ballots(std::string_view text);
// Oldest first.
[[nodiscard]] Result<std::vector<KeptBallot>> list_ballots(const quality::Session& session,
                                                           history::Store& store);
[[nodiscard]] Result<VoteCount> count_votes(const quality::Session& session, history::Store& store);

}  // namespace plimsoll::service
