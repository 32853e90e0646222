// SPDX-License-Identifier: Apache-2.0
//
// The newest answers to questions whose answer is a function of what was asked and where: a page
// asks the same forecast again and again. Model files may change under an answer, so that it is
// believed for a short time only.
//
// Threads: any.
#pragma once
#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace plimsoll::api {

inline constexpr std::size_t kAnswersKept = 64;  // chosen: a page of sliders has under ten
inline constexpr std::size_t kAnswerBytesKept = 2U << 20U;
inline constexpr std::chrono::seconds kAnswerBelief{2};  // chosen: a person does not see it

class AnswerCache {
  public:
    explicit AnswerCache(const Clock& clock) : clock_(clock) {}

    // `place` is what the answer was made for: an answer of another one is none.
    [[nodiscard]] std::optional<std::string> find(std::string_view question,
                                                  const std::shared_ptr<const void>& place);
    void keep(std::string question, std::shared_ptr<const void> place, std::string answer);

  private:
    struct Entry {
        std::string question;
        std::shared_ptr<const void> place;
        std::string answer;
        std::chrono::nanoseconds until;
    };
    void drop(std::list<Entry>::iterator entry);

    const Clock& clock_;
    std::mutex mutex_;
    std::list<Entry> entries_;  // newest first
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_question_;
    std::size_t bytes_ = 0;
};

}  // namespace plimsoll::api
