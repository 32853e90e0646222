// SPDX-License-Identifier: Apache-2.0
#include "workflow/expression_functions.h"

#include "base/json.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>
#include <vector>

namespace plimsoll::workflow {

namespace {

using Unsure = std::optional<Scalar>;

// Halves go to the even neighbour, as Python rounds.
double round_half_even(double value) {
    const double below = std::floor(value);
    const double rest = value - below;
    if (rest != 0.5) return rest < 0.5 ? below : below + 1;
    return std::fmod(below, 2.0) == 0 ? below : below + 1;
}

using OfOne = double (*)(double);
constexpr std::array<std::pair<std::string_view, OfOne>, 14> kOfOne = {
    {{"abs", [](double x) { return std::abs(x); }},
     {"round", round_half_even},
     {"floor", [](double x) { return std::floor(x); }},
     {"ceil", [](double x) { return std::ceil(x); }},
     {"trunc", [](double x) { return std::trunc(x); }},
     {"int", [](double x) { return std::trunc(x); }},
     {"float", [](double x) { return x; }},
     {"bool", [](double x) { return x != 0 ? 1.0 : 0.0; }},
     {"sqrt", [](double x) { return std::sqrt(x); }},
     {"exp", [](double x) { return std::exp(x); }},
     {"log", [](double x) { return std::log(x); }},
     {"log2", [](double x) { return std::log2(x); }},
     {"sin", [](double x) { return std::sin(x); }},
     {"cos", [](double x) { return std::cos(x); }}}};

Unsure finite(double value) {
    return std::isfinite(value) ? Unsure(value) : Unsure();
}

Unsure of_numbers(std::string_view name, std::span<const double> x) {
    if (name == "min") return *std::ranges::min_element(x);
    if (name == "max") return *std::ranges::max_element(x);
    if (name == "pow" && x.size() == 2) return finite(std::pow(x[0], x[1]));
    if (name == "log" && x.size() == 2) return finite(std::log(x[0]) / std::log(x[1]));
    if (name == "round" && x.size() == 2) {
        const double unit = std::pow(10.0, std::trunc(x[1]));
        return finite(round_half_even(x[0] * unit) / unit);
    }
    if (x.size() != 1) return {};
    const auto* found = std::ranges::find(kOfOne, name, &std::pair<std::string_view, OfOne>::first);
    return found == kOfOne.end() ? Unsure() : finite(found->second(x[0]));
}

std::string as_text(const Scalar& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return *text;
    return fmt::format("{}", std::get<double>(value));
}

Unsure bounded(std::string text) {
    return text.size() > kScalarBytesMax ? Unsure() : Unsure(Scalar(std::move(text)));
}

Unsure replaced(const std::string& text, const std::string& old, const std::string& by) {
    if (old.empty()) return {};
    std::string result;
    std::size_t from = 0;
    for (;;) {
        const std::size_t at = text.find(old, from);
        result.append(text, from, at == std::string::npos ? at : at - from);
        if (at == std::string::npos) return bounded(std::move(result));
        result += by;
        if (result.size() > kScalarBytesMax) return {};
        from = at + old.size();
    }
}

// "1., 0.99, 0.0" lists three.
double count_numbers(std::string_view text) {
    double count = 0;
    bool inside = false;
    for (const char c : text) {
        const bool part =
            std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '+';
        if (part && !inside) ++count;
        inside = part;
    }
    return count;
}

Unsure json_value(std::string_view text, std::string_view key) {
    const auto document = parse_json(text, {.bytes_max = kScalarBytesMax, .depth_max = 64});
    const json::value* found = document ? find(*document, key) : nullptr;
    if (found == nullptr) return {};
    if (const auto* string = found->if_string()) return bounded(std::string(*string));
    return bounded(json::serialize(*found));
}

Unsure of_texts(std::string_view name, std::span<const Unsure> arguments) {
    std::vector<std::string> t;
    for (const Unsure& argument : arguments) t.push_back(as_text(*argument));
    if (name == "replace" && t.size() == 3) return replaced(t[0], t[1], t[2]);
    if (name == "json" && t.size() == 2) return json_value(t[0], t[1]);
    if (t.size() != 1) return {};
    if (name == "len") return static_cast<double>(t[0].size());
    if (name == "str") return bounded(std::move(t[0]));
    if (name == "strip") return bounded(std::string(trim(t[0])));
    if (name == "numbers") return count_numbers(t[0]);
    const bool upper = name == "upper";
    if (!upper && name != "lower") return {};
    for (char& c : t[0])
        c = static_cast<char>(upper ? std::toupper(static_cast<unsigned char>(c))
                                    : std::tolower(static_cast<unsigned char>(c)));
    return bounded(std::move(t[0]));
}

bool takes_texts(std::string_view name) {
    constexpr std::array<std::string_view, 8> kNames = {"replace", "json",    "len",   "str",
                                                        "strip",   "numbers", "upper", "lower"};
    return std::ranges::find(kNames, name) != kNames.end();
}

}  // namespace

std::optional<Scalar> call_function(std::string_view name,
                                    std::span<const std::optional<Scalar>> arguments) {
    if (name == "default") {
        for (const Unsure& argument : arguments)
            if (argument) return argument;
        return {};
    }
    if (arguments.empty() || std::ranges::any_of(arguments, [](const Unsure& a) { return !a; }))
        return {};
    if (takes_texts(name)) return of_texts(name, arguments);
    std::vector<double> numbers;
    for (const Unsure& argument : arguments) {
        const auto number = number_of(*argument);
        if (!number) return {};
        numbers.push_back(*number);
    }
    return of_numbers(name, numbers);
}

}  // namespace plimsoll::workflow
