// SPDX-License-Identifier: Apache-2.0
#include "memory/trace/question.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory::trace {

namespace {

constexpr std::int64_t kBatchMax = 4096;      // of its EmptyLatentImage
constexpr std::int64_t kTokensMax = 1 << 16;  // chosen: 850 chunks of 77
constexpr int kPixelsPerCell = 8;

Result<int> read_count(const json::value& line, std::string_view key, int fallback,
                       std::int64_t max) {
    const json::value* field = find(line, key);
    if (field == nullptr || field->is_null()) return fallback;
    const auto value = find_int(line, key);
    if (!value || *value < 0 || *value > max) {
        return fail(Errc::InvalidInput,
                    fmt::format("{} must be a whole number up to {}", key, max));
    }
    return static_cast<int>(*value);
}

Result<std::string> read_text(const json::value& line, std::string_view key,
                              std::string_view fallback = {}) {
    const json::value* field = find(line, key);
    if (field == nullptr || field->is_null()) return std::string(fallback);
    if (const auto text = find_string(line, key)) return std::string(*text);
    return fail(Errc::InvalidInput, fmt::format("{} must be text", key));
}

Result<ComputeType> compute_type(std::string_view name) {
    if (const auto type = parse_compute_type(name)) return *type;
    return fail(Errc::InvalidInput, fmt::format("no element type named {:?}", name));
}

// The type at the end of a name: "dev_fp8_e4m3fn" ends in "fp8_e4m3fn", "dev_fp16" in "fp16".
std::string_view stored_type(std::string_view name) {
    for (std::size_t at = 0; at < name.size(); ++at) {
        const bool starts = at == 0 || name[at - 1] == '_';
        if (starts && parse_compute_type(name.substr(at))) return name.substr(at);
    }
    return name;
}

// "fp16", or "fp8_e4m3fn->fp16": stored in, computed in. Variants say it too:
// "fp8_store_cast_fp16", "fp16w_fp32c".
Result<Types> read_types(std::string_view dtype, std::string_view variant) {
    Types types;
    if (const auto arrow = dtype.find("->"); arrow != std::string_view::npos) {
        types.scaled_fp8 = dtype.substr(0, arrow) == "scaled_fp8";
        TRY_ASSIGN(types.storage, types.scaled_fp8 ? ComputeType::Float8E4M3
                                                   : compute_type(dtype.substr(0, arrow)));
        TRY_ASSIGN(types.compute, compute_type(dtype.substr(arrow + 2)));
        types.compute_named = true;
        return types;
    }
    TRY_ASSIGN(types.compute, compute_type(dtype.empty() ? "fp16" : dtype));
    types.storage = types.compute;
    constexpr std::string_view kStore = "_store_cast_";  // "dev_fp8_store_cast_bf16"
    if (const auto store = variant.find(kStore); store != std::string_view::npos) {
        TRY_ASSIGN(types.storage, compute_type(stored_type(variant.substr(0, store))));
        TRY_ASSIGN(types.compute, compute_type(variant.substr(store + kStore.size())));
    }
    if (const auto split = variant.find("w_");
        split != std::string_view::npos && variant.ends_with('c')) {
        TRY_ASSIGN(types.storage, compute_type(variant.substr(0, split)));
        TRY_ASSIGN(types.compute,
                   compute_type(variant.substr(split + 2, variant.size() - split - 3)));
    }
    return types;
}

}  // namespace

int version_key(std::string_view version) {
    std::array<int, 3> parts{};
    std::size_t index = 0;
    for (const char c : version) {
        if (c == '.') {
            if (++index == parts.size()) break;
        } else if (c >= '0' && c <= '9' && parts[index] < 100) {
            parts[index] = parts[index] * 10 + (c - '0');
        }
    }
    return parts[0] * 1'000'000 + parts[1] * 1000 + parts[2];
}

namespace {

// A denoiser's variant may say, after the network's name, how it is run: "schnell_fp16",
// "t2v_fp8_store_cast_bf16". What is left names the network.
void take_way_of_running(Question& q) {
    const std::string_view variant = q.variant;
    // A ControlNet is a network more, which the family looks for.
    if (is_way_of_running(variant) || contains(variant, "controlnet")) return;
    for (std::size_t at = variant.find('_'); at != std::string_view::npos;
         at = variant.find('_', at + 1)) {
        if (!names_network(variant, variant.substr(0, at))) continue;
        q.variant.resize(at);
        return;
    }
}

ForwardRules read_rules(const json::value& line, const Question& q) {
    ForwardRules rules;
    if (const auto version = find_string(line, "comfyui"))
        rules.comfyui_minor_key = version_key(*version);
    rules.math_attention_in_vae = find_string(line, "attention") == "math";
    rules.efficient_attention = contains(q.variant, "effattn");
    rules.fused_rms_norm = contains(q.variant, "fusedrms");
    rules.accounting = q.recorder == 'a' ? Accounting::CastsApart : Accounting::CastsIncluded;
    return rules;
}

Result<double> read_vram(const json::value& line) {
    const json::value* const field = find(line, "total_vram_gib");
    if (field == nullptr || field->is_null()) return 0.0;
    constexpr double kMost = 1 << 20;  // chosen: a petabyte
    boost::system::error_code error;
    const double value = field->to_number<double>(error);
    if (error || !(value > 0 && value <= kMost))
        return fail(Errc::InvalidInput, "total_vram_gib must be a number above 0");
    return value;
}

Result<void> read_sizes(const json::value& line, Question& q) {
    TRY_ASSIGN(q.width, read_count(line, "width", 0, kPixelsMax));
    TRY_ASSIGN(q.height, read_count(line, "height", 0, kPixelsMax));
    TRY_ASSIGN(q.batch, read_count(line, "batch", 1, kBatchMax));
    TRY_ASSIGN(q.tokens, read_count(line, "tokens", 77, kTokensMax));
    TRY_ASSIGN(q.frames, read_count(line, "frames", 1, kPixelsMax));
    TRY_ASSIGN(q.audio_latents, read_count(line, "audio_latents", 0, kPixelsMax));
    if (q.batch == 0 || q.tokens == 0 || q.frames == 0)
        return fail(Errc::InvalidInput, "batch, tokens and frames must be at least 1");
    q.latent_width = q.width / kPixelsPerCell;
    q.latent_height = q.height / kPixelsPerCell;
    return {};
}

}  // namespace

Result<Question> read_question(const json::value& line) {
    Question q;
    TRY_ASSIGN(q.family, read_text(line, "family"));
    TRY_ASSIGN(q.variant, read_text(line, "variant", "base"));
    TRY_ASSIGN(q.phase, read_text(line, "phase"));
    TRY_ASSIGN(q.call, read_text(line, "call"));
    TRY_ASSIGN(q.note, read_text(line, "note"));
    TRY_ASSIGN(const std::string recorder, read_text(line, "recorder", "a"));
    TRY_ASSIGN(const std::string dtype, read_text(line, "dtype"));
    q.recorder = recorder.empty() ? 'a' : recorder.front();
    TRY_DO(read_sizes(line, q));
    TRY_ASSIGN(q.types, read_types(dtype, q.variant));
    q.rules = read_rules(line, q);
    q.one_cond = contains(q.variant, "cfg1");
    if (q.phase == "unet_step") take_way_of_running(q);
    TRY_ASSIGN(q.total_vram_gib, read_vram(line));
    if (const json::value* config = find(line, "config"); config != nullptr && config->is_object())
        q.config = config;
    return q;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

std::unexpected<Error> unknown(const Question& q) {
    return fail(Errc::NotFound,
                fmt::format("family {:?}, variant {:?}, phase {:?} is not simulated", q.family,
                            q.variant, q.phase));
}

bool is_way_of_running(std::string_view variant) {
    constexpr std::array<std::string_view, 13> kNames = {"base",
                                                         "fp32",
                                                         "fp16",
                                                         "bf16",
                                                         "odd_size",
                                                         "sampling_function",
                                                         "sampling_function_cfg1",
                                                         "sens_effattn",
                                                         "tile",
                                                         "sens_fusedrms",
                                                         "with_controlnet",
                                                         "sampling_function+controlnet",
                                                         "full"};
    if (std::find(kNames.begin(), kNames.end(), variant) != kNames.end()) return true;
    const bool context =
        variant.starts_with("ctx") && variant.size() > 3 &&
        variant.substr(3).find_first_not_of("0123456789") == std::string_view::npos;
    const auto store = variant.find("_store_cast_");
    return context || (store != std::string_view::npos &&
                       parse_compute_type(variant.substr(0, store)).has_value());
}

bool names_network(std::string_view variant, std::string_view name) {
    if (!variant.starts_with(name)) return false;
    variant.remove_prefix(name.size());
    if (variant.empty()) return true;
    return variant.starts_with('_') && is_way_of_running(variant.substr(1));
}

int take_references(std::string_view& variant) {
    constexpr std::string_view kEnd = "ref";
    constexpr std::size_t kLength = 2 + kEnd.size();  // "_2ref"
    if (variant.size() < kLength || !variant.ends_with(kEnd)) return 0;
    const std::string_view ending = variant.substr(variant.size() - kLength);
    if (ending[0] != '_' || ending[1] < '1' || ending[1] > '9') return 0;
    variant.remove_suffix(kLength);
    return ending[1] - '0';
}

Result<void> check_size(const Question& q) {
    if (q.latent_width < 1 || q.latent_height < 1)
        return fail(Errc::InvalidInput, "width and height must be at least 8");
    return {};
}

Result<StepCall> step_call(const Question& q) {
    TRY_DO(check_size(q));
    StepCall call;
    if (q.batch % 2 != 0 || q.one_cond) call.conds = 1;
    call.batch = q.batch;
    call.latent_height = q.latent_height;
    call.latent_width = q.latent_width;
    call.tokens = q.tokens;
    call.storage = q.types.storage;
    call.compute = q.types.compute;
    call.rules = q.rules;
    return call;
}

namespace {

Result<StepEntry> step_entry(const Question& q) {
    if (q.call.empty() || q.call == "apply_model") return StepEntry::ApplyModel;
    if (q.call == "forward") return StepEntry::Forward;
    if (q.call == "sampling_function") return StepEntry::SamplingFunction;
    return fail(Errc::NotFound, fmt::format("call {:?} of a denoiser is not simulated", q.call));
}

}  // namespace

Walk with_buffers(const Question& q, const Network& network, Walk walk) {
    if (q.recorder == 'a') return walk;
    for (const ModuleEntry& module : network.modules()) walk.params += module.buffer_elements;
    return walk;
}

// For apply_model the recorders counted those of ComfyUI's model object too.
Result<Walk> answer_step(const Question& q, const Denoiser& model, StepCall call) {
    TRY_ASSIGN(call.entry, step_entry(q));
    Walk walk = with_buffers(q, model, simulate_step(model, call));
    if (q.recorder == 'a' || q.call != "apply_model") return walk;
    for (const ModuleEntry& buffer : model.model_buffers()) {
        walk.params += buffer.elements;
        walk.weights += buffer.weights(q.types.storage);
    }
    return walk;
}

}  // namespace plimsoll::memory::trace
