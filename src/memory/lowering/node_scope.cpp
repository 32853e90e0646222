// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/node_scope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

const Value* NodeScope::linked(std::string_view input) const {
    const workflow::Link* link = node_.link_of(input);
    return link == nullptr ? nullptr : value_of_(*link);
}

Value NodeScope::any(std::string_view input) const {
    const Value* value = linked(input);
    return value == nullptr ? Value{Nothing{}} : *value;
}

std::optional<double> NodeScope::number(std::string_view input) const {
    if (const auto literal = node_.number_of(input)) return literal;
    const Value* value = linked(input);
    const auto* held = value == nullptr ? nullptr : std::get_if<NumberValue>(&value->what);
    return held == nullptr ? std::nullopt : std::optional(held->number);
}

std::optional<std::string> NodeScope::text(std::string_view input) const {
    if (const auto literal = node_.text_of(input)) return std::string(*literal);
    const Value* value = linked(input);
    const auto* held = value == nullptr ? nullptr : std::get_if<TextValue>(&value->what);
    return held == nullptr ? std::nullopt : std::optional(held->text);
}

std::optional<int> NodeScope::count(std::string_view input, int low, int high) {
    if (const auto value = number(input)) return clamped(*value, low, high);
    missing(fmt::format("{} of node {} ({}) is computed by a node that is not evaluated", input,
                        node_.id, node_.class_type));
    return std::nullopt;
}

void NodeScope::missing(std::string why) {
    if (why_.empty()) why_ = std::move(why);
}

void NodeScope::explain_absence(std::string_view input, const Value* value) {
    if (value == nullptr)
        return missing(
            fmt::format("{} of node {} ({}) is not connected", input, node_.id, node_.class_type));
    if (const auto* through = std::get_if<PassedOn>(&value->what)) return missing(through->why);
    const auto* absent = std::get_if<Nothing>(&value->what);
    missing(absent != nullptr && !absent->why.empty()
                ? absent->why
                : fmt::format("{} of node {} ({}) is of another kind", input, node_.id,
                              node_.class_type));
}

void NodeScope::step(decltype(Step::what) what) {
    if (const auto* unknown = std::get_if<UnknownStep>(&what))
        program_.unknown_nodes.push_back(
            fmt::format("{} {}: {}", node_.id, node_.class_type, unknown->reason));
    program_.steps.push_back({.node_id = node_.id,
                              .class_type = node_.class_type,
                              .what = std::move(what),
                              .notes = std::move(notes_),
                              .signature = signature_});
    notes_.clear();
}

Value NodeScope::unknown_step() {
    const std::string reason = why_.empty() ? std::string("not understood") : why_;
    step(UnknownStep{reason});
    return {Nothing{reason}};
}

std::uint64_t hash_text(std::uint64_t hash, std::string_view text) {
    constexpr std::uint64_t kPrime = 0x100000001B3ULL;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    return (hash ^ 0xFFU) * kPrime;  // "ab" and "c" are not "a" and "bc"
}

std::uint64_t hash_number(std::uint64_t hash, std::uint64_t number) {
    constexpr std::uint64_t kPrime = 0x100000001B3ULL;
    for (int i = 0; i < 8; ++i, number >>= 8U) hash = (hash ^ (number & 0xFFU)) * kPrime;
    return hash;
}

int clamped(double value, int low, int high) {
    if (std::isnan(value)) return low;
    return static_cast<int>(std::clamp(value, static_cast<double>(low), static_cast<double>(high)));
}

}  // namespace plimsoll::memory
