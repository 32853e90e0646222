// SPDX-License-Identifier: Apache-2.0
#include "service/launch.h"

#include "base/text.h"

#include <fmt/format.h>

namespace plimsoll::service {

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    for (const std::string_view word : split(text, ' '))
        if (!trim(word).empty()) words.emplace_back(trim(word));
    return words;
}

std::vector<std::string> with_reserve(const std::vector<std::string>& flags, Bytes reserve) {
    constexpr std::string_view kFlag = "--reserve-vram";
    std::vector<std::string> out;
    for (std::size_t i = 0; i < flags.size(); ++i) {
        if (flags[i] == kFlag)
            ++i;  // and its value
        else if (!flags[i].starts_with(std::string(kFlag) + "="))
            out.push_back(flags[i]);
    }
    out.emplace_back(kFlag);
    out.push_back(fmt::format("{:.1f}", reserve.gib()));
    return out;
}

}  // namespace plimsoll::service
