// SPDX-License-Identifier: Apache-2.0
#include "gateway/comfyui_text.h"

#include "base/utf8.h"
#include "workflow/json_scanner.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <utility>

namespace plimsoll::gateway {

namespace {

using workflow::JsonScanner;
using workflow::Span;

// The code point at `at` of valid UTF-8; moves behind it.
unsigned next_code(std::string_view text, std::size_t& at) {
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned>(static_cast<unsigned char>(text[i]));
    };
    const unsigned first = byte(at);
    const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    unsigned code = length == 1   ? first
                    : length == 2 ? first & 0x1FU
                    : length == 3 ? first & 0x0FU
                                  : first & 0x07U;
    for (std::size_t i = 1; i < length; ++i) code = code << 6U | (byte(at + i) & 0x3FU);
    at += length;
    return code;
}

// The span of the value of `key` in the object at the cursor; moves behind the object.
Result<std::optional<Span>> member(JsonScanner& scanner, std::string_view key) {
    std::optional<Span> found;
    if (scanner.peek() != '{') return found;
    TRY_DO(scanner.scan_object([&](const std::string& name, Span) -> Result<void> {
        (void)scanner.peek();  // skips white space
        TRY_ASSIGN(const Span span, scanner.skip_value());
        if (name == key) found = span;
        return {};
    }));
    return found;
}

// The span of the value under the keys, one inside the other.
std::optional<Span> at_path(std::string_view text, std::initializer_list<std::string_view> keys) {
    Span span{0, text.size()};
    for (const std::string_view key : keys) {
        JsonScanner scanner(text);
        scanner.move_to(span.begin);
        const auto found = member(scanner, key);
        if (!found || !*found) return std::nullopt;
        span = **found;
    }
    return span;
}

// Both spellings that clients tell JSON from binary by; ComfyUI writes the first.
bool is_status(std::string_view message) {
    return message.starts_with(R"({"type": "status")") ||
           message.starts_with(R"({"type":"status")");
}

// A queue has at most some thousand jobs; 18 digits always fit an int64.
constexpr std::size_t kDigitsMax = 18;

}  // namespace

std::string quote_json(std::string_view text) {
    const std::string valid = valid_utf8(text);
    std::string out = "\"";
    for (std::size_t at = 0; at < valid.size();) {
        const unsigned code = next_code(valid, at);
        switch (code) {
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
            case '\b':
                out += "\\b";
                break;
            case '\f':
                out += "\\f";
                break;
            default:
                if (code >= 0x20 && code < 0x7F)
                    out += static_cast<char>(code);
                else if (code < 0x10000)
                    out += fmt::format("\\u{:04x}", code);
                else
                    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10U),
                                       0xDC00 + ((code - 0x10000) & 0x3FFU));
        }
    }
    return out + '"';
}

std::string encode_node_errors(const std::vector<NodeError>& errors) {
    // One entry for each node, in the order in which they were first named.
    std::vector<std::pair<const NodeError*, std::string>> nodes;
    std::map<std::string_view, std::size_t> place;
    for (const NodeError& one : errors) {
        const auto [at, is_new] = place.emplace(one.node_id, nodes.size());
        if (is_new) nodes.emplace_back(&one, "");
        std::string& list = nodes[at->second].second;
        if (!list.empty()) list += ", ";
        list += fmt::format(R"({{"type": {}, "message": {}, "details": {}, "extra_info": {}}})",
                            quote_json(one.type), quote_json(one.message), quote_json(one.details),
                            one.input.empty()
                                ? "{}"
                                : fmt::format(R"({{"input_name": {}}})", quote_json(one.input)));
    }
    std::string out = "{";
    for (const auto& [node, list] : nodes) {
        if (out.size() > 1) out += ", ";
        std::string outputs;
        for (const std::string& id : node->dependent_outputs)
            outputs += (outputs.empty() ? "" : ", ") + quote_json(id);
        out += fmt::format(R"({}: {{"errors": [{}], "dependent_outputs": [{}], "class_type": {}}})",
                           quote_json(node->node_id), list, outputs, quote_json(node->class_type));
    }
    return out + "}";
}

Answer encode_refusal(const Refusal& refusal) {
    return {.status = refusal.status,
            .headers = refusal.headers,
            .body = fmt::format(
                R"({{"error": {{"type": {}, "message": {}, "details": {}, "extra_info": {{}}}}, )"
                R"("node_errors": {}}})",
                quote_json(refusal.type), quote_json(refusal.message), quote_json(refusal.details),
                refusal.node_errors.empty() ? "{}" : refusal.node_errors)};
}

Answer encode_held(const Hold& hold) {
    return {.status = 200,
            .headers = hold.answer_headers,
            .body = fmt::format(R"({{"prompt_id": {}, "number": {}, "node_errors": {}}})",
                                quote_json(hold.prompt_id), hold.number.empty() ? "0" : hold.number,
                                hold.node_errors.empty() ? "{}" : hold.node_errors)};
}

std::string with_node_errors(std::string_view answer, std::string_view node_errors) {
    const std::string as_it_is(answer);
    if (node_errors.empty() || node_errors == "{}" || !is_utf8(answer)) return as_it_is;
    const auto span = at_path(answer, {"node_errors"});
    if (!span) return as_it_is;
    JsonScanner scanner(answer);
    scanner.move_to(span->begin);
    if (!scanner.take('{') || !scanner.take('}')) return as_it_is;
    std::string out(answer.substr(0, span->begin));
    out += node_errors;
    out += answer.substr(span->end);
    return out;
}

std::optional<std::string> raise_queue_remaining(std::string_view message, std::int64_t more) {
    if (more == 0 || !is_status(message) || !is_utf8(message)) return std::nullopt;
    const auto span = at_path(message, {"data", "status", "exec_info", "queue_remaining"});
    if (!span || span->end - span->begin > kDigitsMax) return std::nullopt;
    std::int64_t value = 0;
    const char* const end = message.data() + span->end;
    const auto [stopped, error] = std::from_chars(message.data() + span->begin, end, value);
    if (error != std::errc() || stopped != end) return std::nullopt;
    return fmt::format("{}{}{}", message.substr(0, span->begin), value + more,
                       message.substr(span->end));
}

bool is_about_a_run(std::string_view message) {
    // SwarmUI's rule for what is JSON: `type` comes first, in one of two spellings.
    for (const std::string_view begin : {R"({"type": ")", R"({"type":")", R"({ "type": ")"}) {
        if (!message.starts_with(begin)) continue;
        const std::string_view rest = message.substr(begin.size());
        // executing, executed, execution_start, ...; execution_success and _cached are not asked
        // about, which costs nothing but a look.
        return rest.starts_with("execut");
    }
    return false;
}

std::optional<std::string> sid_of_status(std::string_view message) {
    if (!is_status(message) || !is_utf8(message)) return std::nullopt;
    const auto span = at_path(message, {"data", "sid"});
    if (!span) return std::nullopt;
    JsonScanner scanner(message);
    scanner.move_to(span->begin);
    if (scanner.peek() != '"') return std::nullopt;
    auto text = scanner.scan_string();
    if (!text) return std::nullopt;
    return std::move(*text);
}

}  // namespace plimsoll::gateway
