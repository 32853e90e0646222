// SPDX-License-Identifier: Apache-2.0
//
// JSON as Python's json module sees and writes it, because ComfyUI's answers show it: 5 stays apart
// from 5.0, integers are not bounded by 64 bits, NaN and Infinity are numbers, keys keep their
// order, text is escaped to ASCII, separators are ", " and ": ".
//
// Enters through: bytes of a request.   Leaves through: Value.   Threads: values share nothing.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace plimsoll::simulator {

// Python's integers have no bound; ours end far above any seed. Larger ones are refused on parsing.
using Int = __int128;

class Value;
using List = std::vector<Value>;

// A dict: unique keys in the order of their first appearance.
class Dict {
  public:
    using Item = std::pair<std::string, Value>;
    Dict();
    Dict(std::initializer_list<Item> items);
    Dict(const Dict&);
    Dict(Dict&&) noexcept;
    Dict& operator=(const Dict&);
    Dict& operator=(Dict&&) noexcept;
    ~Dict();

    [[nodiscard]] const Value* find(std::string_view key) const;
    [[nodiscard]] Value* find(std::string_view key);
    [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }
    // The value under the key; None is put there first when it is new.
    Value& operator[](std::string_view key);
    void set(std::string_view key, Value value);
    void erase(std::string_view key);
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] bool empty() const;
    [[nodiscard]] std::vector<Item>::const_iterator begin() const;
    [[nodiscard]] std::vector<Item>::const_iterator end() const;
    [[nodiscard]] std::vector<Item>::iterator begin();
    [[nodiscard]] std::vector<Item>::iterator end();
    bool operator==(const Dict& other) const;

  private:
    std::vector<Item> items_;
};

class Value {
  public:
    using Data = std::variant<std::monostate, bool, Int, double, std::string, List, Dict>;
    Value() = default;
    // NOLINTBEGIN(google-explicit-constructor): JSON is written as Dict{{"a", 1}}
    Value(bool value) : data_(value) {}
    Value(int value) : data_(Int(value)) {}
    Value(std::int64_t value) : data_(Int(value)) {}
    Value(std::uint64_t value) : data_(Int(value)) {}
    Value(Int value) : data_(value) {}
    Value(double value) : data_(value) {}
    Value(const char* value) : data_(std::string(value)) {}
    Value(std::string_view value) : data_(std::string(value)) {}
    Value(std::string value) : data_(std::move(value)) {}
    Value(List value) : data_(std::move(value)) {}
    Value(Dict value) : data_(std::move(value)) {}
    // NOLINTEND(google-explicit-constructor)

    [[nodiscard]] bool is_none() const { return data_.index() == 0; }
    [[nodiscard]] const bool* as_bool() const { return std::get_if<bool>(&data_); }
    [[nodiscard]] const Int* as_int() const { return std::get_if<Int>(&data_); }
    [[nodiscard]] const double* as_float() const { return std::get_if<double>(&data_); }
    [[nodiscard]] const std::string* as_str() const { return std::get_if<std::string>(&data_); }
    [[nodiscard]] const List* as_list() const { return std::get_if<List>(&data_); }
    [[nodiscard]] List* as_list() { return std::get_if<List>(&data_); }
    [[nodiscard]] const Dict* as_dict() const { return std::get_if<Dict>(&data_); }
    [[nodiscard]] Dict* as_dict() { return std::get_if<Dict>(&data_); }
    // Int, float or bool as a number.
    [[nodiscard]] std::optional<double> number() const;
    // A dict's value; nullptr for anything else.
    [[nodiscard]] const Value* get(std::string_view key) const;
    // Truth as Python's `if` sees it.
    [[nodiscard]] bool truthy() const;
    // `type(x).__name__`
    [[nodiscard]] std::string_view type_name() const;
    [[nodiscard]] const Data& data() const { return data_; }

    bool operator==(const Value& other) const;

  private:
    Data data_;
};

// Here, because an Item is complete only now.
inline std::size_t Dict::size() const {
    return items_.size();
}
inline bool Dict::empty() const {
    return items_.empty();
}
inline std::vector<Dict::Item>::const_iterator Dict::begin() const {
    return items_.begin();
}
inline std::vector<Dict::Item>::const_iterator Dict::end() const {
    return items_.end();
}
inline std::vector<Dict::Item>::iterator Dict::begin() {
    return items_.begin();
}
inline std::vector<Dict::Item>::iterator Dict::end() {
    return items_.end();
}

// json.loads of the bytes of a body. Corrupt for what Python refuses, broken UTF-8 included;
// LimitExceeded for nesting beyond 900 (Python's own recursion limit is near) and integers beyond
// 38 digits.
[[nodiscard]] Result<Value> parse_python_json(std::string_view text);
// json.dumps with Python's default separators.
[[nodiscard]] std::string dump_python_json(const Value& value);

// repr(x): what error texts show.
[[nodiscard]] std::string python_repr(const Value& value);
// str(x): repr but for text.
[[nodiscard]] std::string python_str(const Value& value);
[[nodiscard]] std::string python_repr(double value);
[[nodiscard]] std::string to_decimal(Int value);

}  // namespace plimsoll::simulator
