// SPDX-License-Identifier: Apache-2.0
//
// Prompts: queue them, look at them, stop them, remember them.
#include "base/text.h"
#include "simulator/server/answers.h"
#include "simulator/server/routes.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>

namespace plimsoll::simulator {

namespace {

// json_data['number'] as float() takes it; nullopt where that raises.
std::optional<double> as_float(const Value& value) {
    if (const auto number = value.number()) return number;
    if (const auto* const text = value.as_str()) return parse_number(trim(*text));
    return std::nullopt;
}

Value no_prompt() {
    return Dict{{"error", Value(Dict{{"type", Value("no_prompt")},
                                     {"message", Value("No prompt provided")},
                                     {"details", Value("No prompt provided")},
                                     {"extra_info", Value(Dict{})}})},
                {"node_errors", Value(Dict{})}};
}

// The number of a prompt: given, or the next one, negative for the front of the queue.
std::optional<Value> take_number(App& app, const Value& data) {
    if (const Value* const given = data.get("number")) {
        const auto number = as_float(*given);
        if (!number) return std::nullopt;
        return Value(*number);
    }
    const long long number = app.next_number++;
    const Value* const front = data.get("front");
    return Value(std::int64_t{front != nullptr && front->truthy() ? -number : number});
}

std::optional<std::string> check_file(const App& app, std::string_view class_name,
                                      std::string_view name) {
    const auto path = app.store.annotated_path(name);
    std::error_code ignored;
    if (path && std::filesystem::exists(*path, ignored)) return std::nullopt;
    return fmt::format("Invalid {} file: {}", class_name == "LoadLatent" ? "latent" : "image",
                       name);
}

net::Response post_prompt(App& app, const RouteRequest& request) {
    auto parsed = parse_python_json(request.body);
    if (!parsed || parsed->is_none() || parsed->number()) return crash_answer();
    const auto number = take_number(app, *parsed);
    if (!number) return crash_answer();
    // `"prompt" in x` is true of a string that contains the word; what follows then raises.
    if (const auto* const text = parsed->as_str(); text != nullptr && text->contains("prompt"))
        return crash_answer();
    Dict* const data = parsed->as_dict();
    Value* const prompt = data == nullptr ? nullptr : data->find("prompt");
    if (prompt == nullptr) return json_answer(no_prompt(), 400);
    const Value* const given_id = data->find("prompt_id");
    const std::string id = given_id == nullptr ? app.ids.next_uuid() : python_str(*given_id);
    const Validation validation =
        validate_prompt(app.catalogue, *prompt, data->find("partial_execution_targets"),
                        [&](std::string_view class_name, std::string_view name) {
                            return check_file(app, class_name, name);
                        });
    if (validation.crash) return crash_answer();
    Dict extra_data;
    if (const Value* const extra = data->find("extra_data")) {
        if (extra->as_dict() == nullptr) return crash_answer();
        extra_data = *extra->as_dict();
    }
    if (const Value* const client = data->find("client_id")) extra_data.set("client_id", *client);
    if (!validation.valid)
        return json_answer(Dict{{"error", Value(validation.error)},
                                {"node_errors", Value(validation.node_errors)}},
                           400);
    app.queue.put({.number = *number,
                   .id = id,
                   .prompt = *prompt,
                   .extra_data = std::move(extra_data),
                   .outputs = validation.outputs});
    return json_answer(Dict{{"prompt_id", Value(id)},
                            {"number", *number},
                            {"node_errors", Value(validation.node_errors)}});
}

net::Response get_prompt(App& app, const RouteRequest&) {
    return json_answer(app.queue_status());
}

net::Response get_queue(App& app, const RouteRequest&) {
    return json_answer(app.queue.as_dict());
}

bool says(const Value& data, std::string_view key) {
    const Value* const value = data.get(key);
    return value != nullptr && value->truthy();
}

// Calls the function with every id of data["delete"].
template <class Delete>
void each_deleted(const Value& data, const Delete& remove) {
    const Value* const ids = data.get("delete");
    if (ids == nullptr || ids->as_list() == nullptr) return;
    for (const Value& id : *ids->as_list())
        if (id.as_str() != nullptr) remove(*id.as_str());
}

net::Response post_queue(App& app, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (!data || data->is_none() || data->number()) return crash_answer();
    if (says(*data, "clear")) app.queue.clear();
    each_deleted(*data, [&](const std::string& id) { app.queue.remove(id); });
    return empty_answer(200);
}

net::Response post_interrupt(App& app, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (data && data->as_dict() == nullptr) return crash_answer();
    const Value* const id = data ? data->get("prompt_id") : nullptr;
    const bool targeted = id != nullptr && id->truthy();
    const auto running = app.queue.running_id();
    if (!targeted || (running && Value(*running) == *id)) app.executor.interrupt();
    return empty_answer(200);
}

net::Response post_free(App& app, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (!data || data->as_dict() == nullptr) return crash_answer();
    const PromptQueue::Flags flags{.unload_models = says(*data, "unload_models"),
                                   .free_memory = says(*data, "free_memory")};
    if (flags.unload_models || flags.free_memory) app.queue.set_flags(flags);
    return empty_answer(200);
}

net::Response get_history(App& app, const RouteRequest& request) {
    std::optional<long long> max_items;
    long long offset = -1;
    if (const std::string* const text = request.field("max_items")) {
        max_items = parse_integer(trim(*text));
        if (!max_items) return crash_answer();
    }
    if (const std::string* const text = request.field("offset")) {
        const auto number = parse_integer(trim(*text));
        if (!number) return crash_answer();
        offset = *number;
    }
    return json_answer(app.queue.history(max_items, offset));
}

net::Response get_history_of(App& app, const RouteRequest& request) {
    return json_answer(app.queue.history_of(request.parameter("prompt_id")));
}

net::Response post_history(App& app, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (!data || data->is_none() || data->number()) return crash_answer();
    if (says(*data, "clear")) app.queue.clear_history();
    each_deleted(*data, [&](const std::string& id) { app.queue.remove_history(id); });
    return empty_answer(200);
}

constexpr auto kRead = Route::Body::Read;
constexpr std::array<Route, 9> kRoutes{{
    {"GET", "/prompt", get_prompt},
    {"POST", "/prompt", post_prompt, kRead},
    {"GET", "/queue", get_queue},
    {"POST", "/queue", post_queue, kRead},
    {"POST", "/interrupt", post_interrupt, kRead},
    {"POST", "/free", post_free, kRead},
    {"GET", "/history", get_history},
    {"POST", "/history", post_history, kRead},
    {"GET", "/history/{prompt_id}", get_history_of},
}};

}  // namespace

std::span<const Route> prompt_routes() {
    return kRoutes;
}

}  // namespace plimsoll::simulator
