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
#include <string>
#include <vector>

namespace plimsoll::service {

// A pair to be judged blind: which is which is not told before the vote.
struct BlindPair {
    std::string session_id;
    quality::Block block;
    std::size_t block_index = 0;
    std::string prompt;
    quality::Cell left;
    quality::Cell right;
};

struct Ballot {
    std::string
        vote_id;  // the caller's, so that the same vote sent twice counts once; may be empty
    quality::Cell left;
    quality::Cell right;
    quality::Preferred preferred = quality::Preferred::Neither;  // First: left
};

struct VoteCount {
    quality::Standings standings;
    std::vector<std::size_t> candidates;  // that votes are about: with pictures of a shared block
};

// NotFound where no block has pictures of two settings.
[[nodiscard]] Result<BlindPair> next_blind_pair(const quality::Session& session,
                                                history::Store& store);
// InvalidInput unless both pictures are of one block and were drawn. A ballot without an id gets
// one of `ids`.
[[nodiscard]] Result<VoteCount> cast_vote(const quality::Session& session, history::Store& store,
                                          const Ballot& ballot, std::int64_t now_ms, Random& ids);
[[nodiscard]] Result<VoteCount> count_votes(const quality::Session& session, history::Store& store);

}  // namespace plimsoll::service
