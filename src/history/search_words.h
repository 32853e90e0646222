// SPDX-License-Identifier: Apache-2.0
//
// Text of a prompt as words, so that a search reads an index instead of every prompt. A word is a
// run of letters and digits, case of ASCII ignored; of Chinese, Japanese and Korean, which put no
// space between words, every character is one, and neighbours in the search are neighbours in what
// is found.
//
// Threads: no shared state.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::history {

inline constexpr std::size_t kSearchWordsMax = 32;  // chosen: of one search
inline constexpr std::size_t kPromptWordsMax =
    4'096;  // chosen: of one prompt; the rest is not found

// The words of a prompt, with a space between each two: what the index is given.
[[nodiscard]] std::string searchable(std::string_view prompt);

// A search: every group must be there, in any order; the words of a group are neighbours. Whole
// words only: the beginning of a common word would have to merge the lists of all that begin so.
struct Search {
    std::vector<std::vector<std::string>> groups;

    [[nodiscard]] static Search of(std::string_view text);
    // In the language of FTS5, for the column of prompts. Empty without words.
    [[nodiscard]] std::string fts_query() const;
    // The same for one prompt, without an index.
    [[nodiscard]] bool finds(std::string_view prompt) const;
};

}  // namespace plimsoll::history
