// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_rows.h"

#include "base/text.h"
#include "history/run_json.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace plimsoll::history {

const char* const kRunColumns =
    "run_id, started_ms, ended_ms, prompt_id, prompt, model, checkpoint, family, width, height, "
    "batch, steps, cfg, sampler, scheduler, quality, seed, card, comfyui_version, verdict, "
    "load_line_bytes, forecast_peak_bytes, forecast_seconds, observed_peak_bytes, "
    "observed_used_bytes, card_total_bytes, observed_seconds, phases, changes, images, outcome, "
    "error";

const std::string& upsert_run_sql() {
    static const std::string sql = [] {
        std::string marks;
        std::string updates;
        for (const std::string_view column : split(kRunColumns, ',')) {
            const std::string_view name = trim(column);
            marks += marks.empty() ? "?" : ", ?";
            if (name != "run_id")
                updates +=
                    fmt::format("{}{} = excluded.{}", updates.empty() ? "" : ", ", name, name);
        }
        return fmt::format(
            "INSERT INTO runs ({}) VALUES ({}) ON CONFLICT (run_id) DO UPDATE SET {}", kRunColumns,
            marks, updates);
    }();
    return sql;
}

void bind_run(SQLite::Statement& to, const RunRecord& run) {
    int at = 1;
    const auto put = [&](const auto& value) { to.bind(at++, value); };
    const auto put_optional = [&](const auto& value) {
        if (value)
            to.bind(at++, *value);
        else
            to.bind(at++);
    };
    put(run.run_id), put(run.started_ms), put(run.ended_ms), put(run.prompt_id), put(run.prompt);
    put(run.model), put(run.checkpoint), put(run.family);
    const Settings& s = run.settings;
    put(s.width), put(s.height), put(s.batch), put(s.steps), put(s.cfg);
    put(s.sampler), put(s.scheduler), put(s.quality), put(s.seed);
    put(run.card), put(run.comfyui_version), put(run.verdict);
    put(run.load_line.count), put(run.forecast_peak.count), put(run.forecast_seconds);
    for (const auto& bytes : {run.observed_peak, run.observed_used, run.card_total})
        put_optional(bytes ? std::optional(bytes->count) : std::nullopt);
    put_optional(run.observed_seconds);
    put(phases_to_text(run.phases)), put(changes_to_text(run.changes));
    put(images_to_text(run.images)), put(std::string(outcome_name(run.outcome))), put(run.error);
    static_assert(kRunColumnCount == 32);
}

Result<RunRecord> read_row(SQLite::Statement& from) {
    int at = 0;
    const auto text = [&] { return from.getColumn(at++).getString(); };
    const auto integer = [&] { return from.getColumn(at++).getInt64(); };
    const auto number = [&] { return from.getColumn(at++).getDouble(); };
    RunRecord run;
    run.run_id = text(), run.started_ms = integer(), run.ended_ms = integer();
    run.prompt_id = text(), run.prompt = text();
    run.model = text(), run.checkpoint = text(), run.family = text();
    Settings& s = run.settings;
    s.width = static_cast<int>(integer()), s.height = static_cast<int>(integer());
    s.batch = static_cast<int>(integer()), s.steps = static_cast<int>(integer());
    s.cfg = number();
    s.sampler = text(), s.scheduler = text(), s.quality = text(), s.seed = text();
    run.card = text(), run.comfyui_version = text(), run.verdict = text();
    run.load_line = Bytes(integer()), run.forecast_peak = Bytes(integer());
    run.forecast_seconds = number();
    for (auto* const bytes : {&run.observed_peak, &run.observed_used, &run.card_total}) {
        if (!from.getColumn(at).isNull()) *bytes = Bytes(from.getColumn(at).getInt64());
        ++at;
    }
    if (!from.getColumn(at).isNull()) run.observed_seconds = from.getColumn(at).getDouble();
    ++at;
    TRY_ASSIGN(run.phases, parse_phases(text()));
    TRY_ASSIGN(run.changes, parse_changes(text()));
    TRY_ASSIGN(run.images, parse_images(text()));
    const std::string outcome = text();
    const auto known = parse_outcome(outcome);
    if (!known)
        return fail(Errc::Corrupt, fmt::format("run {} has the outcome '{}'", run.run_id, outcome));
    run.outcome = *known;
    run.error = text();
    return run;
}

}  // namespace plimsoll::history
