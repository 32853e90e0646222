// SPDX-License-Identifier: Apache-2.0
#include "service/quality/order.h"

#include "advisor/text_to_image.h"
#include "base/say.h"
#include "base/text.h"
#include "service/comfyui/checkpoints.h"
#include "service/forecast.h"
#include "service/quality/findings.h"
#include "service/quality/prompts.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

namespace plimsoll::service {
namespace {

constexpr std::size_t kPrecisionsMax = 3;  // chosen

std::string stem_of(std::string_view name) {
    std::string lower = to_lower_ascii(name.substr(name.find_last_of("/\\") + 1));
    lower = lower.substr(0, lower.find_last_of('.'));
    std::string stem;
    std::string word;
    const auto take = [&] {
        constexpr std::array<std::string_view, 12> kPrecisionWords{
            "fp32", "fp16", "bf16",   "fp8",  "f16",    "f32",
            "half", "full", "e4m3fn", "e5m2", "scaled", "pruned"};
        if (!word.empty() && std::ranges::find(kPrecisionWords, word) == kPrecisionWords.end())
            stem += word + " ";
        word.clear();
    };
    for (const char c : lower) {
        if (c == '_' || c == '-' || c == '.' || c == ' ')
            take();
        else
            word += c;
    }
    take();
    return stem;
}

// Forecasts settings of a session; the networks of a checkpoint are built once.
class Assessor {
  public:
    Assessor(const OrderParts& parts, std::string prompt, std::string negative)
        : parts_(parts), prompt_(std::move(prompt)), negative_(std::move(negative)) {}

    Result<quality::Entrant> assess(const quality::Setting& setting) {
        quality::Entrant entrant{.setting = setting, .forecast = {}, .left_out = {}};
        const std::string workflow = workflow_of_setting(setting, prompt_, negative_, 0, "x");
        TRY_ASSIGN(const advisor::Forecaster* const forecaster, forecaster_for(setting, workflow));
        TRY_ASSIGN(const advisor::PricedForecast forecast,
                   (*forecaster)({.workflow = workflow, .reserve_vram = std::nullopt}));
        const advisor::Judgement judged = advisor::judge(forecast, parts_.place.budget);
        entrant.forecast = {.seconds = forecast.seconds.total, .peak = forecast.memory.peak};
        if (judged.standing == advisor::Standing::Over || !judged.in_time)
            entrant.left_out = say<"lab.over_line">(judged.sentence);
        else if (judged.standing == advisor::Standing::Unknown)
            entrant.left_out = say<"lab.not_forecast">(judged.sentence);
        return entrant;
    }

  private:
    Result<const advisor::Forecaster*> forecaster_for(const quality::Setting& setting,
                                                      const std::string& workflow) {
        auto known = forecasters_.find(setting.checkpoint);
        if (known == forecasters_.end()) {
            TRY_ASSIGN(const workflow::Graph graph, workflow::parse_api_workflow(workflow));
            Job job;
            job.workflow = workflow;
            job.files = parts_.models.files_of(graph, job.warnings);
            job.checkpoint = setting.checkpoint;
            known = forecasters_
                        .emplace(setting.checkpoint, parts_.forecaster
                                                         ? parts_.forecaster(parts_.place.site, job)
                                                         : forecaster_of(parts_.place.site, job))
                        .first;
        }
        return &known->second;
    }

    const OrderParts& parts_;
    std::string prompt_;
    std::string negative_;
    std::map<std::string, advisor::Forecaster> forecasters_;
};

Result<void> check_order(const QualityOrder& order) {
    if (order.prompts.size() > quality::kPromptsMax)
        return fail(Errc::InvalidInput,
                    say<"error.prompts">(order.prompts.size(), quality::kPromptsMax));
    for (const std::string& prompt : order.prompts)
        if (trim(prompt).empty() || prompt.size() > kPromptBytesMax)
            return fail(Errc::InvalidInput,
                        say<"error.prompt_bytes">(kPromptBytesMax, prompt.size()));
    if (order.minutes_max && !(*order.minutes_max > 0 && *order.minutes_max <= kMinutesMax))
        return fail(Errc::InvalidInput, say<"error.minutes">(*order.minutes_max, kMinutesMax));
    if (order.margin && !(*order.margin >= 0.5 && *order.margin <= 50))
        return fail(Errc::InvalidInput,
                    fmt::format("margin {} is out of range: 0.5 to 50 points", *order.margin));
    return {};
}

// Not known is not a failure: then all are taken to exist.
std::vector<std::string> choices_of(Upstream& upstream, std::string_view input) {
    return upstream.list_choices("KSampler", input).value_or(std::vector<std::string>());
}

}  // namespace

std::vector<std::string> other_precisions(const std::string& checkpoint,
                                          const std::vector<std::string>& listed) {
    std::vector<std::string> out;
    const std::string stem = stem_of(checkpoint);
    for (const std::string& name : listed)
        if (name != checkpoint && stem_of(name) == stem && out.size() < kPrecisionsMax)
            out.push_back(name);
    return out;
}

std::string workflow_of_setting(const quality::Setting& setting, const std::string& prompt,
                                const std::string& negative, std::uint64_t seed,
                                const std::string& filename_prefix) {
    advisor::Settings settings = settings_of(setting, setting.checkpoint);
    settings.seed = seed;
    return advisor::build_text_to_image(settings, setting.checkpoint, prompt, negative,
                                        filename_prefix);
}

Result<quality::SessionPlan> plan_session(const QualityOrder& order, const OrderParts& parts) {
    TRY_DO(check_order(order));
    const Profiles& profiles = parts.place.profiles;
    TRY_ASSIGN(const advisor::ModelProfile profile,
               advisor::find_profile(order.model, profiles.all));
    quality::Surroundings around;
    TRY_ASSIGN(around.base.checkpoint, name_on_server(parts.upstream, profile.checkpoint));
    around.base.width = around.base.height = profile.native_side;
    around.base.cfg = profile.best_cfg;
    around.base.sampler = profile.sampler;
    around.base.scheduler = profile.scheduler;
    around.native_side = profile.native_side;
    around.distilled = profile.distilled;
    around.steps_min = advisor::kStepsMin;
    around.steps_max = advisor::kStepsMax;
    around.samplers = choices_of(parts.upstream, "sampler_name");
    around.schedulers = choices_of(parts.upstream, "scheduler");
    if (const auto listed = parts.upstream.list_models("checkpoints"))
        around.precisions = other_precisions(around.base.checkpoint, *listed);

    quality::SessionPlan plan;
    plan.session_id = parts.session_id;
    plan.drawn_by = parts.drawn_by;
    plan.kind = order.kind;
    plan.model = profile.name;
    plan.in_background = order.in_background;
    plan.created_ms = parts.created_ms;
    plan.seed = order.seed.value_or(parts.seed) & ((std::uint64_t{1} << 48U) - 1);
    plan.negative = profile.negative_words;
    plan.prompts = order.prompts;
    if (plan.prompts.empty())
        for (const std::string_view prompt : default_prompts(profile))
            plan.prompts.emplace_back(prompt);
    for (std::string& prompt : plan.prompts) prompt = advisor::styled_prompt(profile, prompt);
    plan.rules.margin = order.margin.value_or(quality::kMarginPoints);
    for (const ScorerSpec& scorer : parts.place.scorers) plan.scorers.push_back(scorer.rules);
    if (order.kind == quality::TestKind::Quick) {
        plan.rules.blocks_max = 8;
        plan.rules.finalists = 3;
    }
    plan.seconds_max =
        60 * order.minutes_max.value_or(order.kind == quality::TestKind::Quick ? kQuickMinutes
                                                                               : kFullMinutes);
    const quality::Candidates made = quality::make_candidates(order.kind, around);
    if (made.settings.empty())
        return fail(Errc::InvalidInput,
                    say<"error.neither_sampler">(profile.name, profile.sampler, profile.scheduler));
    plan.reference = made.reference;
    plan.second_reference = made.second_reference;
    Assessor assessor(parts, plan.prompts.front(), plan.negative);
    for (const quality::Setting& setting : made.settings) {
        TRY_ASSIGN(quality::Entrant entrant, assessor.assess(setting));
        plan.entrants.push_back(std::move(entrant));
    }
    // A reference that does not fit is decoded in tiles, as all that are compared with it.
    if (!plan.entrants[plan.reference].left_out.empty()) {
        std::vector<quality::Entrant> tiled;
        for (const quality::Entrant& entrant : plan.entrants) {
            quality::Setting setting = entrant.setting;
            setting.vae_tiling = true;
            TRY_ASSIGN(quality::Entrant again, assessor.assess(setting));
            if (std::ranges::find(tiled, again.setting, &quality::Entrant::setting) == tiled.end())
                tiled.push_back(std::move(again));
        }
        plan.entrants = std::move(tiled);
    }
    TRY_DO(quality::fit_blocks(plan));
    return plan;
}

}  // namespace plimsoll::service
