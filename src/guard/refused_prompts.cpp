// SPDX-License-Identifier: Apache-2.0
#include "guard/refused_prompts.h"

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

namespace {

std::size_t bytes_of(const HeldEntry& entry) {
    return entry.kept.body.size() + entry.secret_body.size();
}

}  // namespace

bool RefusedPrompts::keep(HeldEntry entry) {
    erase(entry.kept.prompt_id);
    if (bytes_of(entry) > kRefusedBytesMax) return false;
    prompts_.push_front(std::move(entry));
    std::size_t bytes = 0;
    for (const HeldEntry& one : prompts_) bytes += bytes_of(one);
    while (prompts_.size() > kRefusedMax || bytes > kRefusedBytesMax) {
        bytes -= bytes_of(prompts_.back());
        prompts_.pop_back();
    }
    return true;
}

const HeldEntry* RefusedPrompts::find(std::string_view prompt_id) const {
    const auto found = std::ranges::find_if(
        prompts_, [&](const HeldEntry& one) { return one.kept.prompt_id == prompt_id; });
    return found == prompts_.end() ? nullptr : &*found;
}

bool RefusedPrompts::erase(std::string_view prompt_id) {
    return std::erase_if(prompts_, [&](const HeldEntry& one) {
               return one.kept.prompt_id == prompt_id;
           }) != 0;
}

}  // namespace plimsoll::guard
