// SPDX-License-Identifier: Apache-2.0
//
// The tables of the history file and how an older file becomes a newer one. Only SqliteStore
// includes this.
#pragma once
#include <array>

namespace plimsoll::history {

// kMigrations[n] leads from schema version n to n + 1. A landed entry is never edited: files made
// by it exist.
inline constexpr std::array<const char*, 4> kMigrations{
    // 1: runs and presets. Lists (phases, changes, images) are JSON text: they are read and written
    // whole.
    R"sql(
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    prompt_id TEXT NOT NULL,
    prompt TEXT NOT NULL,
    model TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    family TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    cfg REAL NOT NULL,
    sampler TEXT NOT NULL,
    scheduler TEXT NOT NULL,
    quality TEXT NOT NULL,
    seed TEXT NOT NULL,
    card TEXT NOT NULL,
    comfyui_version TEXT NOT NULL,
    verdict TEXT NOT NULL,
    load_line_bytes INTEGER NOT NULL,
    forecast_peak_bytes INTEGER NOT NULL,
    forecast_seconds REAL NOT NULL,
    observed_peak_bytes INTEGER,
    observed_seconds REAL,
    phases TEXT NOT NULL,
    changes TEXT NOT NULL,
    images TEXT NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE TABLE presets (
    name TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    saved_ms INTEGER NOT NULL
) WITHOUT ROWID;
)sql",
    // 2: a page of the list and a model's statistics read an index instead of the whole table.
    R"sql(
CREATE INDEX runs_by_start ON runs (started_ms, id);
CREATE INDEX runs_by_model ON runs (model, started_ms, id);
CREATE INDEX runs_by_family ON runs (family, started_ms, id);
)sql",
    // 3: what the whole card held beside what torch had allocated.
    R"sql(
ALTER TABLE runs ADD COLUMN observed_used_bytes INTEGER;
ALTER TABLE runs ADD COLUMN card_total_bytes INTEGER;
)sql",
    // 4: the daemon's queue, so that a stop or a crash loses no job.
    R"sql(
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    submitted_ms INTEGER NOT NULL,
    started INTEGER NOT NULL,
    request TEXT NOT NULL
) WITHOUT ROWID;
)sql",
};

}  // namespace plimsoll::history
