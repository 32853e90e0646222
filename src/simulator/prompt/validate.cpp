// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/validate.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace plimsoll::simulator {

namespace {

// A Python exception: its type's name and str(exception).
struct Exception {
    std::string type;
    std::string text;
    std::string function = "validate_inputs";
};

Dict make_error(std::string_view type, std::string_view message, std::string details, Dict info) {
    return {{"type", Value(type)},
            {"message", Value(message)},
            {"details", Value(std::move(details))},
            {"extra_info", Value(std::move(info))}};
}

// What traceback.format_tb gives, without source lines: those are ComfyUI's own.
List make_traceback(std::string_view function) {
    return {Value(fmt::format("  File \"/comfyui/execution.py\", line 808, in {}\n", function))};
}

std::string strip(std::string_view text) {
    return std::string(trim(text));
}

// int(x)
std::expected<Value, std::string> to_int(const Value& value) {
    if (value.as_int() != nullptr) return value;
    if (const auto* const flag = value.as_bool()) return Value(Int(*flag ? 1 : 0));
    if (const auto* const real = value.as_float()) {
        if (std::isnan(*real))
            return std::unexpected(std::string("cannot convert float NaN to integer"));
        if (std::isinf(*real))
            return std::unexpected(std::string("cannot convert float infinity to integer"));
        return Value(static_cast<Int>(*real));
    }
    if (const auto* const text = value.as_str()) {
        std::string digits = strip(*text);
        std::erase(digits, '_');
        const bool negative = digits.starts_with('-');
        std::string_view rest = digits;
        if (negative || rest.starts_with('+')) rest.remove_prefix(1);
        const bool plain = !rest.empty() && rest.size() <= 38 &&
                           std::ranges::all_of(rest, [](char c) { return c >= '0' && c <= '9'; });
        if (!plain)
            return std::unexpected("invalid literal for int() with base 10: " + python_repr(value));
        Int whole = 0;
        for (const char c : rest) whole = whole * 10 + (c - '0');
        return Value(negative ? -whole : whole);
    }
    return std::unexpected(
        fmt::format("int() argument must be a string, a bytes-like object or a real number, not "
                    "'{}'",
                    value.type_name()));
}

// float(x)
std::expected<Value, std::string> to_float(const Value& value) {
    if (const auto number = value.number()) return Value(*number);
    if (const auto* const text = value.as_str()) {
        const std::string word = to_lower_ascii(strip(*text));
        if (const auto number = parse_number(word)) return Value(*number);
        if (word == "inf" || word == "infinity" || word == "+inf") return Value(HUGE_VAL);
        if (word == "-inf" || word == "-infinity") return Value(-HUGE_VAL);
        if (word == "nan") return Value(std::nan(""));
        return std::unexpected("could not convert string to float: " + python_repr(value));
    }
    return std::unexpected(fmt::format(
        "float() argument must be a string or a real number, not '{}'", value.type_name()));
}

std::set<std::string> type_set(std::string_view types) {
    std::set<std::string> set;
    for (const std::string_view part : split(types, ',')) set.insert(strip(part));
    return set;
}

bool types_fit(const Value& received, const Value& wanted) {
    if (received == wanted) return true;
    if (received.as_str() == nullptr || wanted.as_str() == nullptr) return false;
    const auto from = type_set(*received.as_str());
    const auto to = type_set(*wanted.as_str());
    if (from.contains("*") || to.contains("*")) return true;
    return std::ranges::any_of(from, [&](const std::string& type) { return to.contains(type); });
}

class Validator {
  public:
    Validator(const NodeCatalogue& catalogue, Dict& prompt, const CustomCheck& custom_check)
        : catalogue_(catalogue), prompt_(prompt), custom_check_(custom_check) {}

    struct Verdict {
        bool valid = true;
        List reasons;
    };

    // The verdicts of all nodes seen so far, in the order in which they were reached.
    std::vector<std::pair<std::string, Verdict>> validated;

    Verdict* find(std::string_view id) {
        const auto found = std::ranges::find(
            validated, id, [](const auto& item) -> std::string_view { return item.first; });
        return found == validated.end() ? nullptr : &found->second;
    }
    void remember(const std::string& id, Verdict verdict) {
        if (Verdict* const known = find(id))
            *known = std::move(verdict);
        else
            validated.emplace_back(id, std::move(verdict));
    }

    // NOLINTNEXTLINE(misc-no-recursion): as deep as the prompt's longest chain, at most its size
    std::expected<Verdict, Exception> validate_node(const std::string& id) {
        if (const Verdict* const known = find(id)) return *known;
        Dict& node = *prompt_.find(id)->as_dict();
        Value* const inputs = node.find("inputs");
        if (inputs == nullptr) return std::unexpected(Exception{"KeyError", "'inputs'"});
        if (inputs->is_none() || inputs->number())
            return std::unexpected(Exception{
                "TypeError",
                fmt::format("argument of type '{}' is not iterable", inputs->type_name())});
        const NodeClass& node_class = *catalogue_.find(*node.find("class_type")->as_str());
        path_.push_back(id);
        Verdict verdict;
        for (const InputSpec& spec : catalogue_.inputs_of(node_class)) {
            Dict* const given = inputs->as_dict();
            Value* const value = given == nullptr ? nullptr : given->find(spec.name);
            if (value == nullptr) {
                if (spec.required)
                    verdict.reasons.emplace_back(make_error("required_input_missing",
                                                            "Required input is missing", spec.name,
                                                            {{"input_name", Value(spec.name)}}));
                continue;
            }
            if (value->as_list() != nullptr) {
                const auto linked = check_link(spec, *value, verdict);
                if (!linked) {
                    path_.pop_back();
                    return std::unexpected(linked.error());
                }
            } else {
                check_literal(node_class, spec, *value, verdict);
            }
        }
        check_custom(node_class, *inputs, verdict);
        path_.pop_back();
        if (!verdict.reasons.empty()) verdict.valid = false;
        remember(id, verdict);
        return verdict;
    }

  private:
    static Dict input_info(const InputSpec& spec) {
        return {{"input_name", Value(spec.name)}, {"input_config", spec.config()}};
    }

    // NOLINTNEXTLINE(misc-no-recursion)
    std::expected<void, Exception> check_link(const InputSpec& spec, const Value& value,
                                              Verdict& verdict) {
        const List& link = *value.as_list();
        if (link.size() != 2) {
            Dict info = input_info(spec);
            info.set("received_value", value);
            verdict.reasons.emplace_back(
                make_error("bad_linked_input",
                           "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                           spec.name, std::move(info)));
            return {};
        }
        const auto received = output_type(link);
        if (!received) return std::unexpected(received.error());
        if (!types_fit(*received, spec.type)) {
            Dict info = input_info(spec);
            info.set("received_type", *received);
            info.set("linked_node", value);
            verdict.reasons.emplace_back(
                make_error("return_type_mismatch", "Return type mismatch between linked nodes",
                           fmt::format("{}, received_type({}) mismatch input_type({})", spec.name,
                                       python_str(*received), python_str(spec.type)),
                           std::move(info)));
            return {};
        }
        const std::string& source = *link[0].as_str();
        // ComfyUI recurses until Python gives up; the frames above then overwrite the reason, so a
        // cycle makes its nodes invalid without one.
        if (std::ranges::find(path_, source) != path_.end()) {
            verdict.valid = false;
            return {};
        }
        const auto inner = validate_node(source);
        if (inner) {
            if (!inner->valid) verdict.valid = false;
            return {};
        }
        verdict.valid = false;
        Dict info = input_info(spec);
        info.set("exception_message", inner.error().text);
        info.set("exception_type", inner.error().type);
        info.set("traceback", make_traceback(inner.error().function));
        info.set("linked_node", value);
        remember(source, {false,
                          {Value(make_error("exception_during_inner_validation",
                                            "Exception when validating inner node",
                                            inner.error().text, std::move(info)))}});
        return {};
    }

    // RETURN_TYPES[slot] of the linked node, or what Python raises on the way to it.
    std::expected<Value, Exception> output_type(const List& link) {
        const auto* const id = link[0].as_str();
        const Value* const source = id == nullptr ? nullptr : prompt_.find(*id);
        if (source == nullptr) {
            if (link[0].as_list() != nullptr || link[0].as_dict() != nullptr)
                return std::unexpected(Exception{
                    "TypeError", fmt::format("unhashable type: '{}'", link[0].type_name())});
            return std::unexpected(Exception{"KeyError", python_repr(link[0])});
        }
        const List& types = catalogue_.find(*source->get("class_type")->as_str())->outputs;
        Int slot = 0;
        if (const auto* const whole = link[1].as_int()) {
            slot = *whole;
        } else if (const auto* const flag = link[1].as_bool()) {
            slot = *flag ? 1 : 0;
        } else {
            return std::unexpected(Exception{
                "TypeError", fmt::format("tuple indices must be integers or slices, not {}",
                                         link[1].type_name())});
        }
        const auto count = static_cast<Int>(types.size());
        if (slot < 0) slot += count;
        if (slot < 0 || slot >= count)
            return std::unexpected(Exception{"IndexError", "tuple index out of range"});
        return types[static_cast<std::size_t>(slot)];
    }

    static void check_literal(const NodeClass& node, const InputSpec& spec, Value& value,
                              Verdict& verdict) {
        const auto refuse = [&](std::string_view type, std::string_view message,
                                std::string details, Value config) {
            verdict.reasons.emplace_back(make_error(type, message, std::move(details),
                                                    {{"input_name", Value(spec.name)},
                                                     {"input_config", std::move(config)},
                                                     {"received_value", value}}));
        };
        if (const Value* const wrapped = value.get("__value__")) value = Value(*wrapped);
        const std::string type = spec.type.as_str() == nullptr ? "" : *spec.type.as_str();
        std::expected<Value, std::string> converted = value;
        if (type == "INT") converted = to_int(value);
        if (type == "FLOAT") converted = to_float(value);
        if (type == "STRING") converted = Value(python_str(value));
        if (type == "BOOLEAN") converted = Value(value.truthy());
        if (!converted) {
            refuse("invalid_input_type",
                   fmt::format("Failed to convert an input value to a {} value", type),
                   fmt::format("{}, {}, {}", spec.name, python_str(value), converted.error()),
                   spec.config());
            verdict.reasons.back()
                .as_dict()
                ->find("extra_info")
                ->as_dict()
                ->set("exception_message", converted.error());
            return;
        }
        value = *converted;
        if (is_custom_checked(node.name, spec.name)) return;
        check_range(spec, value, refuse);
    }

    template <class Refuse>
    static void check_range(const InputSpec& spec, const Value& value, const Refuse& refuse) {
        const auto number = value.number();
        const auto beyond = [&](const char* key, bool below) -> const Value* {
            const Value* const bound = spec.options.find(key);
            if (bound == nullptr || !number || !bound->number()) return nullptr;
            // Integers are compared as such: a seed may need all 64 bits.
            if (value.as_int() != nullptr && bound->as_int() != nullptr)
                return (below ? *value.as_int() < *bound->as_int()
                              : *value.as_int() > *bound->as_int())
                           ? bound
                           : nullptr;
            return (below ? *number < *bound->number() : *number > *bound->number()) ? bound
                                                                                     : nullptr;
        };
        if (const Value* const least = beyond("min", true))
            return refuse("value_smaller_than_min",
                          fmt::format("Value {} smaller than min of {}", python_str(value),
                                      python_str(*least)),
                          spec.name, spec.config());
        if (const Value* const most = beyond("max", false))
            return refuse(
                "value_bigger_than_max",
                fmt::format("Value {} bigger than max of {}", python_str(value), python_str(*most)),
                spec.name, spec.config());
        if (!spec.is_combo()) return;
        static const List kNone;
        const List& choices = spec.choices() == nullptr ? kNone : *spec.choices();
        if (std::ranges::find(choices, value) != choices.end()) return;
        // Lists of scanned files may be long: ComfyUI leaves them out then.
        const bool is_long = choices.size() > 20;
        refuse("value_not_in_list", "Value not in list",
               fmt::format("{}: '{}' not in {}", spec.name, python_str(value),
                           is_long ? fmt::format("(list of length {})", choices.size())
                                   : python_str(Value(choices))),
               is_long ? Value() : spec.config());
    }

    static bool is_custom_checked(std::string_view class_name, std::string_view input) {
        return input == custom_input(class_name);
    }
    // The input of which a class says itself whether it is right.
    static std::string_view custom_input(std::string_view class_name) {
        if (class_name == "LoadImage" || class_name == "LoadImageMask") return "image";
        return class_name == "LoadLatent" ? "latent" : "";
    }

    void check_custom(const NodeClass& node, const Value& inputs, Verdict& verdict) {
        const std::string input(custom_input(node.name));
        const Value* const value = input.empty() ? nullptr : inputs.get(input);
        if (value == nullptr || value->as_str() == nullptr || !custom_check_) return;
        const auto refusal = custom_check_(node.name, *value->as_str());
        if (!refusal) return;
        verdict.reasons.emplace_back(
            make_error("custom_validation_failed", "Custom validation failed for node",
                       input + " - " + *refusal, {{"input_name", Value(input)}}));
    }

    const NodeCatalogue& catalogue_;
    Dict& prompt_;
    const CustomCheck& custom_check_;
    std::vector<std::string> path_;  // nodes whose validation is in progress
};

Validation refuse_prompt(std::string_view type, std::string_view message, std::string details) {
    Validation validation;
    validation.error = make_error(type, message, std::move(details), {});
    return validation;
}
Validation crash(std::string text) {
    Validation validation;
    validation.crash = ServerError{std::move(text)};
    return validation;
}

// True when the target list names this output; nullopt when Python raises.
std::optional<bool> is_target(const Value* targets, const std::string& id) {
    if (targets == nullptr || targets->is_none()) return true;
    if (const List* const list = targets->as_list())
        return std::ranges::find(*list, Value(id)) != list->end();
    if (const auto* const text = targets->as_str()) return text->contains(id);
    if (const Dict* const dict = targets->as_dict()) return dict->contains(id);
    return std::nullopt;
}

}  // namespace

bool is_link(const Value& value) {
    const List* const list = value.as_list();
    return list != nullptr && list->size() == 2 && (*list)[0].as_str() != nullptr &&
           ((*list)[1].as_int() != nullptr || (*list)[1].as_float() != nullptr);
}

Validation validate_prompt(const NodeCatalogue& catalogue, Value& prompt,
                           const Value* partial_targets, const CustomCheck& custom_check) {
    const auto no_outputs = [] {
        return refuse_prompt("prompt_no_outputs", "Prompt has no outputs", "");
    };
    Dict* const nodes = prompt.as_dict();
    if (nodes == nullptr) {
        // `for x in prompt: prompt[x]` works on nothing but a dict; empty things have no x.
        if ((prompt.as_list() != nullptr || prompt.as_str() != nullptr) && !prompt.truthy())
            return no_outputs();
        return crash("prompt is no dict");
    }
    std::vector<std::string> outputs;
    for (const auto& [id, node] : *nodes) {
        if (node.is_none() || node.number()) return crash("a node is no container");
        const Value* const class_type = node.get("class_type");
        if (class_type == nullptr)
            return refuse_prompt(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                fmt::format("Node ID '#{}'", id));
        if (class_type->as_list() != nullptr || class_type->as_dict() != nullptr)
            return crash("class_type is not hashable");
        const NodeClass* const known =
            class_type->as_str() == nullptr ? nullptr : catalogue.find(*class_type->as_str());
        if (known == nullptr)
            return refuse_prompt("invalid_prompt",
                                 fmt::format("Cannot execute because node {} does not exist.",
                                             python_str(*class_type)),
                                 fmt::format("Node ID '#{}'", id));
        if (!known->is_output) continue;
        const auto target = is_target(partial_targets, id);
        if (!target) return crash("partial_execution_targets is no container");
        if (*target) outputs.push_back(id);
    }
    if (outputs.empty()) return no_outputs();

    Validation validation;
    Validator validator(catalogue, *nodes, custom_check);
    std::string details;
    for (const std::string& output : outputs) {
        auto verdict = validator.validate_node(output);
        if (!verdict) {
            Dict info{{"exception_type", Value(verdict.error().type)},
                      {"traceback", make_traceback(verdict.error().function)}};
            verdict = Validator::Verdict{
                false,
                {Value(make_error("exception_during_validation", "Exception when validating node",
                                  verdict.error().text, std::move(info)))}};
            validator.remember(output, *verdict);
        }
        if (verdict->valid) {
            validation.outputs.push_back(output);
            continue;
        }
        for (const Value& reason : verdict->reasons)
            details +=
                fmt::format("{}{}: {}", details.empty() ? "" : "\n",
                            python_str(*reason.get("message")), python_str(*reason.get("details")));
        for (const auto& [id, known] : validator.validated) {
            if (known.valid || known.reasons.empty()) continue;
            if (!validation.node_errors.contains(id))
                validation.node_errors.set(
                    id, Dict{{"errors", Value(known.reasons)},
                             {"dependent_outputs", Value(List{})},
                             {"class_type", *nodes->find(id)->get("class_type")}});
            validation.node_errors.find(id)
                ->as_dict()
                ->find("dependent_outputs")
                ->as_list()
                ->emplace_back(output);
        }
    }
    validation.valid = !validation.outputs.empty();
    if (!validation.valid)
        validation.error = make_error("prompt_outputs_failed_validation",
                                      "Prompt outputs failed validation", details, {});
    return validation;
}

}  // namespace plimsoll::simulator
