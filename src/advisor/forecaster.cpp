// SPDX-License-Identifier: Apache-2.0
#include "advisor/forecaster.h"

#include "base/say.h"

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

    if (m.verdict == memory::Verdict::WillNotFit) {
        out.standing = Standing::Over;
        out.sentence = say<"judge.card">(m.floor, m.card_limit);
    } else if (m.floor > budget.load_line) {
        out.standing = Standing::Over;
        out.sentence = say<"judge.floor">(m.floor, budget.load_line);
    } else if (m.working_set > budget.vram_max) {
        out.standing = Standing::Over;
        out.sentence = say<"judge.workspaces">(m.working_set, budget.vram_max);
    } else if (m.verdict == memory::Verdict::Unknown) {
        out.standing = Standing::Unknown;
        out.sentence = m.bound && m.bound->upper
                           ? say<"judge.bounded">(m.bound->lower, *m.bound->upper)
                           : say<"judge.unknown">();
    } else if (m.peak > budget.load_line) {
        out.standing = Standing::Parked;
        out.sentence = say<"judge.parked">(m.peak, out.over_by, budget.load_line, m.floor);
    } else {
        out.standing = Standing::Under;
        out.sentence = say<"judge.under">(m.peak, budget.load_line);
    }
    if (!out.in_time)
        out.sentence =
            say<"judge.late">(std::move(out.sentence), forecast.seconds.total, budget.seconds_max);
    return out;
}

}  // namespace plimsoll::advisor
