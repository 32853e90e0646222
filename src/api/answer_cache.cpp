// SPDX-License-Identifier: Apache-2.0
#include "api/answer_cache.h"

#include <utility>

namespace plimsoll::api {

std::optional<std::string> AnswerCache::find(std::string_view question,
                                             const std::shared_ptr<const void>& place) {
    const std::lock_guard lock(mutex_);
    const auto found = by_question_.find(question);
    if (found == by_question_.end()) return std::nullopt;
    const auto entry = found->second;
    if (entry->place != place || clock_.steady() > entry->until) {
        drop(entry);
        return std::nullopt;
    }
    entries_.splice(entries_.begin(), entries_, entry);
    return entry->answer;
}

void AnswerCache::keep(std::string question, std::shared_ptr<const void> place,
                       std::string answer) {
    const std::lock_guard lock(mutex_);
    const std::size_t size = question.size() + answer.size();
    if (size > kAnswerBytesKept / 4) return;
    if (const auto same = by_question_.find(question); same != by_question_.end())
        drop(same->second);
    entries_.push_front({std::move(question), std::move(place), std::move(answer),
                         clock_.steady() + kAnswerBelief});
    by_question_[entries_.front().question] = entries_.begin();
    bytes_ += size;
    while (entries_.size() > kAnswersKept || bytes_ > kAnswerBytesKept)
        drop(std::prev(entries_.end()));
}

void AnswerCache::drop(std::list<Entry>::iterator entry) {
    bytes_ -= entry->question.size() + entry->answer.size();
    by_question_.erase(entry->question);
    entries_.erase(entry);
}

}  // namespace plimsoll::api
