// SPDX-License-Identifier: Apache-2.0
#include "service/run_record.h"

#include "advisor/levers.h"
#include "base/say.h"
#include "service/ends.h"
#include "workflow/parse.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace plimsoll::service {

namespace {

// Digits as written: a seed of 20 digits fits no double.
std::string digits_of(const workflow::Node& node, std::string_view input) {
    const workflow::Input* const found = node.find(input);
    const auto* const number =
        found == nullptr ? nullptr : std::get_if<workflow::Number>(&found->value);
    return number == nullptr ? std::string() : number->text;
}

int whole_of(const workflow::Node& node, std::string_view input, int otherwise) {
    constexpr std::int64_t kWholeMax = 1'000'000;  // chosen: above any side, step count or batch
    const auto value = node.int_of(input);
    return value && *value >= 0 && *value <= kWholeMax ? static_cast<int>(*value) : otherwise;
}

const workflow::Node* find_sampler(const workflow::Graph& graph) {
    const auto found = std::ranges::find_if(graph.nodes, [](const workflow::Node& node) {
        return node.class_type == "KSampler" || node.class_type == "KSamplerAdvanced";
    });
    return found == graph.nodes.end() ? nullptr : &*found;
}

const workflow::Node* source_of(const workflow::Graph& graph, const workflow::Node& node,
                                std::string_view input) {
    const workflow::Link* const link = node.link_of(input);
    return link == nullptr ? nullptr : graph.find(link->node_id);
}

}  // namespace

history::Settings settings_of_workflow(std::string_view workflow) {
    history::Settings settings;
    const auto graph = workflow::parse_api_workflow(workflow);
    if (!graph) return settings;
    if (const workflow::Node* const latent = advisor::find_empty_latent(*graph)) {
        settings.width = whole_of(*latent, "width", 0);
        settings.height = whole_of(*latent, "height", 0);
        settings.batch = whole_of(*latent, "batch_size", 1);
    }
    const workflow::Node* const sampler = find_sampler(*graph);
    if (sampler == nullptr) return settings;
    settings.steps = whole_of(*sampler, "steps", 0);
    settings.cfg = sampler->number_of("cfg").value_or(0);
    settings.sampler = sampler->text_of("sampler_name").value_or("");
    settings.scheduler = sampler->text_of("scheduler").value_or("");
    settings.seed = digits_of(*sampler, "seed");
    if (settings.seed.empty()) settings.seed = digits_of(*sampler, "noise_seed");
    // One run of a batch that a plan has split draws a part of the latent.
    const workflow::Node* const latent = source_of(*graph, *sampler, "latent_image");
    if (latent != nullptr && latent->class_type == "LatentFromBatch")
        settings.batch = whole_of(*latent, "length", settings.batch);
    return settings;
}

std::string prompt_of_workflow(std::string_view workflow) {
    const auto graph = workflow::parse_api_workflow(workflow);
    const workflow::Node* const sampler = graph ? find_sampler(*graph) : nullptr;
    const workflow::Node* const text =
        sampler == nullptr ? nullptr : source_of(*graph, *sampler, "positive");
    return text == nullptr ? std::string() : std::string(text->text_of("text").value_or(""));
}

history::RunRecord make_run_record(const Job& job, std::string_view workflow,
                                   const advisor::PricedForecast& forecast,
                                   const advisor::Budget& budget) {
    history::RunRecord record;
    record.model = job.model;
    record.checkpoint = job.checkpoint;
    record.family = job.family;
    record.prompt = job.settings ? job.prompt : prompt_of_workflow(workflow);
    record.settings = settings_of_workflow(workflow);
    if (job.settings) record.settings.quality = advisor::quality_name(job.quality);
    record.verdict =
        memory::verdict_name(verdict_at_line(forecast, advisor::judge(forecast, budget)));
    record.load_line = budget.load_line;
    record.forecast_peak = forecast.memory.peak;
    record.forecast_seconds = forecast.seconds.total;
    for (std::size_t i = 0; i < forecast.memory.phases.size(); ++i) {
        const memory::Phase& phase = forecast.memory.phases[i];
        const bool priced = i < forecast.seconds.phases.size();
        record.phases.push_back(
            {.kind = std::string(memory::phase_kind_name(phase.kind)),
             .node_id = phase.node_id,
             .forecast_peak = phase.peak,
             .forecast_seconds = priced ? forecast.seconds.phases[i].total : 0,
             .pace = priced ? forecast.seconds.phases[i].pace : 1,
             .forecast_load_seconds =
                 priced ? std::optional(forecast.seconds.phases[i].load) : std::nullopt});
    }
    return record;
}

void add_changes(const std::vector<advisor::Change>& changes, history::RunRecord& record) {
    for (const advisor::Change& change : changes)
        record.changes.push_back({.knob = std::string(advisor::change_kind_name(change.kind)),
                                  .from = change.from,
                                  .to = change.to,
                                  .saved = change.saves,
                                  .seconds = change.seconds_delta});
}

void add_report(const JobReport& report, Durations durations, history::RunRecord& record) {
    const bool timed = durations == Durations::Meant;
    record.outcome = outcome_of(report.end);
    record.error = report.why;
    if (timed) record.observed_seconds = report.seconds;
    if (report.samples > 0) {
        record.observed_peak = report.allocated_peak;
        record.observed_used = report.used_peak;
        record.card_total = report.card_total;
    }
    for (history::PhaseRecord& phase : record.phases) {
        const auto node = report.nodes.find(phase.node_id);
        if (node == report.nodes.end()) continue;
        if (timed) {
            phase.observed_seconds = node->second.seconds;
            phase.observed_step_seconds = node->second.step_seconds;
        }
        if (node->second.samples > 0) phase.observed_peak = node->second.allocated_peak;
    }
}

void keep_out_of_learning(history::RunRecord& record) {
    record.observed_seconds.reset();
    record.observed_peak.reset();
    record.observed_used.reset();
    for (history::PhaseRecord& phase : record.phases) {
        phase.observed_seconds.reset();
        phase.observed_step_seconds.reset();
        phase.observed_peak.reset();
    }
    if (record.error.empty()) record.error = say<"end.slowed">();
}

}  // namespace plimsoll::service
