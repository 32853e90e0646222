// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/forecast.h>

#include "history/sqlite_store.h"
#include "library/convert.h"
#include "library/place.h"
#include "service/forecast.h"
#include "service/quality/findings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <system_error>
#include <utility>

namespace plimsoll {

namespace {

struct Question {
    library::Place place;
    service::Job job;
};

Result<Question> read_question(const Job& job, const Options& options) {
    TRY_ASSIGN(library::Place place, library::find_place(options));
    TRY_ASSIGN(service::Job resolved,
               service::resolve_job(library::from_public(job), place.profiles, place.models));
    return Question{std::move(place), std::move(resolved)};
}

advisor::Knob inner_knob(Knob knob) {
    switch (knob) {
        case Knob::Width:
            return advisor::Knob::Width;
        case Knob::Height:
            return advisor::Knob::Height;
        case Knob::Batch:
            return advisor::Knob::Batch;
        case Knob::Frames:
            return advisor::Knob::Frames;
        case Knob::Tile:
            return advisor::Knob::Tile;
        case Knob::Steps:
            return advisor::Knob::Steps;
        case Knob::Cfg:
            break;
    }
    return advisor::Knob::Cfg;
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
    switch (verdict) {
        case Verdict::Fits:
            return "fits";
        case Verdict::FitsSlowly:
            return "fits_slowly";
        case Verdict::WillNotFit:
            return "will_not_fit";
        case Verdict::Unknown:
            break;
    }
    return "unknown";
}

std::string_view plan_verdict_name(PlanVerdict verdict) {
    switch (verdict) {
        case PlanVerdict::Fits:
            return "fits";
        case PlanVerdict::FitsChanged:
            return "fits_changed";
        case PlanVerdict::FitsParked:
            return "fits_parked";
        case PlanVerdict::NothingFits:
            return "nothing_fits";
        case PlanVerdict::Unknown:
            break;
    }
    return "unknown";
}

namespace {

// Without a history prices come from priors.
advisor::QualityEvidence evidence_for(const Question& question) {
    const auto path = question.place.config.history_file();
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return {};
    const auto store = history::SqliteStore::create(path, {.access = history::Access::ReadOnly});
    if (!store) return {};
    return service::quality_evidence(**store, question.job.checkpoint,
                                     question.place.config.voter.value)
        .value_or(advisor::QualityEvidence());
}

}  // namespace

Result<Forecast> forecast(const Job& job, const Options& options) {
    TRY_ASSIGN(const Question question, read_question(job, options));
    TRY_ASSIGN(const service::ForecastAnswer answer,
               service::forecast_job(question.job, question.place.site, question.place.budget));
    return library::to_public(answer);
}

Result<Plan> plan(const Job& job, const Options& options, const PlanWishes& wishes) {
    TRY_ASSIGN(const advisor::Pins pins,
               advisor::parse_pins(fmt::format("{}", fmt::join(wishes.pins, ","))));
    TRY_ASSIGN(const Question question, read_question(job, options));
    const service::PlanWishes inner{.pins = pins,
                                    .preference = wishes.preference == Preference::Speed
                                                      ? advisor::Preference::Speed
                                                      : advisor::Preference::Quality,
                                    .control = advisor::ServerControl::Theirs,
                                    .evidence = evidence_for(question)};
    TRY_ASSIGN(const service::PlanAnswer answer,
               service::plan_job(question.job, question.place.site, question.place.budget, inner));
    return library::to_public(answer);
}

Result<Largest> largest(const Job& job, Knob knob, const Options& options) {
    TRY_ASSIGN(const Question question, read_question(job, options));
    TRY_ASSIGN(const service::LargestAnswer answer,
               service::largest_job(question.job, question.place.site, question.place.budget,
                                    inner_knob(knob)));
    return library::to_public(answer);
}

}  // namespace plimsoll
