// SPDX-License-Identifier: Apache-2.0
//
// check_prompt: what a prompt will need, and by the policy what becomes of it: as it is, marked
// with a warning, changed by the plan, or refused on the right node and input. What is not
// understood is never blocked; seeds and pinned values never change.
//
// Enters through: the prompt's bytes, Surroundings, Budget, Wishes.   Leaves through: Checked.
// Threads: no shared state.
#pragma once
#include "advisor/plan.h"
#include "base/error.h"
#include "base/phrase.h"
#include "gateway/prompt_hook.h"
#include "guard/facts.h"
#include "guard/policy.h"
#include "guard/watch.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// Shapes that met their wall, with the reason.
using Walls = std::map<std::string, Phrase, std::less<>>;

enum class Outcome : std::uint8_t { AsItIs, Warned, Changed, Refused };
[[nodiscard]] std::string_view outcome_name(Outcome outcome);  // "as_it_is", ...

struct Checked {
    Outcome outcome = Outcome::AsItIs;
    std::string prompt;                     // API format, byte for byte but what was changed
    Facts facts;                            // without client and number
    std::vector<gateway::NodeError> marks;  // of a warning or a refusal
    Phrase sentence;                        // one for people: why
    JobForecast forecast;                   // to watch it by
    advisor::PricedForecast priced;
};

struct CheckRequest {
    std::string_view prompt;  // API format
    Wishes wishes;
    advisor::Budget budget;
    int plan_level = 0;  // of the ladder: n asks for less than before n times
};
// Fails as the forecaster fails: then the prompt goes on as it is.
[[nodiscard]] Result<Checked> check_prompt(const CheckRequest& request, const Walls& walls,
                                           const advisor::Forecaster& forecaster);

// The forecast by nodes; without any where it is unknown.
[[nodiscard]] JobForecast job_forecast(const advisor::PricedForecast& priced, Bytes load_line);
// What its client wants of a job that goes wrong: known also where no forecast is.
void note_wishes(Facts& facts, const Wishes& wishes);
// What is asked for at a level of the ladder.
[[nodiscard]] advisor::Budget budget_at(const advisor::Budget& budget, int plan_level);
// The values that a plan changes, as the record and the answer's header tell them.
[[nodiscard]] std::vector<Edit> edits_of(const advisor::Plan& plan);
// "8.class_type: VAEDecode -> VAEDecodeTiled (decode in tiles of 512)", fit for a header.
[[nodiscard]] std::string edit_line(const Edit& edit);

}  // namespace plimsoll::guard
