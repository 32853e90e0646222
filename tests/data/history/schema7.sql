-- SPDX-License-Identifier: Apache-2.0
-- A history file as a Plimsoll with schema 7 left it. Never edited: such files exist.
-- Two more runs of the same day are only in the sums: retention took them.
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
CREATE INDEX runs_by_start ON runs (started_ms, id);
CREATE INDEX runs_by_model ON runs (model, started_ms, id);
CREATE INDEX runs_by_family ON runs (family, started_ms, id);
ALTER TABLE runs ADD COLUMN observed_used_bytes INTEGER;
ALTER TABLE runs ADD COLUMN card_total_bytes INTEGER;
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    submitted_ms INTEGER NOT NULL,
    started INTEGER NOT NULL,
    request TEXT NOT NULL
) WITHOUT ROWID;
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
INSERT INTO runs (run_id, started_ms, ended_ms, prompt_id, prompt, model, checkpoint, family, width, height, batch, steps, cfg,
    sampler, scheduler, quality, seed, card, comfyui_version, verdict, load_line_bytes, forecast_peak_bytes, forecast_seconds,
    observed_peak_bytes, observed_seconds, phases, changes, images, outcome, error)
VALUES ('old-run', 1764000000000, 1764000045000, '0f0e0d0c-0b0a-4909-8807-060504030201', 'cute dragon character', 'sdxl-base',
    'sd_xl_base_1.0.safetensors', 'sdxl', 1024, 1024, 1, 30, 7.0, 'dpmpp_2m', 'karras', 'high', '18446744073709551615',
    'NVIDIA GeForce RTX 3050 6GB', '0.3.64', 'fits_slowly', 4563402752, 4300000000, 61.5, NULL, 60.25,
    '[{"kind":"vae_decode","nodeId":"8","forecastPeakBytes":4100000000,"forecastSeconds":2.5,"observedPeakBytes":4000000000}]',
    '[{"knob":"vae","from":"whole","to":"tiled","savedBytes":900000000,"seconds":1.5}]', '["/pictures/dragon.png"]', 'done', '');
INSERT INTO presets (name, settings, saved_ms) VALUES ('portrait', '{"steps": 30}', 1764000000000);
UPDATE runs SET observed_used_bytes = 5100000000, card_total_bytes = 6442450944 WHERE run_id = 'old-run';
INSERT INTO jobs (job_id, submitted_ms, started, request) VALUES ('old-job', 1764000100000, 0, '{"prompt": "a castle", "model": "sdxl-base"}');
INSERT INTO names (id, name) VALUES (1, 'sdxl-base'), (2, 'NVIDIA GeForce RTX 3050 6GB'), (3, 'sdxl'), (4, 'fits_slowly'), (5, 'dpmpp_2m'), (6, 'karras');
INSERT INTO run_facets VALUES (1764000000000, 1, 1, 2, 3, 4, 1, 1);
INSERT INTO settings_sums VALUES (1, 1, 2, 30, 1024, 1024, 1, 7.0, 5, 6, 0, 1764000000000, 1, 1, 1, 0, 1, 60.25, 3630.0625, 60.25, 60.25,
    0, 0, 0, NULL, NULL, 0, 0, 1, 0.0207);
INSERT INTO day_sums VALUES (20416, 1, 2, 3, 4, 1, 1764000000000, 1764000000000, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5,
    0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621);
INSERT INTO block_sums VALUES (638, 1, 2, 3, 4, 1, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5, 0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621);
INSERT INTO total_sums VALUES (0, 0, 1, 1, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5, 0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621),
    (1, 1, 1, 1, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5, 0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621),
    (2, 2, 1, 1, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5, 0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621),
    (3, 20416, 1, 1, 3, 1, 3, 0, 3, 180.75, 10890.1875, 60.0, 60.5, 0, 0, 0, NULL, NULL, 0, 0, 3, 0.0621);
INSERT INTO run_words (rowid, prompt, facets) VALUES (1, 'cute dragon character', 'm1 c2 f3 v4 o1');
INSERT INTO held_jobs VALUES ('held', 1764000200000, 1, 0, 0, 0, '{"prompt": {}}', '{}');
INSERT INTO walls VALUES ('shape', 1764000300000, '6 GiB were needed');
PRAGMA user_version = 7;
