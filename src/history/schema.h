// SPDX-License-Identifier: Apache-2.0
//
// The tables of the history file and how an older file becomes a newer one. Only SqliteStore
// includes this.
#pragma once
#include <array>

namespace plimsoll::history {

// The tables beside the runs are as sqlite_index.h writes them since this version: an older file
// gets them made anew after its last step.
inline constexpr int kIndexSince = 5;

// kMigrations[n] leads from schema version n to n + 1. A landed entry is never edited: files made
// by it exist.
inline constexpr std::array<const char*, 8> kMigrations{
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
    // 5: what makes ten million runs as quick to look at as ten. Everything here but what retention
    // took away can be made again from the runs (sqlite_index.h); the rows are made by code.
    //  - run_facets: what lists filter by, 25 bytes a run in the order of starts.
    //  - day_sums: running summaries for each day and combination of filters; started_least and
    //    started_most also tell a list where to look.
    //  - total_sums: of everything, a model, a card, a day (`by` is StatsBy).
    //  - settings_sums: for settings of a model on a card.
    //  - run_words: the words of prompts.
    R"sql(
DROP INDEX runs_by_start;
DROP INDEX runs_by_model;
DROP INDEX runs_by_family;
CREATE INDEX runs_with_images ON runs (started_ms) WHERE images <> '[]';
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE run_facets (
    started_ms INTEGER NOT NULL,
    run INTEGER NOT NULL,
    model INTEGER NOT NULL,
    card INTEGER NOT NULL,
    family INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    settings INTEGER NOT NULL,
    PRIMARY KEY (started_ms, run)
) WITHOUT ROWID;
CREATE TABLE day_sums (
    day INTEGER NOT NULL,
    model INTEGER NOT NULL,
    card INTEGER NOT NULL,
    family INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    started_least INTEGER NOT NULL,
    started_most INTEGER NOT NULL,
    runs INTEGER NOT NULL, kept INTEGER NOT NULL, done INTEGER NOT NULL, out_of_memory INTEGER NOT NULL,
    seconds_count INTEGER NOT NULL, seconds_sum REAL NOT NULL, seconds_squares REAL NOT NULL, seconds_least REAL, seconds_most REAL,
    peak_count INTEGER NOT NULL, peak_sum REAL NOT NULL, peak_squares REAL NOT NULL, peak_least REAL, peak_most REAL,
    peak_error_count INTEGER NOT NULL, peak_error_sum REAL NOT NULL,
    seconds_error_count INTEGER NOT NULL, seconds_error_sum REAL NOT NULL,
    PRIMARY KEY (day, model, card, family, verdict, outcome)
) WITHOUT ROWID;
CREATE INDEX day_sums_by_model ON day_sums (model, day);
CREATE INDEX day_sums_by_card ON day_sums (card, day);
CREATE INDEX day_sums_by_outcome ON day_sums (outcome, day);
CREATE TABLE total_sums (
    by INTEGER NOT NULL,
    key INTEGER NOT NULL,
    run_least INTEGER NOT NULL,
    run_most INTEGER NOT NULL,
    runs INTEGER NOT NULL, kept INTEGER NOT NULL, done INTEGER NOT NULL, out_of_memory INTEGER NOT NULL,
    seconds_count INTEGER NOT NULL, seconds_sum REAL NOT NULL, seconds_squares REAL NOT NULL, seconds_least REAL, seconds_most REAL,
    peak_count INTEGER NOT NULL, peak_sum REAL NOT NULL, peak_squares REAL NOT NULL, peak_least REAL, peak_most REAL,
    peak_error_count INTEGER NOT NULL, peak_error_sum REAL NOT NULL,
    seconds_error_count INTEGER NOT NULL, seconds_error_sum REAL NOT NULL,
    PRIMARY KEY (by, key)
) WITHOUT ROWID;
CREATE TABLE settings_sums (
    id INTEGER PRIMARY KEY,
    model INTEGER NOT NULL,
    card INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    cfg REAL NOT NULL,
    sampler INTEGER NOT NULL,
    scheduler INTEGER NOT NULL,
    vae_tiled INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    runs INTEGER NOT NULL, kept INTEGER NOT NULL, done INTEGER NOT NULL, out_of_memory INTEGER NOT NULL,
    seconds_count INTEGER NOT NULL, seconds_sum REAL NOT NULL, seconds_squares REAL NOT NULL, seconds_least REAL, seconds_most REAL,
    peak_count INTEGER NOT NULL, peak_sum REAL NOT NULL, peak_squares REAL NOT NULL, peak_least REAL, peak_most REAL,
    peak_error_count INTEGER NOT NULL, peak_error_sum REAL NOT NULL,
    seconds_error_count INTEGER NOT NULL, seconds_error_sum REAL NOT NULL,
    UNIQUE (model, card, steps, width, height, batch, cfg, sampler, scheduler, vae_tiled)
);
CREATE INDEX settings_by_speed ON settings_sums (model, steps, seconds_sum / seconds_count) WHERE seconds_count > 0;
CREATE VIRTUAL TABLE run_words USING fts5 (prompt, facets, content = '', columnsize = 0, tokenize = 'ascii');
)sql",
    // 6: day_sums in blocks of 32 days, so that what is asked of years adds up months, not days.
    R"sql(
CREATE TABLE block_sums (
    block INTEGER NOT NULL,
    model INTEGER NOT NULL,
    card INTEGER NOT NULL,
    family INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    runs INTEGER NOT NULL, kept INTEGER NOT NULL, done INTEGER NOT NULL, out_of_memory INTEGER NOT NULL,
    seconds_count INTEGER NOT NULL, seconds_sum REAL NOT NULL, seconds_squares REAL NOT NULL, seconds_least REAL, seconds_most REAL,
    peak_count INTEGER NOT NULL, peak_sum REAL NOT NULL, peak_squares REAL NOT NULL, peak_least REAL, peak_most REAL,
    peak_error_count INTEGER NOT NULL, peak_error_sum REAL NOT NULL,
    seconds_error_count INTEGER NOT NULL, seconds_error_sum REAL NOT NULL,
    PRIMARY KEY (block, model, card, family, verdict, outcome)
) WITHOUT ROWID;
INSERT INTO block_sums
SELECT day >> 5, model, card, family, verdict, outcome, sum(runs), sum(kept), sum(done), sum(out_of_memory),
    sum(seconds_count), sum(seconds_sum), sum(seconds_squares), min(seconds_least), max(seconds_most),
    sum(peak_count), sum(peak_sum), sum(peak_squares), min(peak_least), max(peak_most),
    sum(peak_error_count), sum(peak_error_sum), sum(seconds_error_count), sum(seconds_error_sum)
FROM day_sums GROUP BY 1, 2, 3, 4, 5, 6;
)sql",
    // 7: the gateway's queue, and shapes of jobs that are known not to fit.
    R"sql(
CREATE TABLE held_jobs (
    prompt_id TEXT PRIMARY KEY,
    accepted_ms INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    body TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE TABLE walls (
    shape TEXT PRIMARY KEY,
    met_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
)sql",
    // 8: quality sessions.
    R"sql(
CREATE TABLE quality_sessions (
    session_id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    plan TEXT NOT NULL,
    progress TEXT NOT NULL,
    findings TEXT NOT NULL
);
CREATE INDEX quality_sessions_by_start ON quality_sessions (created_ms);
CREATE TABLE quality_pictures (
    session_id TEXT NOT NULL,
    candidate INTEGER NOT NULL,
    block INTEGER NOT NULL,
    picture TEXT NOT NULL,
    PRIMARY KEY (session_id, candidate, block)
) WITHOUT ROWID;
CREATE TABLE quality_votes (
    vote_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    voted_ms INTEGER NOT NULL,
    vote TEXT NOT NULL
);
CREATE INDEX quality_votes_by_session ON quality_votes (session_id);
)sql",
};

}  // namespace plimsoll::history
