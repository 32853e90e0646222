// SPDX-License-Identifier: Apache-2.0
//
// What the front end makes of a text when it sends it: the choices and comments of dynamic prompts,
// the fields in file name prefixes (%date:yyyy-MM-dd%, %KSampler.seed%).
//
// Threads: pure.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::workflow {

// A moment on the user's clock.
struct LocalTime {
    int year = 1970;
    int month = 1;
    int day = 1;
    int hour = 0;
    int minute = 0;
    int second = 0;
};

// "a {red|green} cat // note" -> "a red cat ": comments go, of each choice the first is taken (the
// front end takes one by chance), \{ \} \| become plain.
[[nodiscard]] std::string resolve_dynamic_prompt(std::string_view text);

// Answers %NODE.WIDGET% with the widget's value as text; nullopt: the field stays as it is.
using FindWidgetText =
    std::function<std::optional<std::string>(std::string_view node, std::string_view widget)>;

// %date:FORMAT% where the time is known, and %NODE.WIDGET%, with what no file name can hold as _.
[[nodiscard]] std::string replace_fields(std::string_view text, const FindWidgetText& find_widget,
                                         const std::optional<LocalTime>& now);

// "yyyy-MM-dd", "hhmmss"...: runs of d, M, h, m, s as numbers padded to their length, yy or yyyy.
[[nodiscard]] std::string format_date(std::string_view format, const LocalTime& time);

}  // namespace plimsoll::workflow
