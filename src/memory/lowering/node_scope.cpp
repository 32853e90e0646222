// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/node_scope.h"

#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::memory {

const Value* NodeScope::linked(std::string_view input) const {
    const workflow::Link* link = node_.link_of(input);
    return link == nullptr ? nullptr : value_of_(*link);
}

Value NodeScope::any(std::string_view input) const {
    const Value* value = linked(input);
    return value == nullptr ? Value{Nothing{}} : *value;
}

std::optional<double> NodeScope::number(std::string_view input) const {
    if (const auto literal = node_.number_of(input)) return literal;
    const Value* value = linked(input);
    const auto* held = value == nullptr ? nullptr : std::get_if<NumberValue>(&value->what);
    return held == nullptr ? std::nullopt : std::optional(held->number);
}

std::optional<std::string> NodeScope::text(std::string_view input) const {
    if (const auto literal = node_.text_of(input)) return std::string(*literal);
    const Value* value = linked(input);
    const auto* held = value == nullptr ? nullptr : std::get_if<TextValue>(&value->what);
    return held == nullptr || !afford(*held->text) ? std::nullopt : std::optional(*held->text);
}

bool NodeScope::afford(const std::string& text) const {
    if (text.size() > text_budget_) return false;
    text_budget_ -= text.size();
    return true;
}

const ImageShape* NodeScope::look_pixels(std::string_view input) {
    if (const auto* image = look<ImageShape>(input)) return image;
    const auto* video = look<VideoShape>(input);
    return video == nullptr ? nullptr : &video->images;
}

std::vector<std::string_view> NodeScope::inputs_of(std::string_view name) const {
    std::vector<std::string_view> names;
    for (const workflow::Input& input : node_.inputs)
        if (input.name == name || (name.ends_with('.') && input.name.starts_with(name)))
            names.push_back(input.name);
    return names;
}

// Of the images of inputs that grow on demand.
std::optional<double> NodeScope::total_batch(std::string_view input) {
    double total = 0;
    for (const std::string_view one : inputs_of(std::string(input) + ".")) {
        const ImageShape* image = look_pixels(one);
        const LatentShape* latent = image == nullptr ? look<LatentShape>(one) : nullptr;
        if (image == nullptr && latent == nullptr) return std::nullopt;
        total += image != nullptr ? image->batch : latent->batch;
    }
    return total > 0 ? std::optional(total) : std::nullopt;
}

// By the name of its file, as its authors publish them.
bool NodeScope::names_t2i_adapter(ModelIndex index) const {
    const std::vector<std::string>& files = program_.models[static_cast<std::size_t>(index)].files;
    return std::ranges::any_of(files, [](const std::string& file) {
        return to_lower_ascii(file).find("t2iadapter") != std::string::npos;
    });
}

std::optional<double> NodeScope::attribute(std::string_view input, std::string_view what) {
    if (input == "pixels" && node_.find(input) == nullptr) input = pixels_;
    if (what == "linked") return is_linked(input) ? 1.0 : 0.0;
    if (what == "total_batch") return total_batch(input);
    if (const auto* latent = look<LatentShape>(input)) {
        if (what == "batch") return latent->batch;
        if (what == "channels") return latent->channels;
        if (what == "frames") return latent->frames;
        if (what == "height") return latent->height;
        if (what == "width") return latent->width;
        if (what == "cell") return latent->pixels_per_cell;
        if (what == "frames_per_cell") return latent->frames_per_cell;
        if (what == "sound") return latent->sound;
        if (what == "guides") return latent->guides;
        if (what == "kept") return latent->kept;
    }
    if (const auto* image = look_pixels(input)) {
        if (what == "batch") return image->batch;
        if (what == "height") return image->height;
        if (what == "width") return image->width;
    }
    if (const auto* video = look<VideoShape>(input)) {
        if (what == "fps") return video->frames_per_second;
        if (what == "seconds" && video->frames_per_second > 0)
            return video->images.batch / video->frames_per_second;
    }
    if (const auto* sound = look<SoundShape>(input))
        if (what == "seconds") return sound->seconds;
    if (const auto* schedule = look<ScheduleValue>(input))
        if (what == "steps") return schedule->steps;
    if (const auto* model = look<ModelValue>(input))
        if (what == "t2i_adapter") return names_t2i_adapter(model->use.model) ? 1.0 : 0.0;
    return std::nullopt;
}

std::optional<workflow::Scalar> NodeScope::look_up(std::string_view name) {
    using workflow::Scalar;
    if (const workflow::Input* input = node_.find(name)) {
        if (const auto* text = std::get_if<std::string>(&input->value)) return Scalar(*text);
        if (const auto literal = node_.number_of(name)) return Scalar(*literal);
        const Value* value = linked(name);
        if (value != nullptr) {
            if (const auto* held = std::get_if<NumberValue>(&value->what))
                return Scalar(held->number);
            const auto* held = std::get_if<TextValue>(&value->what);
            if (held != nullptr && afford(*held->text)) return Scalar(*held->text);
        }
        explain_absence(name, value);
        return std::nullopt;
    }
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const std::string_view input = name.substr(0, dot);
    if (const auto found = attribute(input, name.substr(dot + 1))) return Scalar(*found);
    if (input != "pixels" || node_.find(input) != nullptr) explain_absence(input, linked(input));
    return std::nullopt;
}

std::optional<workflow::Scalar> NodeScope::evaluate(std::string_view expression,
                                                    std::string_view prefix) {
    const Phrase why = why_;
    const auto result = workflow::evaluate_expression(expression, [&](std::string_view name) {
        if (prefix.empty()) return look_up(name);
        return look_up(std::string(prefix) + std::string(name));
    });
    if (result)
        why_ = why;  // what was missing did not matter
    else
        missing(say<"unknown.computed">(expression, node_.id, node_.class_type));
    return result;
}

std::optional<double> NodeScope::evaluate_number(std::string_view expression) {
    const auto value = evaluate(expression);
    const auto number = value ? workflow::number_of(*value) : std::nullopt;
    if (value && !number) missing(say<"unknown.no_number">(expression, node_.id, node_.class_type));
    return number;
}

std::optional<int> NodeScope::evaluate_count(std::string_view expression, int low, int high) {
    const auto value = evaluate_number(expression);
    return value ? std::optional(clamped(*value, low, high)) : std::nullopt;
}

std::optional<int> NodeScope::count(std::string_view input, int low, int high) {
    if (const auto value = number(input)) return clamped(*value, low, high);
    missing(say<"unknown.evaluated">(input, node_.id, node_.class_type));
    return std::nullopt;
}

void NodeScope::note(Phrase phrase) {
    if (std::ranges::find(notes_, phrase) == notes_.end()) notes_.push_back(std::move(phrase));
}

void NodeScope::missing(Phrase why) {
    if (why_.empty()) why_ = std::move(why);
}

void NodeScope::explain_absence(std::string_view input, const Value* value) {
    if (!why_.empty()) return;  // the first reason counts
    if (value == nullptr)
        return missing(say<"unknown.connected">(input, node_.id, node_.class_type));
    if (const auto* through = std::get_if<PassedOn>(&value->what)) return missing(through->why);
    const auto* absent = std::get_if<Nothing>(&value->what);
    missing(absent != nullptr && !absent->why.empty()
                ? absent->why
                : say<"unknown.other_kind">(input, node_.id, node_.class_type));
}

Phrase handed_on_words(const Phrase& why, std::string_view input) {
    return say<"taken.handed_on">(why, input);
}

void NodeScope::step(decltype(Step::what) what) {
    if (const auto* unknown = std::get_if<UnknownStep>(&what))
        program_.unknown_nodes.push_back(
            say<"unknown.node">(node_.id, node_.class_type, unknown->reason));
    program_.steps.push_back(
        {.node_id = node_.id,
         .class_type = node_.class_type,
         .what = std::move(what),
         .notes = std::move(notes_),
         // Each step of a node is one of its own for the cache.
         .signature = steps_ == 0 ? signature_ : hash_number(signature_, steps_)});
    ++steps_;
    notes_.clear();
}

Value NodeScope::unknown_step() {
    const Phrase reason = why_.empty() ? say<"unknown.understood">() : why_;
    step(UnknownStep{reason});
    return {Nothing{reason}};
}

std::uint64_t hash_text(std::uint64_t hash, std::string_view text) {
    constexpr std::uint64_t kPrime = 0x100000001B3ULL;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    return (hash ^ 0xFFU) * kPrime;  // "ab" and "c" are not "a" and "bc"
}

std::uint64_t hash_number(std::uint64_t hash, std::uint64_t number) {
    constexpr std::uint64_t kPrime = 0x100000001B3ULL;
    for (int i = 0; i < 8; ++i, number >>= 8U) hash = (hash ^ (number & 0xFFU)) * kPrime;
    return hash;
}

int clamped(double value, int low, int high) {
    if (std::isnan(value)) return low;
    return static_cast<int>(std::clamp(value, static_cast<double>(low), static_cast<double>(high)));
}

}  // namespace plimsoll::memory
