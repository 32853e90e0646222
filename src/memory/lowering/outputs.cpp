// SPDX-License-Identifier: Apache-2.0
//
// What comes out of a node as the catalogue describes it: inputs handed on, and shapes, numbers and
// texts computed from what came in.
#include "memory/lowering/verbs.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::MadeShape;
using workflow::NodeOutput;

constexpr int kChannelsMax = 1 << 16;       // chosen: far above any latent's
constexpr int kStepsMax = 10'000;           // ComfyUI's own limit
constexpr int kTokensMax = 1 << 20;         // chosen: far above any text
constexpr std::size_t kReferencesMax = 16;  // chosen: no node takes as many

// Sets a field where the catalogue has an expression for it; false where that is not known.
bool set(NodeScope& scope, const std::string& expression, int high, int& field) {
    if (expression.empty()) return true;
    const auto value = scope.evaluate_count(expression, 1, high);
    if (value) field = *value;
    return value.has_value();
}

// The first of the inputs that `name` means.
std::string_view first_of(const NodeScope& scope, std::string_view name) {
    const auto inputs = scope.inputs_of(name);
    return inputs.empty() ? name : inputs.front();
}

std::optional<LatentShape> make_latent(NodeScope& scope, const MadeShape& made) {
    LatentShape latent;
    latent.height = latent.width = 1;
    if (!made.like.empty()) {
        const bool own = made.like == "encoded" && scope.encoded();
        const auto* like =
            own ? &*scope.encoded() : scope.get<LatentShape>(first_of(scope, made.like));
        if (like == nullptr) return std::nullopt;
        latent = *like;
    }
    if (made.pixels_per_cell > 0) latent.pixels_per_cell = made.pixels_per_cell;
    if (made.samples_per_cell > 0) latent.samples_per_cell = made.samples_per_cell;
    if (made.frames_per_cell > 0) latent.frames_per_cell = made.frames_per_cell;
    if (!set(scope, made.batch, kBatchMax, latent.batch) ||
        !set(scope, made.channels, kChannelsMax, latent.channels) ||
        !set(scope, made.frames, kFramesMax, latent.frames) ||
        !set(scope, made.height, kSideMax, latent.height) ||
        !set(scope, made.width, kSideMax, latent.width))
        return std::nullopt;
    for (const auto& [expression, field] :
         {std::pair{&made.sound, &latent.sound}, std::pair{&made.guides, &latent.guides},
          std::pair{&made.kept, &latent.kept}}) {
        if (expression->empty()) continue;
        const auto value = scope.evaluate_count(*expression, 0, kFramesMax);
        if (!value) return std::nullopt;
        *field = *value;
    }
    // Chosen: far above any card, and what walks count in 64 bits stays in them.
    constexpr double kCellsMax = static_cast<double>(std::int64_t{1} << 40);
    const double cells =
        1.0 * latent.batch * latent.frames * latent.height * static_cast<double>(latent.width);
    if (cells > kCellsMax) {
        scope.missing(say<"unknown.vast_latent">(scope.node().id));
        return std::nullopt;
    }
    return latent;
}

Value make_value(NodeScope& scope, std::string_view expression) {
    auto value = scope.evaluate(expression);
    if (!value) return scope.nothing();
    if (const auto* number = std::get_if<double>(&*value)) return {NumberValue{*number}};
    return {
        TextValue{std::make_shared<const std::string>(std::move(std::get<std::string>(*value)))}};
}

// The input that the node takes; where nobody knows which one, any of them.
Value choose(NodeScope& scope, const NodeOutput& output) {
    const auto chosen = scope.evaluate(output.value);
    if (chosen)
        if (const auto* name = std::get_if<std::string>(&*chosen)) {
            if (scope.is_linked(*name)) return scope.any(*name);
            return make_value(scope, *name);
        }
    PassedOn through;
    through.why = scope.why();
    scope.forgive();
    for (const workflow::Input& input : scope.node().inputs)
        if (std::holds_alternative<workflow::Link>(input.value))
            pass_on(through, scope.any(input.name));
    return {std::move(through)};
}

Value make_schedule(NodeScope& scope, const NodeOutput& output) {
    const auto steps = scope.evaluate_count(output.value, 0, kStepsMax);
    if (!steps) return scope.nothing();
    const auto* like = output.from.empty() ? nullptr : scope.look<ScheduleValue>(output.from);
    return {ScheduleValue{like != nullptr
                              ? like->scheduler
                              : scope.text("scheduler").value_or(scope.node().class_type),
                          *steps}};
}

Value make_output(NodeScope& scope, const NodeOutput& output) {
    switch (output.kind) {
        case NodeOutput::Kind::Nothing:
            return {Nothing{}};
        case NodeOutput::Kind::Input: {
            const std::string_view input = first_of(scope, output.from);
            if (scope.is_linked(input) || scope.node().find(input) == nullptr)
                return scope.any(input);
            return make_value(scope, input);  // a literal that other nodes read
        }
        case NodeOutput::Kind::Choice:
            return choose(scope, output);
        case NodeOutput::Kind::Conditioning: {
            ConditionUse condition;
            condition.tokens = scope.evaluate_count(output.value, 1, kTokensMax).value_or(1);
            return {ConditioningValue{{std::move(condition)}}};
        }
        case NodeOutput::Kind::Latent:
            if (auto latent = make_latent(scope, output.shape)) return {*latent};
            return scope.nothing();
        case NodeOutput::Kind::Image:
            if (auto image = make_image(scope, output.shape)) return {*image};
            return scope.nothing();
        case NodeOutput::Kind::Video: {
            const auto image = make_image(scope, output.shape);
            const double rate = scope.evaluate_number(output.value).value_or(0);
            if (image) return {VideoShape{*image, rate}};
            return scope.nothing();
        }
        case NodeOutput::Kind::Sound:
            if (const auto seconds = scope.evaluate_number(output.value))
                return {SoundShape{*seconds}};
            return scope.nothing();
        case NodeOutput::Kind::Value:
            return make_value(scope, output.value);
        case NodeOutput::Kind::Sampler: {
            const auto name = scope.evaluate(output.value);
            const auto* text = name ? std::get_if<std::string>(&*name) : nullptr;
            return {SamplerValue{text == nullptr ? std::string() : *text}};
        }
        case NodeOutput::Kind::Schedule:
            return make_schedule(scope, output);
    }
    return {Nothing{}};
}

void refer(Value& value, const std::vector<LatentShape>& references) {
    auto* conditioning = std::get_if<ConditioningValue>(&value.what);
    if (conditioning == nullptr) return;
    for (ConditionUse& condition : conditioning->conditions)
        for (const LatentShape& reference : references)
            if (condition.references.size() < kReferencesMax)
                condition.references.push_back(reference);
}

// Encodes the pixels of one input; false where it cannot be known.
bool encode_input(NodeScope& scope, const workflow::EncodeRule& rule, const ModelValue& vae,
                  std::string_view input, std::vector<LatentShape>& encoded) {
    constexpr int kTimesMax = 8;  // chosen: no node encodes one image as often
    scope.bind_pixels(input);
    MadeShape shape = rule.shape;
    if (shape.like.empty()) shape.like = input;
    const auto image = make_image(scope, shape);
    int times = 1;
    if (!image || !set(scope, rule.times, kTimesMax, times)) return false;
    const VaeGrid grid = grid_of(scope, vae, *image);
    for (int i = 0; i < times; ++i) {
        const auto latent = encode_pixels(scope, vae, *image, grid, Tiled::No);
        if (!latent) return false;
        if (i == 0) encoded.push_back(*latent);
        scope.encoded() = latent;
    }
    return true;
}

}  // namespace

void pass_on(PassedOn& through, const Value& value) {
    constexpr std::size_t kPassedMax = 64;  // chosen: above any node's inputs
    const auto keep = [&](const std::shared_ptr<const Value>& one) {
        if (std::ranges::find(through.inputs, one) != through.inputs.end()) return;
        if (through.inputs.size() < kPassedMax)
            through.inputs.push_back(one);
        else
            through.crowded = true;
    };
    if (const auto* inner = std::get_if<PassedOn>(&value.what)) {
        through.crowded = through.crowded || inner->crowded;
        std::ranges::for_each(inner->inputs, keep);
    } else {
        keep(std::make_shared<const Value>(value));
    }
}

std::optional<ImageShape> make_image(NodeScope& scope, const MadeShape& made) {
    ImageShape image{1, 1, 1};
    if (!made.like.empty()) {
        const std::string_view input = first_of(scope, made.like);
        const ImageShape* like = scope.look_pixels(input);
        // Where the size is said, only the batch depends on what came in.
        if (like == nullptr && (made.height.empty() || made.width.empty())) {
            (void)scope.get<ImageShape>(input);  // says why
            return std::nullopt;
        }
        if (like != nullptr) image = *like;
    }
    if (!set(scope, made.batch, kBatchMax, image.batch) ||
        !set(scope, made.height, kSideMax, image.height) ||
        !set(scope, made.width, kSideMax, image.width))
        return std::nullopt;
    return image;
}

namespace {

// A reference that no VAE encodes: its pixels are its cells.
LatentShape of_pixels(const ImageShape& image) {
    constexpr int kColours = 3;
    return {
        .channels = kColours, .height = image.height, .width = image.width, .pixels_per_cell = 1};
}

}  // namespace

Values make_outputs(NodeScope& scope) {
    Values values;
    for (const NodeOutput& output : scope.kind().outputs)
        values.push_back(make_output(scope, output));
    std::vector<LatentShape> references;
    for (const std::string& name : scope.kind().references)
        for (const std::string_view input : scope.inputs_of(name))
            if (const auto* latent = scope.look<LatentShape>(input))
                references.push_back(*latent);
            else if (const auto* image = scope.look<ImageShape>(input))
                references.push_back(of_pixels(*image));
    refer_to(values, references);
    if (const auto method = scope.text("reference_latents_method"))
        for (Value& value : values)
            if (auto* conditioning = std::get_if<ConditioningValue>(&value.what))
                for (ConditionUse& condition : conditioning->conditions)
                    condition.reference_method = reference_method(*method);
    if (values.empty()) values.push_back({Nothing{}});
    return values;
}

void refer_to(Values& values, const std::vector<LatentShape>& references) {
    if (references.empty()) return;
    for (Value& value : values) refer(value, references);
}

bool run_encodes(NodeScope& scope, std::vector<LatentShape>& encoded) {
    for (const workflow::EncodeRule& rule : scope.kind().encodes) {
        if (!scope.is_linked(rule.vae)) continue;
        for (const std::string_view input : scope.inputs_of(rule.pixels)) {
            scope.bind_pixels(input);
            if (!scope.is_linked(input)) continue;
            if (!rule.when.empty() && scope.evaluate_number(rule.when) == 0.0) continue;
            const auto* vae = scope.get<ModelValue>(rule.vae);
            if (vae == nullptr || !encode_input(scope, rule, *vae, input, encoded)) return false;
        }
    }
    return true;
}

}  // namespace plimsoll::memory
