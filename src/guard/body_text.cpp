// SPDX-License-Identifier: Apache-2.0
#include "guard/body_text.h"

#include "base/text.h"
#include "gateway/comfyui_text.h"
#include "workflow/json_scanner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <ranges>
#include <utility>

namespace plimsoll::guard {

namespace {

using gateway::quote_json;
using workflow::JsonScanner;
using workflow::Span;

struct Member {
    std::string key;
    Span name;  // with its quotes
    Span value;
};
// The members of an object, in order; empty where it is none.
Result<std::vector<Member>> members_of(std::string_view text, std::size_t at) {
    std::vector<Member> members;
    JsonScanner scanner(text);
    scanner.move_to(at);
    if (scanner.peek() != '{') return members;
    TRY_ASSIGN([[maybe_unused]] const Span whole,
               scanner.scan_object([&](std::string key, Span name) -> Result<void> {
                   (void)scanner.peek();  // skips white space
                   TRY_ASSIGN(const Span value, scanner.skip_value());
                   members.push_back({std::move(key), name, value});
                   return {};
               }));
    return members;
}

// Puts items into an array, behind those that are there.
std::string with_items(std::string_view text, const Span& array,
                       const std::vector<std::string>& items) {
    if (items.empty()) return std::string(text);
    const std::string joined = fmt::format("{}", fmt::join(items, ", "));
    const bool is_empty = trim(part(text, {array.begin + 1, array.end - 1})).empty();
    const std::size_t at = array.end - 1;
    return spliced(text, {at, at}, is_empty ? joined : ", " + joined);
}

// The graph of extra_data as ComfyUI keeps it: with the client's id in it.
std::string extra_data_of(const HeldEntry& entry) {
    std::string extra = entry.extra_data ? std::string(part(entry.kept.body, *entry.extra_data))
                                         : std::string("{}");
    if (entry.facts.client.empty()) return extra;
    auto with = with_member(extra, "client_id", quote_json(entry.facts.client));
    return with ? std::move(*with) : std::move(extra);
}

std::string outputs_of(const HeldEntry& entry) {
    std::vector<std::string> quoted;
    quoted.reserve(entry.outputs.size());
    for (const std::string& id : entry.outputs) quoted.push_back(quote_json(id));
    return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::optional<std::int64_t> whole_at(std::string_view text, const Span& span) {
    return parse_integer(part(text, span));
}

}  // namespace

std::string_view part(std::string_view text, const Span& span) {
    return text.substr(span.begin, span.end - span.begin);
}

std::string spliced(std::string_view text, const Span& span, std::string_view with) {
    std::string out;
    out.reserve(text.size() + with.size());
    out += text.substr(0, span.begin);
    out += with;
    out += text.substr(span.end);
    return out;
}

std::optional<Span> find_member(std::string_view text, std::size_t at, std::string_view key) {
    const auto members = members_of(text, at);
    if (!members) return std::nullopt;
    for (const Member& member : std::views::reverse(*members))
        if (member.key == key) return member.value;
    return std::nullopt;
}

std::string with_prompt_id(std::string_view body, const gateway::PromptBody& fields,
                           const std::string& prompt_id) {
    if (fields.prompt_id) return std::string(body);
    if (fields.prompt_id_span) return spliced(body, *fields.prompt_id_span, quote_json(prompt_id));
    const std::size_t at = fields.whole.begin + 1;
    return spliced(body, {at, at}, fmt::format("\"prompt_id\": {}, ", quote_json(prompt_id)));
}

std::string with_prompt(std::string_view body, const gateway::PromptBody& fields,
                        std::string_view prompt) {
    return fields.prompt ? spliced(body, *fields.prompt, prompt) : std::string(body);
}

Result<std::optional<std::string>> without_secrets(std::string_view body,
                                                   const gateway::PromptBody& fields) {
    constexpr std::array<std::string_view, 2> kSecrets{"auth_token_comfy_org", "api_key_comfy_org"};
    if (!fields.extra_data) return std::nullopt;
    TRY_ASSIGN(const auto members, members_of(body, fields.extra_data->begin));
    std::optional<std::string> clean;
    // From the back, so that what lies before keeps its place.
    for (const Member& member : std::views::reverse(members)) {
        if (std::ranges::find(kSecrets, member.key) == kSecrets.end()) continue;
        clean = spliced(clean ? std::string_view(*clean) : body, member.value, "null");
    }
    return clean;
}

std::string queue_item(const HeldEntry& entry) {
    return fmt::format("[{}, {}, {}, {}, {}]", entry.facts.number, quote_json(entry.kept.prompt_id),
                       part(entry.kept.body, entry.prompt), extra_data_of(entry),
                       outputs_of(entry));
}

std::optional<std::string> with_pending(std::string_view answer,
                                        const std::vector<const HeldEntry*>& held) {
    const auto pending = find_member(answer, 0, "queue_pending");
    if (!pending || answer[pending->begin] != '[') return std::nullopt;
    std::vector<std::string> items;
    items.reserve(held.size());
    for (const HeldEntry* const entry : held)
        if (!answer.contains(entry->kept.prompt_id)) items.push_back(queue_item(*entry));
    return with_items(answer, *pending, items);
}

std::optional<std::string> with_remaining(std::string_view answer, std::int64_t more) {
    const auto info = find_member(answer, 0, "exec_info");
    if (!info) return std::nullopt;
    const auto remaining = find_member(answer, info->begin, "queue_remaining");
    const auto count = remaining ? whole_at(answer, *remaining) : std::nullopt;
    if (!count) return std::nullopt;
    return spliced(answer, *remaining, fmt::format("{}", *count + more));
}

std::optional<std::string> with_member(std::string_view object, std::string_view key,
                                       std::string_view value) {
    JsonScanner scanner(object);
    if (scanner.peek() != '{') return std::nullopt;
    const auto whole = scanner.skip_value();
    if (!whole) return std::nullopt;
    const bool is_empty = trim(part(object, {whole->begin + 1, whole->end - 1})).empty();
    const std::size_t at = whole->end - 1;
    return spliced(object, {at, at},
                   fmt::format("{}{}: {}", is_empty ? "" : ", ", quote_json(key), value));
}

namespace {

// Where each member of the object begins; nullopt: no object.
struct Members {
    Span whole;
    std::vector<std::size_t> begins;
};
std::optional<Members> members_of(std::string_view object) {
    JsonScanner scanner(object);
    if (scanner.peek() != '{') return std::nullopt;
    Members members;
    const auto whole = scanner.scan_object([&](const std::string&, Span key) -> Result<void> {
        members.begins.push_back(key.begin);
        (void)scanner.peek();  // skips white space
        TRY_DO(scanner.skip_value());
        return {};
    });
    if (!whole) return std::nullopt;
    members.whole = *whole;
    return members;
}

}  // namespace

std::size_t count_members(std::string_view object) {
    const auto members = members_of(object);
    return members ? members->begins.size() : 0;
}

std::optional<std::string> with_newest_members(std::string_view object, std::size_t count) {
    const auto members = members_of(object);
    if (!members) return std::nullopt;
    const auto& [whole, begins] = *members;
    if (begins.size() <= count) return std::string(object);
    const std::size_t from = count == 0 ? whole.end - 1 : begins[begins.size() - count];
    return spliced(object, {whole.begin + 1, from}, "");
}

std::optional<std::string> without_member(std::string_view object, std::string_view key) {
    const auto members = members_of(object, 0);
    if (!members) return std::nullopt;
    for (std::size_t i = 0; i < members->size(); ++i) {
        if ((*members)[i].key != key) continue;
        // With the comma that parts it from its neighbour.
        const bool is_last = i + 1 == members->size();
        const std::size_t begin =
            is_last && i > 0 ? (*members)[i - 1].value.end : (*members)[i].name.begin;
        const std::size_t end = is_last ? (*members)[i].value.end : (*members)[i + 1].name.begin;
        return spliced(object, {begin, end}, "");
    }
    return std::string(object);
}

std::string without_output(std::string_view answer, std::string_view prompt_id,
                           std::string_view node_id) {
    const auto item = find_member(answer, 0, prompt_id);
    const auto outputs = item ? find_member(answer, item->begin, "outputs") : std::nullopt;
    const auto rest = outputs ? without_member(part(answer, *outputs), node_id) : std::nullopt;
    return rest ? spliced(answer, *outputs, *rest) : std::string(answer);
}

std::string status_message(std::int64_t queue_remaining) {
    return fmt::format(
        R"({{"type": "status", "data": {{"status": {{"exec_info": {{"queue_remaining": {}}}}}}}}})",
        queue_remaining);
}

namespace {

std::string start_data(const LateFailure& failure) {
    return fmt::format(R"({{"prompt_id": {}, "timestamp": {}}})", quote_json(failure.prompt_id),
                       failure.at_ms);
}
std::string error_data(const LateFailure& failure) {
    return fmt::format(R"({{"prompt_id": {}, "node_id": {}, "node_type": {}, "executed": [], )"
                       R"("exception_message": {}, "exception_type": {}, "traceback": [], )"
                       R"("current_inputs": {{}}, "current_outputs": [], "timestamp": {}}})",
                       quote_json(failure.prompt_id), quote_json(failure.node_id),
                       quote_json(failure.class_type), quote_json(failure.message),
                       quote_json(failure.exception_type), failure.at_ms);
}

}  // namespace

std::vector<std::string> failure_messages(const LateFailure& failure) {
    return {fmt::format(R"({{"type": "execution_start", "data": {}}})", start_data(failure)),
            fmt::format(R"({{"type": "execution_error", "data": {}}})", error_data(failure)),
            fmt::format(R"({{"type": "executing", "data": {{"node": null, "prompt_id": {}}}}})",
                        quote_json(failure.prompt_id))};
}

std::string history_item(const LateFailure& failure, const HeldEntry& entry) {
    return fmt::format(
        R"({{"prompt": {}, "outputs": {{}}, "status": {{"status_str": "error", "completed": false, )"
        R"("messages": [["execution_start", {}], ["execution_error", {}]]}}, "meta": {{}}}})",
        queue_item(entry), start_data(failure), error_data(failure));
}

}  // namespace plimsoll::guard
