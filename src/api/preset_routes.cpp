// SPDX-License-Identifier: Apache-2.0
//
// Presets: settings under a name.
#include "api/app.h"
#include "api/question.h"
#include "api/routes.h"
#include "service/preset.h"
#include "wire/encode.h"

#include <utility>

namespace plimsoll::api {

Answer list_presets(Call& call) {
    return call.app.with_history([](history::Store& store) {
        const auto presets = store.list_presets();
        return presets ? answer_json(wire::encode_presets(*presets))
                       : answer_error(presets.error());
    });
}

Answer get_preset(Call& call) {
    const std::string& name = call.params.front();
    if (const auto good = history::check_preset_name(name); !good)
        return answer_error(good.error());
    return call.app.with_history([&](history::Store& store) {
        const auto preset = store.load_preset(name);
        return preset ? answer_json(wire::encode_preset(*preset)) : answer_error(preset.error());
    });
}

Answer put_preset(Call& call) {
    history::Preset preset{.name = call.params.front(),
                           .settings_json = {},
                           .saved_ms = call.app.parts().clock.unix_ms()};
    if (const auto good = history::check_preset_name(preset.name); !good)
        return answer_error(good.error());
    using wire::Field;
    const auto question = decode(call.body, static_cast<std::uint32_t>(Field::NoPrompt));
    if (!question) return question.error();
    auto settings = service::encode_wishes(question->job);
    if (!settings)
        return answer_error({settings.error().code,
                             "the preset holds no settings: name at least "
                             "one of model, width, height, steps..."});
    preset.settings_json = std::move(*settings);
    return call.app.with_history([&](history::Store& store) {
        const auto saved = store.save_preset(preset);
        return saved ? answer_json(wire::encode_preset(preset)) : answer_error(saved.error());
    });
}

Answer delete_preset(Call& call) {
    const std::string& name = call.params.front();
    if (const auto good = history::check_preset_name(name); !good)
        return answer_error(good.error());
    return call.app.with_history([&](history::Store& store) {
        const auto removed = store.remove_preset(name);
        return removed ? answer_json({{"removed", name}}) : answer_error(removed.error());
    });
}

}  // namespace plimsoll::api
