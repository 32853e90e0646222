// SPDX-License-Identifier: Apache-2.0
//
// Graph: what a workflow draws, parsed from ComfyUI's API format ("prompt"). Every literal
// remembers where its bytes lie in the source text, so that an edit is a splice and everything else
// stays byte for byte (20-digit seeds, 5.0 against 5, key order, spacing). Values are text until
// somebody asks for a number.
#pragma once
#include "base/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plimsoll::workflow {

// Half-open range of bytes in the source text.
struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;
    friend bool operator==(const Span&, const Span&) = default;
};

struct Link {
    std::string node_id;
    int slot = 0;
    friend bool operator==(const Link&, const Link&) = default;
};

// A number as written; int64 and double views on demand.
struct Number {
    std::string text;  // "18446744073709551615", "5.0", "NaN"
    [[nodiscard]] std::optional<std::int64_t> as_int()
        const;  // nullopt when not integral or out of range
    [[nodiscard]] std::optional<double> as_double() const;  // nullopt for NaN / Infinity
};

struct Raw {};  // an object, a list that is no link, or null: kept as bytes only

struct Input {
    std::string name;
    std::variant<Link, Number, std::string, bool, Raw> value;
    Span span;      // of the value in the source text
    Span key_span;  // of the name, its quotes included
};

struct Node {
    std::string id;
    std::string class_type;
    std::string title;          // _meta.title, or empty
    std::vector<Input> inputs;  // in source order
    Span span;                  // of the node's object
    Span key_span;              // of its id, the quotes included
    Span class_type_span;       // of the value, its quotes included
    Span inputs_span;  // of the inputs object, its braces included; empty where the node has none

    [[nodiscard]] const Input* find(std::string_view input) const;
    // As ComfyUI would take them: int() and float() of numbers, of booleans and of text that is a
    // number ("20", " 5.0 "); int_of cuts a fraction off.
    [[nodiscard]] std::optional<std::int64_t> int_of(std::string_view input) const;
    [[nodiscard]] std::optional<double> number_of(std::string_view input) const;
    [[nodiscard]] std::optional<std::string_view> text_of(std::string_view input) const;
    [[nodiscard]] std::optional<bool> bool_of(std::string_view input) const;
    [[nodiscard]] const Link* link_of(std::string_view input) const;
};

// What is wrong with a graph but does not stop a forecast.
struct GraphFault {
    enum class Kind : std::uint8_t { DanglingLink, Cycle } kind;
    std::string node_id;
    std::string input;
    std::string message;
};

struct Graph {
    std::vector<Node> nodes;  // in source order
    std::vector<GraphFault> faults;
    Span span;  // of the object that holds the nodes, its braces included

    [[nodiscard]] const Node* find(std::string_view node_id) const;
    // Makes find() a binary search; the parser calls it. Without it (a graph made by hand) find()
    // looks at every node.
    void index();

  private:
    std::vector<std::uint32_t> by_id_;
};

}  // namespace plimsoll::workflow
