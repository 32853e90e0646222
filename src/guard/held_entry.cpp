// SPDX-License-Identifier: Apache-2.0
#include "guard/held_entry.h"

#include "gateway/prompt_body.h"
#include "guard/body_text.h"
#include "guard/saved_latent.h"
#include "guard/shape.h"
#include "workflow/parse.h"

#include <utility>

namespace plimsoll::guard {

namespace {

// Without asking ComfyUI the best guess of what it will execute for.
std::vector<std::string> likely_outputs(std::string_view prompt) {
    const auto graph = workflow::parse_api_workflow(prompt);
    auto sinks = graph ? sinks_of(*graph) : std::vector<std::string>();
    std::erase(sinks, kLatentNode);
    return sinks;
}

void note_places(HeldEntry& entry, const gateway::PromptBody& fields) {
    entry.prompt = *fields.prompt;
    entry.extra_data = fields.extra_data;
}

}  // namespace

Result<HeldEntry> make_entry(std::string body, std::string prompt_id, Facts facts,
                             std::int64_t accepted_ms) {
    HeldEntry entry;
    TRY_ASSIGN(auto fields, gateway::parse_prompt_body(body));
    TRY_ASSIGN(auto clean, without_secrets(body, fields));
    if (clean) {
        TRY_ASSIGN(fields, gateway::parse_prompt_body(*clean));
        entry.secret_body = std::exchange(body, std::move(*clean));
    }
    if (!fields.prompt) return fail(Errc::InvalidInput, "the body has no prompt");
    entry.kept.body = std::move(body);
    entry.kept.prompt_id = std::move(prompt_id);
    entry.kept.accepted_ms = accepted_ms;
    note_places(entry, fields);
    entry.outputs = likely_outputs(part(entry.kept.body, entry.prompt));
    entry.facts = std::move(facts);
    entry.facts.client = fields.client_id.value_or("");
    return entry;
}

HeldEntry read_entry(history::HeldJob job) {
    HeldEntry entry{.kept = std::move(job)};
    entry.facts = decode_facts(entry.kept.facts_json);
    if (const auto fields = gateway::parse_prompt_body(entry.kept.body); fields && fields->prompt) {
        note_places(entry, *fields);
        entry.outputs = likely_outputs(part(entry.kept.body, entry.prompt));
    }
    // An earlier process may have sent it and died before it heard of the end.
    entry.unclear = entry.kept.mark.sent;
    return entry;
}

bool exchange_prompt(HeldEntry& entry,
                     const std::function<Result<std::string>(std::string_view)>& change) {
    const auto exchanged = [&](const std::string& body) -> std::optional<std::string> {
        const auto fields = gateway::parse_prompt_body(body);
        if (!fields || !fields->prompt) return std::nullopt;
        const auto prompt = change(part(body, *fields->prompt));
        return prompt ? std::optional(with_prompt(body, *fields, *prompt)) : std::nullopt;
    };
    auto body = exchanged(entry.kept.body);
    auto secret =
        entry.secret_body.empty() ? std::optional(std::string()) : exchanged(entry.secret_body);
    const auto fields = body ? gateway::parse_prompt_body(*body)
                             : Result<gateway::PromptBody>(fail(Errc::InvalidInput, "no prompt"));
    if (!fields || !fields->prompt || !secret) return false;
    entry.kept.body = std::move(*body);
    entry.secret_body = std::move(*secret);
    note_places(entry, *fields);
    return true;
}

}  // namespace plimsoll::guard
