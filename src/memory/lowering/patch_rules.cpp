// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/patch_rules.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr double kExtraMax = 16;        // chosen: patches that each run the model once more
constexpr double kKeptMax = 64;         // chosen: tensors that a patch keeps
constexpr int kWindowMax = 1 << 14;     // cells, as of latents
constexpr std::size_t kBesideMax = 64;  // chosen: files beside a model
constexpr std::size_t kNotesMax = 16;   // chosen: lines for people

class PatchRules {
  public:
    PatchRules(NodeScope& scope, SamplingPatches& patches) : scope_(scope), patches_(patches) {}

    void take(const BuiltModels& models) {
        for (const auto& [name, expression] : scope_.kind().patch) {
            if (name == "beside") {
                take_file(models, expression);
                continue;
            }
            const auto value = scope_.evaluate_number(expression);
            scope_.forgive();
            if (value)
                set(name, *value);
            else
                note(say<"phase.patch_unknown">(name, scope_.node().id));
        }
        if (window_.length > 0) patches_.window = window_;
        if (!scope_.kind().note.empty())
            note(say<"phase.patch_note">(scope_.node().class_type, scope_.node().id,
                                         scope_.kind().note));
    }

  private:
    void note(Phrase phrase) {
        if (patches_.notes.size() < kNotesMax) patches_.notes.push_back(std::move(phrase));
    }

    // A file by its name, or the one that a loader node hands on.
    void take_file(const BuiltModels& models, const std::string& expression) {
        if (patches_.beside.size() >= kBesideMax) return;
        std::string file;
        if (const auto* network =
                scope_.is_linked(expression) ? scope_.look<ModelValue>(expression) : nullptr) {
            const auto at = static_cast<std::size_t>(network->use.model);
            const std::vector<std::string>& files = scope_.program().models[at].files;
            if (!files.empty()) file = files.front();
        } else {
            const auto name = scope_.evaluate(expression);
            scope_.forgive();
            const auto* text = name ? std::get_if<std::string>(&*name) : nullptr;
            if (text != nullptr) file = *text;
        }
        if (file.empty())
            file = fmt::format("what node {} is given as {}", scope_.node().id, expression);
        patches_.beside.push_back(add_lora(scope_, models, file));
    }

    void set(std::string_view name, double value) {
        if (name == "extra_forwards") patches_.extra_forwards += std::clamp(value, 0.0, kExtraMax);
        if (name == "keeps_negative") patches_.keeps_negative |= value != 0;
        if (name == "negative_apart") patches_.negative_apart |= value != 0;
        if (name == "cfg" && value >= 0) patches_.cfg = value;
        if (name == "kept_latents") add(patches_.kept_latents, value);
        if (name == "kept_outputs") add(patches_.kept_outputs, value);
        if (name == "kept_hidden") add(patches_.kept_hidden, value);
        if (name == "attention_scores") patches_.attention_scores |= value != 0;
        if (name == "skip_filter") patches_.skip_filter |= value != 0;
        if (name == "merged_tokens") patches_.merged_tokens = std::clamp(value, 0.0, 1.0);
        if (name.starts_with("window_")) set_window(name.substr(7), value);
    }

    static void add(double& sum, double value) { sum = std::clamp(sum + value, 0.0, kKeptMax); }

    void set_window(std::string_view name, double value) {
        constexpr int kAxisMax = 4;
        if (name == "length") window_.length = clamped(value, 0, kWindowMax);
        if (name == "overlap") window_.overlap = clamped(value, 0, kWindowMax);
        if (name == "stride") window_.stride = clamped(value, 1, kWindowMax);
        if (name == "axis") window_.axis = clamped(value, 0, kAxisMax);
        if (name == "uniform") window_.uniform = value != 0;
        if (name == "batched") window_.batched = value != 0;
        if (name == "leading") window_.leading = value != 0;
    }

    NodeScope& scope_;
    SamplingPatches& patches_;
    ContextWindow window_{.length = 0};
};

constexpr int kTokensMax = 1 << 20;  // chosen: far above any text

// Conditions with the same hooks share a forward; others' weights differ.
void take_hooks(const NodeScope& scope, std::string_view input, ConditionUse& use) {
    const workflow::Input* given = scope.node().find(input);
    if (given == nullptr) return;
    const auto* link = std::get_if<workflow::Link>(&given->value);
    if (link == nullptr) return;
    std::uint64_t id = hash_number(use.control_id, static_cast<std::uint64_t>(link->slot));
    for (const char letter : link->node_id)
        id = hash_number(id, static_cast<unsigned char>(letter));
    use.control_id = id;
}

void take_condition(NodeScope& scope, ConditionUse& use) {
    ConditionArea area;
    bool has_area = false;
    for (const auto& [name, expression] : scope.kind().condition) {
        if (name == "hooks") {
            take_hooks(scope, expression, use);
            continue;
        }
        const auto value = scope.evaluate_number(expression);
        scope.forgive();
        if (!value || !std::isfinite(*value)) continue;
        if (name == "start") use.start = std::clamp(*value, 0.0, 1.0);
        if (name == "more_tokens") use.tokens = clamped(use.tokens + *value, 1, kTokensMax);
        if (name == "end") use.end = std::clamp(*value, 0.0, 1.0);
        const double side = std::clamp(*value, 0.0, static_cast<double>(kSideMax));
        if (name == "area_height") area.height = side;
        if (name == "area_width") area.width = side;
        if (name == "area_frames") area.frames = side;
        if (name == "area_top") area.top = side;
        if (name == "area_left") area.left = side;
        if (name == "area_shares") area.shares = *value != 0;
        has_area = has_area || name == "area_height";
    }
    if (has_area && area.width > 0 && area.height > 0) use.area = area;
}

}  // namespace

LoraIndex add_lora(NodeScope& scope, const BuiltModels& models, const std::string& name) {
    std::vector<ProgramLora>& loras = scope.program().loras;
    const auto known = std::ranges::find(loras, name, &ProgramLora::file);
    if (known != loras.end()) return static_cast<LoraIndex>(known - loras.begin());
    ProgramLora lora{.file = name, .elements = 0, .bytes = {}};
    if (const auto file = models.find(name); file != nullptr && file->contents != nullptr) {
        lora.elements = file->contents->everything.params;
        lora.bytes = file->contents->everything.bytes;
    }
    loras.push_back(std::move(lora));
    return static_cast<LoraIndex>(loras.size() - 1);
}

void apply_patch_rules(NodeScope& scope, const BuiltModels& models, Values& values) {
    const workflow::NodeKind& kind = scope.kind();
    const bool patches = !kind.patch.empty() || !kind.note.empty() || !kind.extra_forwards.empty();
    for (Value& value : values) {
        if (auto* model = std::get_if<ModelValue>(&value.what);
            patches && model != nullptr && model->role == ModelRole::Unet) {
            if (!kind.extra_forwards.empty()) {
                const auto more = scope.evaluate_number(kind.extra_forwards);
                scope.forgive();
                model->patches.extra_forwards += std::clamp(more.value_or(1.0), 0.0, kExtraMax);
            }
            PatchRules(scope, model->patches).take(models);
        }
        if (auto* conditioning = std::get_if<ConditioningValue>(&value.what);
            conditioning != nullptr && !kind.condition.empty())
            for (ConditionUse& use : conditioning->conditions) take_condition(scope, use);
    }
}

}  // namespace plimsoll::memory
