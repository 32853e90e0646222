// SPDX-License-Identifier: Apache-2.0
#include "advisor/forecaster.h"

#include <fmt/format.h>

#include <cmath>

namespace plimsoll::advisor {

Result<Budget> make_budget(double max_vram_mb, double safety_margin, double max_minutes) {
    if (!std::isfinite(max_vram_mb) || max_vram_mb < 256 || max_vram_mb > 1'048'576)
        return fail(Errc::InvalidInput,
                    fmt::format("max vram {} MB is out of range: 256 to 1048576", max_vram_mb));
    if (!std::isfinite(safety_margin) || safety_margin < 0 || safety_margin > 0.9)
        return fail(Errc::InvalidInput,
                    fmt::format("safety margin {} is out of range: 0 to 0.9", safety_margin));
    if (!std::isfinite(max_minutes) || max_minutes <= 0 || max_minutes > 10'080)
        return fail(
            Errc::InvalidInput,
            fmt::format("max duration {} min is out of range: above 0 to 10080", max_minutes));
    return Budget{.load_line = Bytes::from_mib(max_vram_mb * (1 - safety_margin)),
                  .vram_max = Bytes::from_mib(max_vram_mb),
                  .seconds_max = max_minutes * 60};
}

std::string_view standing_name(Standing standing) {
    switch (standing) {
        case Standing::Under:
            return "under";
        case Standing::Parked:
            return "parked";
        case Standing::Over:
            return "over";
        case Standing::Unknown:
            return "unknown";
    }
    return "unknown";
}

Judgement judge(const PricedForecast& forecast, const Budget& budget) {
    const memory::Forecast& m = forecast.memory;
    Judgement out;
    for (std::size_t i = 0; i < m.phases.size(); ++i) {
        const bool first = out.binding_phase < 0;
        if (first || m.phases[i].peak > m.phases[static_cast<std::size_t>(out.binding_phase)].peak)
            out.binding_phase = static_cast<int>(i);
    }
    out.in_time = forecast.seconds.total <= budget.seconds_max;
    if (m.peak > budget.load_line) out.over_by = m.peak - budget.load_line;

    const std::string line = to_text(budget.load_line);
    if (m.verdict == memory::Verdict::WillNotFit) {
        out.standing = Standing::Over;
        out.sentence = fmt::format("the card runs out of memory: {} must fit, {} are there",
                                   to_text(m.floor), to_text(m.card_limit));
    } else if (m.floor > budget.load_line) {
        out.standing = Standing::Over;
        out.sentence = fmt::format("{} cannot be paged, the line is at {}", to_text(m.floor), line);
    } else if (m.working_set > budget.vram_max) {
        out.standing = Standing::Over;
        out.sentence = fmt::format(
            "computing would hold {} with its kernels' workspaces, {} are allowed: the card fills "
            "up to its edge",
            to_text(m.working_set), to_text(budget.vram_max));
    } else if (m.verdict == memory::Verdict::Unknown) {
        out.standing = Standing::Unknown;
        out.sentence = "a part of the workflow is not understood, the forecast covers the rest";
        if (m.bound && m.bound->upper)
            out.sentence += fmt::format("; with that part the job takes {} at least and {} at most",
                                        to_text(m.bound->lower), to_text(*m.bound->upper));
    } else if (m.peak > budget.load_line) {
        out.standing = Standing::Parked;
        out.sentence = fmt::format(
            "peak {} is {} above the line of {}: weights parked on the card, {} are needed",
            to_text(m.peak), to_text(out.over_by), line, to_text(m.floor));
    } else {
        out.standing = Standing::Under;
        out.sentence = fmt::format("peak {} is under the line of {}", to_text(m.peak), line);
    }
    if (!out.in_time)
        out.sentence +=
            fmt::format("; {} is above the limit of {}", seconds_text(forecast.seconds.total),
                        seconds_text(budget.seconds_max));
    return out;
}

}  // namespace plimsoll::advisor
