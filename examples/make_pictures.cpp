// SPDX-License-Identifier: Apache-2.0
//
// Pictures through ComfyUI, kept under the load line, with settings that are remembered by name.
//
//   make_pictures PROMPT [MODEL]
//
// ComfyUI is where COMFYUI_SERVER_URL and COMFYUI_PORT say; Ctrl-C interrupts the job.
#include <plimsoll/plimsoll.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <string>

namespace {

constexpr const char* kPreset = "make_pictures";
std::atomic<bool> cancelled = false;

double mib(std::int64_t bytes) {
    return static_cast<double>(bytes) / 1048576.0;
}

int fail(const plimsoll::Error& error) {
    std::fprintf(stderr, "make_pictures: %s\n", error.message.c_str());
    return error.code == plimsoll::Errc::Unavailable ? 4 : 1;
}

// What this model did well with before, else settings that fit this machine.
plimsoll::Result<plimsoll::Settings> choose_settings(plimsoll::ResourceManager& manager,
                                                     const std::string& model) {
    auto best = manager.get_best_settings(model, 0.5);
    if (!best) return std::unexpected(best.error());
    if (*best) return **best;
    return manager.calculate_optimal_settings(1024, 1024, plimsoll::Quality::Optimized, model);
}

void print(const plimsoll::Progress& progress) {
    std::printf("\r%-12s %3.0f of %3.0f  %5.1f s of %.1f  %5.0f MiB, line at %.0f MiB ",
                progress.phase.c_str(), progress.value, progress.max, progress.seconds,
                progress.forecast_seconds, mib(progress.allocated_bytes),
                mib(progress.load_line_bytes));
    std::fflush(stdout);
}

void print(const plimsoll::Generation& generation) {
    std::printf("\n%s%s%s\n", std::string(plimsoll::generation_end_name(generation.end)).c_str(),
                generation.why.empty() ? "" : ": ", generation.why.c_str());
    for (const auto& image : generation.images) std::printf("saved %s\n", image.c_str());
    for (const plimsoll::Run& run : generation.runs)
        std::printf("forecast %.0f MiB and %.1f s, observed %.0f MiB and %.1f s\n",
                    mib(run.forecast_peak_bytes), run.forecast_seconds,
                    mib(run.observed_peak_bytes.value_or(0)), run.observed_seconds.value_or(0));
    for (const std::string& warning : generation.warnings)
        std::printf("note: %s\n", warning.c_str());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: make_pictures PROMPT [MODEL]\n");
        return 2;
    }
    const std::string model = argc > 2 ? argv[2] : "sdxl-base";
    std::signal(SIGINT, [](int) { cancelled = true; });

    auto manager = plimsoll::ResourceManager::create();
    if (!manager) return fail(manager.error());
    const auto settings = choose_settings(*manager, model);
    if (!settings) return fail(settings.error());
    const auto summary = manager->get_resource_summary(*settings);
    if (!summary) return fail(summary.error());
    std::printf("%s: %d x %d, %d steps, about %.0f MiB and %.0f s\n", manager->where().c_str(),
                settings->width, settings->height, settings->steps, mib(summary->vram_bytes),
                summary->seconds);

    plimsoll::GenerateOptions options;
    options.custom_settings = *settings;
    options.cancelled = &cancelled;
    options.on_progress = [](const plimsoll::Progress& progress) { print(progress); };
    const auto generation = plimsoll::generate(argv[1], model, options);
    if (!generation) return fail(generation.error());
    print(*generation);
    if (generation->end != plimsoll::GenerationEnd::Done) return 1;

    auto presets = plimsoll::Presets::open();
    if (!presets) return fail(presets.error());
    if (const auto saved = presets->save(kPreset, plimsoll::Wishes(*settings)); !saved)
        return fail(saved.error());
    std::printf("these settings are the preset %s now\n", kPreset);
    return 0;
}
