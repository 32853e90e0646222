// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/executor.h"

#include "base/byte_source.h"
#include "base/clock.h"
#include "simulator/prompt/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace plimsoll::simulator {

namespace {

constexpr int kPreviewQuality = 95;    // JPEG
constexpr double kCollectEveryS = 10;  // ComfyUI empties torch's cache at most so often
constexpr std::uint64_t kHashBytesMax = 256ULL << 20U;
constexpr std::string_view kTips =
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you "
    "might have accidentally set the batch_size to a large number.";

// What traceback.format_tb would list, without lines of source: those are ComfyUI's own.
List make_traceback(std::string_view class_type) {
    List lines;
    for (const std::string_view function :
         {"execute", "get_output_data", "_async_map_node_over_list", "process_inputs"})
        lines.emplace_back(fmt::format("  File \"/comfyui/execution.py\", in {}\n", function));
    lines.emplace_back(fmt::format("  File \"/comfyui/nodes.py\", in {}\n", class_type));
    return lines;
}

void append_big_endian(std::string& into, std::size_t value) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) into += static_cast<char>(value >> shift);
}

List to_list(const std::set<std::string>& ids) {
    List list;
    for (const std::string& id : ids) list.emplace_back(id);
    return list;
}

// Runs an action when the scope is left.
class AtExit {
  public:
    explicit AtExit(std::function<void()> action) : action_(std::move(action)) {}
    ~AtExit() { action_(); }
    AtExit(const AtExit&) = delete;
    AtExit& operator=(const AtExit&) = delete;

  private:
    std::function<void()> action_;
};

}  // namespace

Executor::Executor(Machine& machine, const ModelFiles& files, FileStore& store,
                   const NodeCatalogue& catalogue, PromptQueue& queue, MessageHub& hub,
                   FaultBoard& faults, std::uint64_t seed)
    : machine_(machine),
      files_(files),
      store_(store),
      catalogue_(catalogue),
      queue_(queue),
      hub_(hub),
      faults_(faults),
      random_(seed ^ 0xE8ECULL) {}

const std::string& Executor::temp_prefix_of(const std::string& id) {
    std::string& prefix = temp_prefixes_[id];
    if (!prefix.empty()) return prefix;
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstupvxyz";
    prefix = "ComfyUI_temp_";
    for (int i = 0; i < 5; ++i) prefix += kLetters[random_.next_u64() % kLetters.size()];
    return prefix;
}

void Executor::run() {
    while (!machine_.pace.stopped()) {
        const auto queued = queue_.take();
        if (machine_.pace.stopped()) return;
        if (queued) {
            machine_.pace.rest();
            execute(*queued);
            if (machine_.pace.stopped()) return;
        }
        obey_flags();
    }
}

void Executor::obey_flags() {
    const PromptQueue::Flags flags = queue_.take_flags();
    if (flags.unload_models || flags.free_memory) {
        machine_.manager.unload_all();
        machine_.memory.collect_left_behind();
        last_collect_ = -kCollectEveryS;
    }
    if (flags.free_memory) cache_.clear();
    if (machine_.pace.now() - last_collect_ > kCollectEveryS) {
        last_collect_ = machine_.pace.now();
        machine_.manager.collect();
        machine_.memory.empty_cache();
    }
}

void Executor::execute(const QueuedPrompt& queued) {
    interrupted_ = false;
    const Value* const client = queued.extra_data.find("client_id");
    hub_.set_running(client == nullptr || client->is_none() ? std::nullopt
                                                            : std::optional(python_str(*client)));
    faults_.begin_job(machine_.pace.now());
    machine_.pace.set_drag(1);
    const AtExit fan_turns([&] { machine_.heat.set_rise(std::nullopt); });
    Job job{.queued = queued, .progress = ProgressState(queued.id), .executed = {}, .messages = {}};
    const Value id(queued.id);
    const Dict& prompt = *queued.prompt.as_dict();
    add_message(job, "execution_start", {{"prompt_id", id}}, false);
    if (machine_.flags.cache_none) cache_.clear();
    cache_.begin(prompt, [&](const std::string& class_type, const Value& inputs) {
        return is_changed(class_type, inputs);
    });
    machine_.manager.collect();
    std::erase_if(temp_prefixes_, [&](const auto& item) { return !prompt.contains(item.first); });
    List cached;
    for (const auto& [node, ignored] : prompt)
        if (cache_.find(node) != nullptr) cached.emplace_back(node);
    add_message(job, "execution_cached", {{"nodes", Value(std::move(cached))}, {"prompt_id", id}},
                false);
    ExecutionList list(
        prompt, [&](const std::string& node) { return cache_.find(node) != nullptr; },
        [&](const std::string& node) {
            const NodeClass* const known = catalogue_.find(class_of(job, node));
            return known != nullptr && known->is_output;
        });
    for (const std::string& output : queued.outputs) list.add(output);
    bool success = true;
    while (!list.empty() && success) {
        const auto node = list.pick();
        if (!node) break;  // cannot be: validation refuses cycles
        success = execute_node(job, *node);
        if (machine_.pace.stopped()) return;
        list.complete(*node);
    }
    if (faults_.is_dead()) return;  // whoever is dead says nothing more
    if (success) add_message(job, "execution_success", {{"prompt_id", id}}, false);
    hub_.set_last_node(std::nullopt);
    if (!machine_.flags.smart_memory) machine_.manager.unload_all();
    queue_.finish(queued, finish(job, success));
    if (const auto owner = hub_.client_id())
        hub_.send_json("executing", {{"node", Value()}, {"prompt_id", id}}, owner);
}

Finished Executor::finish(Job& job, bool success) const {
    Finished finished;
    finished.success = success;
    finished.messages = job.messages;
    for (const auto& [node, ignored] : *job.queued.prompt.as_dict()) {
        const NodeCache::Entry* const entry = cache_.find(node);
        if (entry == nullptr || !entry->ui) continue;
        finished.outputs.set(node, Value(*entry->ui));
        finished.meta.set(node, Value(*entry->meta));
    }
    return finished;
}

std::string Executor::class_of(const Job& job, const std::string& id) const {
    const Value* const node = job.queued.prompt.get(id);
    const Value* const class_type = node == nullptr ? nullptr : node->get("class_type");
    return class_type == nullptr ? std::string() : python_str(*class_type);
}

bool Executor::execute_node(Job& job, const std::string& id) {
    const auto owner = hub_.client_id();
    const Value prompt_id(job.queued.id);
    const auto executed = [&](Value output) {
        hub_.send_json("executed",
                       {{"node", Value(id)},
                        {"display_node", Value(id)},
                        {"output", std::move(output)},
                        {"prompt_id", prompt_id}},
                       owner);
    };
    if (const NodeCache::Entry* const entry = cache_.find(id)) {
        if (owner) executed(entry->ui ? Value(*entry->ui) : Value());
        job.progress.finish(id);
        send_progress_state(job);
        return true;
    }
    job.progress.start(id);
    send_progress_state(job);
    const NodeInputs inputs = gather_inputs(job, id);
    if (owner) {
        hub_.set_last_node(id);
        hub_.send_json("executing",
                       {{"node", Value(id)}, {"display_node", Value(id)}, {"prompt_id", prompt_id}},
                       owner);
    }
    NodeOutcome outcome = call_node(job, id, inputs);
    if (!outcome) {
        if (outcome.error().kind != NodeFailure::Kind::Stopped)
            fail_node(job, id, inputs, outcome.error());
        return false;
    }
    if (faults_.dies_after(id)) return false;
    NodeCache::Entry entry{.outputs = std::move(outcome->outputs), .ui = {}, .meta = {}};
    if (outcome->ui && !outcome->ui->empty()) {
        entry.ui = outcome->ui;
        entry.meta = Dict{{"node_id", Value(id)},
                          {"display_node", Value(id)},
                          {"parent_node", Value()},
                          {"real_node_id", Value(id)}};
        if (owner) executed(Value(*outcome->ui));
    }
    cache_.put(id, std::move(entry));
    job.progress.finish(id);
    send_progress_state(job);
    job.executed.insert(id);
    return true;
}

NodeInputs Executor::gather_inputs(const Job& job, const std::string& id) const {
    NodeInputs inputs;
    const NodeClass* const node_class = catalogue_.find(class_of(job, id));
    const Value* const given = job.queued.prompt.get(id)->get("inputs");
    if (node_class == nullptr || given == nullptr || given->as_dict() == nullptr) return inputs;
    for (const auto& [name, value] : *given->as_dict()) {
        if (is_link(value)) {
            const List& link = *value.as_list();
            const NodeCache::Entry* const source = cache_.find(*link[0].as_str());
            const double slot = link[1].number().value_or(0);
            if (source == nullptr || slot < 0 ||
                slot >= static_cast<double>(source->outputs.size()))
                continue;
            inputs.all.emplace_back(name, source->outputs[static_cast<std::size_t>(slot)]);
        } else if (std::ranges::find(node_class->inputs, name, &InputSpec::name) !=
                   node_class->inputs.end()) {
            inputs.all.emplace_back(name, value);
        }
    }
    return inputs;
}

NodeOutcome Executor::call_node(Job& job, const std::string& id, const NodeInputs& inputs) {
    if (interrupted_.exchange(false))
        return std::unexpected(NodeFailure{NodeFailure::Kind::Interrupted, {}, {}, false});
    const std::string class_type = class_of(job, id);
    if (faults_.take_oom(id))
        return raise_out_of_memory(machine_.memory.out_of_memory(1LL << 30U).text);
    const NodeFunction function = find_node_function(class_type);
    if (function == nullptr)
        return raise(
            "NotImplementedError",
            fmt::format("the simulated ComfyUI knows the node {} but cannot run it", class_type));
    NodeContext context{.machine = machine_,
                        .files = files_,
                        .store = store_,
                        .id = id,
                        .prompt = job.queued.prompt,
                        .extra_data = job.queued.extra_data,
                        .temp_prefix = temp_prefix_of(id),
                        .patch_counter = patch_counter_,
                        .progress =
                            [&](const Value& done, const Value& total, const Preview* preview) {
                                return report_progress(job, id, done, total, preview);
                            },
                        .send_text =
                            [&](std::string_view text) {
                                std::string payload;
                                append_big_endian(payload, id.size());
                                payload += id;
                                payload += text;
                                hub_.send_binary(BinaryEvent::Text, payload, std::nullopt);
                            }};
    machine_.activation_factor = faults_.drift(id);
    machine_.pace.on_tick = [&](double now) { faults_.tick(now, machine_.memory); };
    const AtExit reset([&] { machine_.pace.on_tick = nullptr; });
    faults_.tick(machine_.pace.now(), machine_.memory);
    return function(context, inputs);
}

NodeStep Executor::report_progress(Job& job, const std::string& id, const Value& done,
                                   const Value& total, const Preview* preview) {
    if (machine_.pace.stopped()) return stopped();
    if (interrupted_.exchange(false))
        return std::unexpected(NodeFailure{NodeFailure::Kind::Interrupted, {}, {}, false});
    const auto owner = hub_.client_id();
    job.progress.update(id, done, total);
    send_progress_state(job);
    std::string encoded;
    if (preview != nullptr)
        encoded = preview->png ? encode_png(preview->pixels, {}, 1)
                               : encode_jpeg(preview->pixels, kPreviewQuality);
    // A client that asked for metadata gets its picture before the progress, others after it.
    const bool metadata = preview != nullptr && hub_.supports_preview_metadata(owner);
    if (metadata) send_preview(job, id, *preview, encoded, BinaryEvent::PreviewWithMetadata);
    hub_.send_json(
        "progress",
        {{"value", done}, {"max", total}, {"prompt_id", Value(job.queued.id)}, {"node", Value(id)}},
        owner);
    if (preview != nullptr && !metadata)
        send_preview(job, id, *preview, encoded, BinaryEvent::PreviewImage);
    if (faults_.count_progress(machine_.memory)) return stopped();
    machine_.pace.set_drag(faults_.drag(machine_.memory));
    machine_.heat.set_rise(faults_.overheat());
    if (!faults_.creep(machine_.memory))
        return raise_out_of_memory(machine_.memory.out_of_memory(faults_.get().creep_bytes).text);
    return {};
}

void Executor::send_preview(const Job& job, const std::string& id, const Preview& preview,
                            const std::string& encoded, BinaryEvent event) {
    std::string payload;
    if (event == BinaryEvent::PreviewImage) {
        append_big_endian(payload, preview.png ? 2 : 1);
    } else {
        const std::string metadata =
            dump_python_json(Dict{{"node_id", Value(id)},
                                  {"prompt_id", Value(job.queued.id)},
                                  {"display_node_id", Value(id)},
                                  {"parent_node_id", Value()},
                                  {"real_node_id", Value(id)},
                                  {"image_type", Value(preview.png ? "image/png" : "image/jpeg")}});
        append_big_endian(payload, metadata.size());
        payload += metadata;
    }
    hub_.send_binary(event, payload + encoded, hub_.client_id());
}

void Executor::fail_node(Job& job, const std::string& id, const NodeInputs& inputs,
                         const NodeFailure& failure) {
    Dict data{{"prompt_id", Value(job.queued.id)},
              {"node_id", Value(id)},
              {"node_type", Value(class_of(job, id))},
              {"executed", Value(to_list(job.executed))}};
    if (failure.kind == NodeFailure::Kind::Interrupted)
        return add_message(job, "execution_interrupted", std::move(data), true);
    if (failure.out_of_memory) machine_.manager.unload_all();
    data.set("exception_message",
             failure.text + "\n" + (failure.out_of_memory ? std::string(kTips) : ""));
    data.set("exception_type", failure.type);
    data.set("traceback", make_traceback(class_of(job, id)));
    Dict shown;
    for (const auto& [name, value] : inputs.all) shown.set(name, List{describe(value)});
    data.set("current_inputs", Value(std::move(shown)));
    List all;
    for (const auto& [node, ignored] : *job.queued.prompt.as_dict()) all.emplace_back(node);
    data.set("current_outputs", Value(std::move(all)));
    add_message(job, "execution_error", std::move(data), false);
}

void Executor::add_message(Job& job, std::string_view event, Dict data, bool broadcast) {
    data.set("timestamp", Value(system_clock().unix_ms()));
    job.messages.emplace_back(List{Value(event), Value(data)});
    const auto owner = hub_.client_id();
    if (owner || broadcast) hub_.send_json(event, data, owner);
}

void Executor::send_progress_state(const Job& job) {
    hub_.send_json("progress_state", job.progress.message(), hub_.client_id());
}

std::string Executor::is_changed(const std::string& class_type, const Value& inputs) {
    // Says the time, and a node that fails to say anything: never the same twice.
    if (class_type == "SaveImageWebsocket" || class_type == "FixtureBadIsChanged")
        return fmt::format("{}", ++unique_);
    const bool is_latent = class_type == "LoadLatent";
    if (class_type != "LoadImage" && class_type != "LoadImageMask" && !is_latent) return "";
    const Value* const name = inputs.get(is_latent ? "latent" : "image");
    if (name == nullptr || name->as_str() == nullptr) return "";
    const auto path = store_.annotated_path(*name->as_str());
    const auto bytes = path ? read_text_file(*path, kHashBytesMax) : Result<std::string>("");
    return fmt::format("{}", bytes ? std::hash<std::string>{}(*bytes) : 0);
}

}  // namespace plimsoll::simulator
