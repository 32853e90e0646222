// SPDX-License-Identifier: Apache-2.0
#include "workflow/graph.h"

#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace plimsoll::workflow {
namespace {

std::optional<std::int64_t> to_int64(double value) {
    // 2^63 is exact as a double; everything below it fits.
    constexpr double kLimit = 9223372036854775808.0;
    if (!(value >= -kLimit && value < kLimit)) return std::nullopt;
    return static_cast<std::int64_t>(value);
}

std::optional<Number> number_in(const Input* input) {
    if (input == nullptr) return std::nullopt;
    if (const auto* number = std::get_if<Number>(&input->value)) return *number;
    if (const auto* flag = std::get_if<bool>(&input->value)) return Number{*flag ? "1" : "0"};
    if (const auto* text = std::get_if<std::string>(&input->value);
        text != nullptr && parse_number(trim(*text)))
        return Number{std::string(trim(*text))};
    return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> Number::as_int() const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
    if (error == std::errc::result_out_of_range) return std::nullopt;
    const std::optional<double> real = as_double();  // "5.0", "1e3"
    if (!real || *real != std::trunc(*real)) return std::nullopt;
    return to_int64(*real);
}

std::optional<double> Number::as_double() const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
        return std::nullopt;
    return value;
}

const Input* Node::find(std::string_view input) const {
    const auto at = std::ranges::find(inputs, input, &Input::name);
    return at == inputs.end() ? nullptr : &*at;
}

std::optional<std::int64_t> Node::int_of(std::string_view input) const {
    const std::optional<Number> number = number_in(find(input));
    if (!number) return std::nullopt;
    if (const auto exact = number->as_int()) return exact;
    // Digits alone beyond 63 bits are an integer out of range, not a fraction to cut.
    if (number->text.find_first_of(".eE") == std::string::npos) return std::nullopt;
    const std::optional<double> real = number->as_double();
    return real ? to_int64(std::trunc(*real)) : std::nullopt;
}

std::optional<double> Node::number_of(std::string_view input) const {
    const std::optional<Number> number = number_in(find(input));
    return number ? number->as_double() : std::nullopt;
}

std::optional<std::string_view> Node::text_of(std::string_view input) const {
    const Input* found = find(input);
    const auto* text = found == nullptr ? nullptr : std::get_if<std::string>(&found->value);
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(*text);
}

std::optional<bool> Node::bool_of(std::string_view input) const {
    const Input* found = find(input);
    const auto* flag = found == nullptr ? nullptr : std::get_if<bool>(&found->value);
    return flag == nullptr ? std::nullopt : std::optional(*flag);
}

const Link* Node::link_of(std::string_view input) const {
    const Input* found = find(input);
    return found == nullptr ? nullptr : std::get_if<Link>(&found->value);
}

void Graph::index() {
    by_id_.resize(nodes.size());
    std::iota(by_id_.begin(), by_id_.end(), 0U);
    std::ranges::sort(by_id_, {},
                      [this](std::uint32_t at) -> std::string_view { return nodes[at].id; });
}

const Node* Graph::find(std::string_view node_id) const {
    if (by_id_.size() != nodes.size()) {
        const auto at = std::ranges::find(nodes, node_id, &Node::id);
        return at == nodes.end() ? nullptr : &*at;
    }
    const auto at = std::ranges::lower_bound(
        by_id_, node_id, {}, [this](std::uint32_t i) -> std::string_view { return nodes[i].id; });
    return at != by_id_.end() && nodes[*at].id == node_id ? &nodes[*at] : nullptr;
}

}  // namespace plimsoll::workflow
