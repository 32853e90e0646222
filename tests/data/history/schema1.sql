-- SPDX-License-Identifier: Apache-2.0
-- A history file as a Plimsoll with schema 1 left it. Never edited: such files exist.
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
INSERT INTO runs (run_id, started_ms, ended_ms, prompt_id, prompt, model, checkpoint, family, width, height, batch, steps, cfg,
    sampler, scheduler, quality, seed, card, comfyui_version, verdict, load_line_bytes, forecast_peak_bytes, forecast_seconds,
    observed_peak_bytes, observed_seconds, phases, changes, images, outcome, error)
VALUES ('old-run', 1764000000000, 1764000045000, '0f0e0d0c-0b0a-4909-8807-060504030201', 'cute dragon character', 'sdxl-base',
    'sd_xl_base_1.0.safetensors', 'sdxl', 1024, 1024, 1, 30, 7.0, 'dpmpp_2m', 'karras', 'high', '18446744073709551615',
    'NVIDIA GeForce RTX 3050 6GB', '0.3.64', 'fits_slowly', 4563402752, 4300000000, 61.5, NULL, 60.25,
    '[{"kind":"vae_decode","nodeId":"8","forecastPeakBytes":4100000000,"forecastSeconds":2.5,"observedPeakBytes":4000000000}]',
    '[{"knob":"vae","from":"whole","to":"tiled","savedBytes":900000000,"seconds":1.5}]', '["/pictures/dragon.png"]', 'done', '');
INSERT INTO presets (name, settings, saved_ms) VALUES ('portrait', '{"steps": 30}', 1764000000000);
PRAGMA user_version = 1;
