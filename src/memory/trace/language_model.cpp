// SPDX-License-Identifier: Apache-2.0
//
// Language models that encode prompts.
#include "base/described.h"
#include "memory/networks/text/known_language_models.h"
#include "memory/trace/answers.h"
#include "memory/trace/text_question.h"

#include <algorithm>

namespace plimsoll::memory::trace {

namespace {

using Kind = DecoderOutput::Kind;

// What a recorded line says of its network over what the variant's name says.
Result<void> read_config(const json::value& from, KnownLanguageModel& model) {
    for (const std::string_view key : {"transformer_config", "config"})
        if (const json::value* sizes = find(from, key); sizes != nullptr && sizes->is_object())
            TRY_DO(read_described(*sizes, model.config));
    DecoderOutput& output = model.output;
    const json::value* layer = find(from, "layer");
    if (layer == nullptr || layer->is_null()) return {};
    if (layer->is_array()) {
        output.kind = Kind::Layers;
        return detail::read_list(*layer, "layer", output.layers);
    }
    const std::string_view name = find_string(from, "layer").value_or("");
    if (name == "last")
        output.kind = Kind::Last;
    else if (name == "hidden")
        output.kind = Kind::Hidden;
    else if (name == "all")
        output.kind = Kind::All;
    else
        return fail(Errc::InvalidInput, "config.layer is none that is known");
    if (const auto index = find_int(from, "layer_idx"))
        output.hidden_layer = static_cast<int>(std::clamp<std::int64_t>(*index, -4096, 4096));
    return {};
}

}  // namespace

Result<Walk> answer_language_model(const Question& q) {
    static const std::vector<KnownLanguageModel> known = known_language_models();
    std::string_view variant = q.variant;
    constexpr std::string_view kForwardOnly = "_forward_only";  // not word after word
    if (variant.ends_with(kForwardOnly)) variant.remove_suffix(kForwardOnly.size());
    if (q.types.scaled_fp8) return unknown(q);
    for (KnownLanguageModel model : known) {
        if (model.family != q.family || !is_of_class(q, model.class_name)) continue;
        if (model.user.empty() ? !names_types(variant) : !names_user(variant, model.user)) continue;
        if (q.config != nullptr) TRY_DO(read_config(*q.config, model));
        TRY_ASSIGN(const auto network, build_decoder(model.config, model.output, model.class_name));
        return name_wrapper(simulate_text_encode(*network, text_call(q)), q, model.class_name);
    }
    return unknown(q);
}

}  // namespace plimsoll::memory::trace
