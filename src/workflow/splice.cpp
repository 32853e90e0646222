// SPDX-License-Identifier: Apache-2.0
#include "workflow/splice.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

namespace plimsoll::workflow {
namespace {

// Replace [at.begin, at.end) by `text`; an empty span inserts.
struct Patch {
    Span at;
    std::string text;
};

std::string quoted_json(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20)
                    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
                else
                    out += c;
        }
    }
    return out + "\"";
}

enum class NumberStyle : std::uint8_t { Free, Integer, Real };

NumberStyle style_of(const Number& number) {
    const bool is_real = number.text.find_first_of(".eEN") != std::string::npos ||  // N: NaN
                         number.text.ends_with("Infinity");
    return is_real ? NumberStyle::Real : NumberStyle::Integer;
}

// Whole numbers up to here are exact as doubles, so that they may change style without changing
// value.
constexpr double kExactMax = 9007199254740992.0;  // 2^53

Result<std::string> number_text(double value, NumberStyle style) {
    if (!std::isfinite(value))
        return fail(Errc::InvalidInput, "a number in a workflow must be finite");
    const bool is_whole = value == std::trunc(value) && std::fabs(value) <= kExactMax;
    if (!is_whole) return fmt::format("{}", value);
    return style == NumberStyle::Integer ? fmt::format("{:.0f}", value)
                                         : fmt::format("{:.1f}", value);
}

Result<std::string> value_text(const EditValue& value, NumberStyle style) {
    if (const auto* whole = std::get_if<std::int64_t>(&value))
        return style == NumberStyle::Real ? fmt::format("{}.0", *whole) : fmt::format("{}", *whole);
    if (const auto* real = std::get_if<double>(&value)) return number_text(*real, style);
    if (const auto* flag = std::get_if<bool>(&value)) return std::string(*flag ? "true" : "false");
    if (const auto* text = std::get_if<std::string>(&value)) return quoted_json(*text);
    const auto& link = std::get<Link>(value);
    return fmt::format("[{}, {}]", quoted_json(link.node_id), link.slot);
}

bool is_same(const Input& input, const EditValue& value) {
    if (const auto* number = std::get_if<Number>(&input.value)) {
        if (const auto* whole = std::get_if<std::int64_t>(&value))
            return number->as_int() == *whole;
        if (const auto* real = std::get_if<double>(&value)) return number->as_double() == *real;
        return false;
    }
    if (const auto* flag = std::get_if<bool>(&input.value)) return value == EditValue(*flag);
    if (const auto* text = std::get_if<std::string>(&input.value)) return value == EditValue(*text);
    if (const auto* link = std::get_if<Link>(&input.value)) return value == EditValue(*link);
    return false;
}

// How the source separates members of an object, taken from the member after which a new one goes.
struct MemberStyle {
    std::string_view before;  // white space in front of the key
    std::string_view colon;   // between key and value
};

MemberStyle style_at(std::string_view source, Span key, std::size_t value_begin) {
    const std::size_t last =
        key.begin == 0 ? std::string_view::npos : source.find_last_not_of(" \t\r\n", key.begin - 1);
    const std::size_t begin = last == std::string_view::npos ? 0 : last + 1;
    return {source.substr(begin, key.begin - begin), source.substr(key.end, value_begin - key.end)};
}

// The edits folded to at most one change a place.
class Folded {
  public:
    explicit Folded(const Graph& graph) : graph_(graph) {}

    Result<void> fold(const Edit& edit) {
        if (const auto* set = std::get_if<SetInput>(&edit)) return fold_input(*set);
        if (const auto* rename = std::get_if<SetClassType>(&edit)) return fold_class(*rename);
        return fold_node(std::get<AddNode>(edit));
    }

    [[nodiscard]] Result<std::vector<Patch>> patches(std::string_view source) const {
        std::vector<Patch> patches;
        for (const auto& [node, inputs] : inputs_)
            TRY_DO(patch_inputs(source, *node, inputs, patches));
        for (const auto& [node, class_type] : classes_)
            if (class_type != node->class_type)
                patches.push_back({node->class_type_span, quoted_json(class_type)});
        TRY_DO(patch_new_nodes(source, patches));
        return patches;
    }

  private:
    using Values = std::vector<std::pair<std::string, EditValue>>;

    static void put(Values& values, const std::string& name, const EditValue& value) {
        const auto at = std::ranges::find(values, name, &Values::value_type::first);
        if (at == values.end())
            values.emplace_back(name, value);
        else
            at->second = value;
    }

    AddNode* added(const std::string& id) {
        const auto at = std::ranges::find(added_, id, &AddNode::node_id);
        return at == added_.end() ? nullptr : &*at;
    }

    [[nodiscard]] Result<const Node*> node_of(const std::string& id) const {
        const Node* node = graph_.find(id);
        if (node == nullptr)
            return fail(Errc::NotFound, fmt::format("workflow has no node {}", quoted_json(id)));
        return node;
    }

    Result<void> fold_input(const SetInput& set) {
        if (AddNode* node = added(set.node_id); node != nullptr) {
            put(node->inputs, set.input, set.value);
            return {};
        }
        TRY_ASSIGN(const Node* node, node_of(set.node_id));
        put(inputs_[node], set.input, set.value);
        return {};
    }

    Result<void> fold_class(const SetClassType& rename) {
        if (AddNode* node = added(rename.node_id); node != nullptr) {
            node->class_type = rename.class_type;
            return {};
        }
        TRY_ASSIGN(const Node* node, node_of(rename.node_id));
        classes_[node] = rename.class_type;
        return {};
    }

    Result<void> fold_node(const AddNode& add) {
        if (graph_.find(add.node_id) != nullptr || added(add.node_id) != nullptr)
            return fail(Errc::InvalidInput,
                        fmt::format("node id {} is taken", quoted_json(add.node_id)));
        added_.push_back(add);
        return {};
    }

    static Result<std::string> members_text(const Values& values, const MemberStyle& style,
                                            std::string_view first_separator) {
        std::string text;
        for (const auto& [name, value] : values) {
            TRY_ASSIGN(const std::string written, value_text(value, NumberStyle::Free));
            text += fmt::format("{}{}{}{}{}", text.empty() ? first_separator : ",", style.before,
                                quoted_json(name), style.colon, written);
        }
        return text;
    }

    static Result<void> patch_inputs(std::string_view source, const Node& node,
                                     const Values& values, std::vector<Patch>& patches) {
        Values missing;
        for (const auto& [name, value] : values) {
            const Input* input = node.find(name);
            if (input == nullptr) {
                missing.emplace_back(name, value);
                continue;
            }
            if (is_same(*input, value)) continue;
            const auto* number = std::get_if<Number>(&input->value);
            TRY_ASSIGN(std::string text, value_text(value, number == nullptr ? NumberStyle::Free
                                                                             : style_of(*number)));
            patches.push_back({input->span, std::move(text)});
        }
        if (missing.empty()) return {};
        if (node.inputs.empty()) {
            TRY_ASSIGN(std::string members, members_text(missing, {" ", ": "}, ""));
            members.erase(0, 1);
            const bool has_object = node.inputs_span.end > node.inputs_span.begin;
            if (has_object)
                patches.push_back(
                    {{node.inputs_span.begin + 1, node.inputs_span.begin + 1}, std::move(members)});
            else
                patches.push_back({{node.class_type_span.end, node.class_type_span.end},
                                   fmt::format(", \"inputs\": {{{}}}", members)});
            return {};
        }
        const Input& last = *std::ranges::max_element(
            node.inputs, {}, [](const Input& input) { return input.span.end; });
        TRY_ASSIGN(std::string members,
                   members_text(missing, style_at(source, last.key_span, last.span.begin), ","));
        patches.push_back({{last.span.end, last.span.end}, std::move(members)});
        return {};
    }

    Result<void> patch_new_nodes(std::string_view source, std::vector<Patch>& patches) const {
        if (added_.empty()) return {};
        if (graph_.nodes.empty())
            return fail(Errc::InvalidInput, "a node cannot be added to a prompt without nodes");
        const Node& last = *std::ranges::max_element(
            graph_.nodes, {}, [](const Node& node) { return node.span.end; });
        const MemberStyle style = style_at(source, last.key_span, last.span.begin);
        std::string text;
        for (const AddNode& node : added_) {
            TRY_ASSIGN(std::string inputs, members_text(node.inputs, {" ", ": "}, ""));
            if (!inputs.empty()) inputs.erase(0, 1);
            text += fmt::format(",{}{}{}{{\"inputs\": {{{}}}, \"class_type\": {}", style.before,
                                quoted_json(node.node_id), style.colon, inputs,
                                quoted_json(node.class_type));
            if (!node.title.empty())
                text += fmt::format(", \"_meta\": {{\"title\": {}}}", quoted_json(node.title));
            text += '}';
        }
        patches.push_back({{last.span.end, last.span.end}, std::move(text)});
        return {};
    }

    const Graph& graph_;
    std::map<const Node*, Values> inputs_;
    std::map<const Node*, std::string> classes_;
    std::vector<AddNode> added_;
};

}  // namespace

Result<std::string> apply_edits(std::string_view source, const Graph& graph,
                                const std::vector<Edit>& edits) {
    if (graph.span.end > source.size())
        return fail(Errc::InvalidInput,
                    "the graph was parsed from another text than the one to be edited");
    Folded folded(graph);
    for (const Edit& edit : edits) TRY_DO(folded.fold(edit));
    TRY_ASSIGN(std::vector<Patch> patches, folded.patches(source));
    // Two patches never share a place: values, class types, and at most one insertion behind each
    // object's last member. An insertion behind a value that is itself replaced sorts behind it.
    std::ranges::sort(patches, {},
                      [](const Patch& patch) { return std::pair(patch.at.begin, patch.at.end); });
    std::string out;
    std::size_t copied = 0;
    for (const Patch& patch : patches) {
        if (patch.at.begin < copied)
            return fail(Errc::InvalidInput,
                        "the graph was parsed from another text than the one to be edited");
        if (!simdjson::validate_utf8(patch.text))
            return fail(Errc::InvalidInput,
                        "names, ids and texts in a workflow must be valid UTF-8");
        out.append(source.substr(copied, patch.at.begin - copied)).append(patch.text);
        copied = patch.at.end;
    }
    return out.append(source.substr(copied));
}

std::string free_node_id(const Graph& graph) {
    std::int64_t highest = 0;
    for (const Node& node : graph.nodes) {
        std::int64_t id = 0;
        const auto [end, error] =
            std::from_chars(node.id.data(), node.id.data() + node.id.size(), id);
        if (error == std::errc() && end == node.id.data() + node.id.size() && id < INT64_MAX)
            highest = std::max(highest, id);
    }
    return std::to_string(highest + 1);
}

}  // namespace plimsoll::workflow
