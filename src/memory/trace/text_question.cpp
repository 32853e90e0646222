// SPDX-License-Identifier: Apache-2.0
#include "memory/trace/text_question.h"

namespace plimsoll::memory::trace {

TextCall text_call(const Question& q) {
    return {.batch = q.batch,
            .tokens = q.tokens,
            .storage = q.types.storage,
            .compute = q.types.compute_named ? q.types.compute : ComputeType::Float32,
            .rules = q.rules};
}

bool names_types(std::string_view variant) {
    for (const std::string_view suffix : {"w_fp32c", "w"})
        if (variant.ends_with(suffix)) variant.remove_suffix(suffix.size());
    return variant == "base" || variant == "scaled_fp8" || parse_compute_type(variant).has_value();
}

bool names_user(std::string_view variant, std::string_view user) {
    if (!variant.starts_with(user) || !variant.ends_with('w')) return false;
    variant.remove_prefix(user.size());
    variant.remove_suffix(1);
    return variant.starts_with('_') && parse_compute_type(variant.substr(1)).has_value();
}

bool is_of_class(const Question& q, std::string_view class_name) {
    if (q.config == nullptr) return true;
    return find_string(*q.config, "class").value_or(class_name) == class_name;
}

Walk name_wrapper(Walk walk, const Question& q, std::string_view class_name) {
    if (q.recorder != 'a') return walk;  // it names the wrapper itself by its class
    for (LiveTensor& tensor : walk.top_live)
        if (tensor.module.empty()) tensor.module = class_name;
    return walk;
}

}  // namespace plimsoll::memory::trace
