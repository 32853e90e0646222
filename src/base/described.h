// SPDX-License-Identifier: Apache-2.0
//
// From a JSON object to a struct whose members Boost.Describe knows: one rule for every
// configuration that is data, instead of a reader for each.
#pragma once
#include "base/json.h"

#include <fmt/format.h>
#include <boost/describe.hpp>
#include <boost/mp11.hpp>

#include <array>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

namespace detail {

inline constexpr std::size_t kDescribedListMax = 4096;  // chosen: layers of the deepest network

[[nodiscard]] inline std::unexpected<Error> wrong_kind(std::string_view key,
                                                       std::string_view kind) {
    return fail(Errc::InvalidInput, fmt::format("{} must be {}", key, kind));
}

template <class Member>
Result<void> read_member(const json::value& from, std::string_view key, Member& into);

inline Result<void> read_bool(const json::value& from, std::string_view key, bool& into) {
    if (!from.is_bool()) return wrong_kind(key, "true or false");
    into = from.get_bool();
    return {};
}

inline Result<void> read_text(const json::value& from, std::string_view key, std::string& into) {
    if (!from.is_string()) return wrong_kind(key, "text");
    into = std::string(from.get_string());
    return {};
}

template <std::integral Int>
Result<void> read_whole(const json::value& from, std::string_view key, Int& into) {
    boost::system::error_code error;
    const auto value = from.to_number<std::int64_t>(error);  // a whole double counts
    if (error || value < std::numeric_limits<Int>::min() || value > std::numeric_limits<Int>::max())
        return wrong_kind(key, "a whole number");
    into = static_cast<Int>(value);
    return {};
}

inline Result<void> read_number(const json::value& from, std::string_view key, double& into) {
    boost::system::error_code error;
    into = from.to_number<double>(error);
    if (error) return wrong_kind(key, "a number");
    return {};
}

template <class Item>
Result<void> read_list(const json::value& from, std::string_view key, std::vector<Item>& into) {
    if (!from.is_array()) return wrong_kind(key, "a list");
    const json::array& items = from.get_array();
    if (items.size() > kDescribedListMax)
        return fail(Errc::LimitExceeded, fmt::format("{} lists {} items, {} are the most", key,
                                                     items.size(), kDescribedListMax));
    into.clear();
    into.resize(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) TRY_DO(read_member(items[i], key, into[i]));
    return {};
}

template <class Item, std::size_t N>
Result<void> read_array(const json::value& from, std::string_view key, std::array<Item, N>& into) {
    if (!from.is_array() || from.get_array().size() != N)
        return wrong_kind(key, fmt::format("a list of {}", N));
    for (std::size_t i = 0; i < N; ++i) TRY_DO(read_member(from.get_array()[i], key, into[i]));
    return {};
}

}  // namespace detail

// Sets the members of `into` that the object names and leaves the others as they are; keys that are
// no member are ignored. null empties an optional and sets any other member to its zero.
// InvalidInput names the member that has another type.
template <class Struct>
Result<void> read_described(const json::value& from, Struct& into) {
    if (!from.is_object()) return detail::wrong_kind("a configuration", "an object");
    Result<void> result;
    boost::mp11::mp_for_each<boost::describe::describe_members<
        Struct, boost::describe::mod_public | boost::describe::mod_inherited>>([&](auto member) {
        const json::value* value = find(from, member.name);
        if (value == nullptr || !result) return;
        result = detail::read_member(*value, member.name, into.*member.pointer);
    });
    return result;
}

namespace detail {

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class Member>
Result<void> read_member(const json::value& from, std::string_view key, Member& into) {
    if (from.is_null()) {
        into = Member{};
        return {};
    }
    if constexpr (std::same_as<Member, bool>)
        return read_bool(from, key, into);
    else if constexpr (std::same_as<Member, std::string>)
        return read_text(from, key, into);
    else if constexpr (std::integral<Member>)
        return read_whole(from, key, into);
    else if constexpr (std::same_as<Member, double>)
        return read_number(from, key, into);
    else if constexpr (kIsOptional<Member>)
        return read_member(from, key, into.emplace());
    else if constexpr (boost::describe::has_describe_members<Member>::value)
        return read_described(from, into);
    else if constexpr (requires { into.resize(0); })
        return read_list(from, key, into);
    else
        return read_array(from, key, into);
}

}  // namespace detail

}  // namespace plimsoll
