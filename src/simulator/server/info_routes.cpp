// SPDX-License-Identifier: Apache-2.0
//
// What the server is and has: system, nodes, models, logs; and the card, which no real one tells.
#include "base/check.h"
#include "simulator/server/answers.h"
#include "simulator/server/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace plimsoll::embedded {
std::string_view simulator_endpoints();
}  // namespace plimsoll::embedded

namespace plimsoll::simulator {

namespace {

const Dict& recorded_endpoints() {
    static const Value all = [] {
        auto parsed = parse_python_json(embedded::simulator_endpoints());
        CHECK(parsed && parsed->as_dict() != nullptr);
        return *parsed;
    }();
    return *all.as_dict();
}
const Dict& folder_paths() {
    return *recorded_endpoints().find("folder_paths")->as_dict();
}

Dict device_entry(const App& app) {
    const Machine& machine = app.machine;
    if (!machine.has_gpu()) {
        const Value total(machine.host_total_bytes());
        const Value free_now(machine.host_free_bytes());
        return {{"name", Value("cpu")},       {"type", Value("cpu")},  {"index", Value()},
                {"vram_total", total},        {"vram_free", free_now}, {"torch_vram_total", total},
                {"torch_vram_free", free_now}};
    }
    const MemoryUse use = machine.memory.use();
    return {{"name", Value(fmt::format("cuda:0 {} : cudaMallocAsync", machine.card.name))},
            {"type", Value("cuda")},
            {"index", Value(0)},
            {"vram_total", Value(use.total)},
            {"vram_free", Value(use.free())},
            {"torch_vram_total", Value(use.reserved)},
            {"torch_vram_free", Value(use.reserved - use.active)}};
}

net::Response get_system_stats(App& app, const RouteRequest&) {
    List argv;
    for (const std::string& word : app.argv()) argv.emplace_back(word);
    const Dict system{
        {"os", Value("posix")},
        {"ram_total", Value(app.machine.host_total_bytes())},
        {"ram_free", Value(app.machine.host_free_bytes())},
        {"comfyui_version", Value("0.3.64")},
        {"required_frontend_version", Value("1.27.10")},
        {"installed_templates_version", Value("0.1.95")},
        {"required_templates_version", Value("0.1.95")},
        {"python_version", Value("3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]")},
        {"pytorch_version", Value("2.8.0+cu128")},
        {"embedded_python", Value(false)},
        {"argv", Value(std::move(argv))}};
    return json_answer(
        Dict{{"system", Value(system)}, {"devices", Value(List{Value(device_entry(app))})}});
}

net::Response get_features(App& app, const RouteRequest&) {
    return json_answer(app.features());
}

net::Response get_object_info(App& app, const RouteRequest&) {
    return json_answer(app.catalogue.object_info());
}
net::Response get_object_info_of(App& app, const RouteRequest& request) {
    return json_answer(app.catalogue.object_info(request.parameter("node_class")));
}

net::Response get_models(App&, const RouteRequest&) {
    List folders;
    for (const auto& [name, paths] : folder_paths()) folders.emplace_back(name);
    return json_answer(std::move(folders));
}

net::Response get_models_in(App& app, const RouteRequest& request) {
    const std::string& folder = request.parameter("folder");
    if (!folder_paths().contains(folder)) return empty_answer(404);
    List names;
    for (const ModelFile* const file : app.models.in_folder(folder)) names.emplace_back(file->name);
    return json_answer(std::move(names));
}

net::Response get_experiment_models(App&, const RouteRequest&) {
    List folders;
    for (const auto& [name, paths] : folder_paths())
        if (name != "configs" && name != "custom_nodes")
            folders.emplace_back(Dict{{"name", Value(name)}, {"folders", paths}});
    return json_answer(std::move(folders));
}

net::Response get_experiment_models_in(App& app, const RouteRequest& request) {
    constexpr double kModified = 1795422060.5;  // chosen: any fixed moment
    const std::string& folder = request.parameter("folder");
    if (!folder_paths().contains(folder)) return empty_answer(404);
    List files;
    for (const ModelFile* const file : app.models.in_folder(folder))
        files.emplace_back(Dict{{"name", Value(file->name)},
                                {"pathIndex", Value(0)},
                                {"modified", Value(kModified)},
                                {"created", Value(kModified)},
                                {"size", Value(file->bytes)}});
    return json_answer(std::move(files));
}

net::Response get_view_metadata(App& app, const RouteRequest& request) {
    const std::string* const name = request.field("filename");
    if (name == nullptr || !name->ends_with(".safetensors")) return empty_answer(404);
    const ModelFile* const file = app.models.find(request.parameter("folder_name"), *name);
    if (file == nullptr || (file->title.empty() && file->architecture.empty()))
        return empty_answer(404);
    Dict metadata;
    if (!file->title.empty()) metadata.set("modelspec.title", file->title);
    if (!file->architecture.empty()) metadata.set("modelspec.architecture", file->architecture);
    return json_answer(std::move(metadata));
}

net::Response get_embeddings(App&, const RouteRequest&) {
    return json_answer(List{});
}
net::Response get_extensions(App&, const RouteRequest&) {
    return json_answer(*recorded_endpoints().find("extensions"));
}
net::Response get_empty_object(App&, const RouteRequest&) {
    return json_answer(Dict{});
}
net::Response get_folder_paths(App&, const RouteRequest&) {
    return json_answer(folder_paths());
}
net::Response get_no_preview(App&, const RouteRequest&) {
    return empty_answer(404);
}

net::Response get_logs(App& app, const RouteRequest&) {
    std::string text;
    for (const LogLine& line : app.log) text += line.time + " - " + line.text;
    return json_answer(text);
}
net::Response get_raw_logs(App& app, const RouteRequest&) {
    List entries;
    for (const LogLine& line : app.log)
        entries.emplace_back(Dict{{"t", Value(line.time)}, {"m", Value(line.text)}});
    return json_answer(Dict{{"entries", Value(std::move(entries))},
                            {"size", Value(Dict{{"cols", Value(80)}, {"rows", Value(24)}})}});
}
net::Response patch_log_subscription(App&, const RouteRequest& request) {
    const auto data = parse_python_json(request.body);
    if (!data || data->get("clientId") == nullptr || data->get("enabled") == nullptr)
        return crash_answer();
    return empty_answer(200);
}

// Plimsoll's own: what only the card knows.
net::Response get_card(App& app, const RouteRequest&) {
    app.machine.pace.rest();
    const MemoryUse use = app.machine.memory.use();
    const HeatReading heat = app.machine.heat.read();
    return json_answer(Dict{{"card", Value(app.machine.card.key)},
                            {"name", Value(app.machine.card.name)},
                            {"total_bytes", Value(use.total)},
                            {"outside_bytes", Value(use.outside)},
                            {"reserved_bytes", Value(use.reserved)},
                            {"active_bytes", Value(use.active)},
                            {"spilled_bytes", Value(use.spilled)},
                            {"left_behind_bytes", Value(use.left)},
                            {"temperature_c", Value(heat.temperature_c)},
                            {"limit_c", Value(heat.limit_c)},
                            {"slowdown_c", Value(heat.slowdown_c)},
                            {"shutdown_c", Value(heat.shutdown_c)},
                            {"power_w", Value(heat.power_w)},
                            {"clock_share", Value(heat.clock_share)},
                            {"utilization", Value(heat.utilization)},
                            {"speed", Value(app.machine.pace.speed())},
                            {"simulated_seconds", Value(app.machine.pace.now())}});
}

// For tests of programs: what goes wrong from now on. Another program's memory is taken (or with a
// negative number given back) at once, and so is the air that the card gets.
net::Response post_faults(App& app, const RouteRequest& request) {
    const auto wish = parse_python_json(request.body);
    if (!wish || wish->as_dict() == nullptr) return text_answer(400, "an object, please");
    const auto number = [&](std::string_view key) -> std::optional<double> {
        const Value* const value = wish->get(key);
        return value == nullptr ? std::nullopt : value->number();
    };
    Faults faults;
    if (const Value* const node = wish->get("oom_at_node"); node != nullptr && node->as_str())
        faults.oom_at_node = *node->as_str();
    if (const auto times = number("oom_times")) faults.oom_times = static_cast<int>(*times);
    if (const auto at = number("restart_at_progress"))
        faults.restart_at_progress = static_cast<int>(*at);
    if (const Value* const node = wish->get("restart_after_node");
        node != nullptr && node->as_str())
        faults.restart_after_node = *node->as_str();
    if (const auto takes = number("restart_takes_ms"))
        faults.restart_takes = std::chrono::milliseconds(static_cast<std::int64_t>(*takes));
    if (const auto at = number("drag_at_progress")) faults.drag_at_progress = static_cast<int>(*at);
    if (const auto drag = number("drag")) faults.drag = *drag;
    if (const auto at = number("spill_at_progress"))
        faults.spill_at_progress = static_cast<int>(*at);
    if (const auto bytes = number("spill_bytes"))
        faults.spill_bytes = static_cast<std::int64_t>(*bytes);
    if (const auto drift = number("drift")) faults.drift = *drift;
    if (const Value* const node = wish->get("drift_at_node"); node != nullptr && node->as_str())
        faults.drift_at_node = *node->as_str();
    if (const auto at = number("creep_at_progress"))
        faults.creep_at_progress = static_cast<int>(*at);
    if (const auto bytes = number("creep_bytes"))
        faults.creep_bytes = static_cast<std::int64_t>(*bytes);
    if (const auto at = number("overheat_at_progress"))
        faults.overheat_at_progress = static_cast<int>(*at);
    if (const auto rise = number("overheat_c")) faults.overheat_c = *rise;
    app.faults.set(std::move(faults));
    if (const auto bytes = number("outside_bytes"))
        app.machine.memory.take_outside(static_cast<std::int64_t>(*bytes));
    if (const auto ambient = number("ambient_c")) app.machine.heat.set_ambient(*ambient);
    return empty_answer(200);
}

// From now on simulated time stands still but for so many seconds; null: it passes freely.
net::Response post_time(App& app, const RouteRequest& request) {
    const auto wish = parse_python_json(request.body);
    const Value* const seconds = wish ? wish->get("grant_seconds") : nullptr;
    const bool is_free = seconds != nullptr && seconds->is_none();
    if (seconds == nullptr || !(is_free || seconds->number().value_or(-1) >= 0))
        return text_answer(400, "grant_seconds, please: a number from 0, or null");
    app.machine.pace.grant(seconds->number());
    return empty_answer(200);
}

constexpr auto kRead = Route::Body::Read;
constexpr auto kNone = Route::Body::Ignored;
constexpr auto kBare = Route::Prefix::Bare;
constexpr std::array<Route, 21> kRoutes{{
    {"GET", "/system_stats", get_system_stats},
    {"GET", "/features", get_features},
    {"GET", "/object_info", get_object_info},
    {"GET", "/object_info/{node_class}", get_object_info_of},
    {"GET", "/models", get_models},
    {"GET", "/models/{folder}", get_models_in},
    {"GET", "/experiment/models", get_experiment_models},
    {"GET", "/experiment/models/{folder}", get_experiment_models_in},
    {"GET", "/experiment/models/preview/{folder}/{path_index}/{filename:*}", get_no_preview},
    {"GET", "/view_metadata/{folder_name}", get_view_metadata},
    {"GET", "/embeddings", get_embeddings},
    {"GET", "/extensions", get_extensions},
    {"GET", "/i18n", get_empty_object},
    {"GET", "/workflow_templates", get_empty_object},
    {"GET", "/internal/folder_paths", get_folder_paths, kNone, kBare},
    {"GET", "/internal/logs", get_logs, kNone, kBare},
    {"GET", "/internal/logs/raw", get_raw_logs, kNone, kBare},
    {"PATCH", "/internal/logs/subscribe", patch_log_subscription, kRead, kBare},
    {"GET", "/plimsoll/card", get_card, kNone, kBare},
    {"POST", "/plimsoll/faults", post_faults, kRead, kBare},
    {"POST", "/plimsoll/time", post_time, kRead, kBare},
}};

}  // namespace

std::span<const Route> info_routes() {
    return kRoutes;
}

}  // namespace plimsoll::simulator
