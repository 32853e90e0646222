-- Rows as a Plimsoll with history schema 1 wrote them. Never edited: files with such rows exist.
INSERT INTO runs (run_id, started_ms, ended_ms, prompt_id, prompt, model, checkpoint, family, width, height, batch, steps, cfg,
    sampler, scheduler, quality, seed, card, comfyui_version, verdict, load_line_bytes, forecast_peak_bytes, forecast_seconds,
    observed_peak_bytes, observed_seconds, phases, changes, images, outcome, error)
VALUES ('old-run', 1764000000000, 1764000045000, '0f0e0d0c-0b0a-4909-8807-060504030201', 'cute dragon character', 'sdxl-base',
    'sd_xl_base_1.0.safetensors', 'sdxl', 1024, 1024, 1, 30, 7.0, 'dpmpp_2m', 'karras', 'high', '18446744073709551615',
    'NVIDIA GeForce RTX 3050 6GB', '0.3.64', 'fits_slowly', 4563402752, 4300000000, 61.5, NULL, 60.25,
    '[{"kind":"vae_decode","nodeId":"8","forecastPeakBytes":4100000000,"forecastSeconds":2.5,"observedPeakBytes":4000000000}]',
    '[{"knob":"vae","from":"whole","to":"tiled","savedBytes":900000000,"seconds":1.5}]', '["/pictures/dragon.png"]', 'done', '');
INSERT INTO presets (name, settings, saved_ms) VALUES ('portrait', '{"steps": 30}', 1764000000000);
