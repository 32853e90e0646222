// SPDX-License-Identifier: Apache-2.0
#include "cli/flags.h"

#include "advisor/settings.h"
#include "base/text.h"
#include "service/media.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <utility>

namespace plimsoll::cli {

namespace {

constexpr const char* kWhat = "What the job is";
constexpr const char* kWishes = "Settings of a workflow that Plimsoll builds";
constexpr const char* kWhere = "Where it runs";
constexpr const char* kServer = "ComfyUI";
constexpr const char* kLimits = "Limits";
constexpr const char* kFiles = "Files";
constexpr const char* kChanges = "What may change";

CLI::Option* add_config(CLI::App& command, ConfigFlags& into, const std::string& flag,
                        const char* key, const char* type, const char* group,
                        const std::string& what) {
    CLI::Option* const option = command.add_option_function<std::string>(
        flag, [&into, key](const std::string& text) { into.values[key] = text; }, what);
    option->type_name(type)->group(group);
    return option;
}

CLI::Option* in_group(CLI::App& command, const std::string& flag, const char* group) {
    CLI::Option* const option = command.get_option(flag);
    option->group(group);
    return option;
}

}  // namespace

CLI::Option& add_checked(CLI::App& command, const std::string& flag, const std::string& type,
                         const std::string& what, Take take) {
    // CLI11 asks the check before anything else, once for each value.
    CLI::Option* const option =
        command.add_option_function<std::string>(flag, [](const std::string&) {}, what);
    option->type_name(type)->check(CLI::Validator(
        [take = std::move(take)](const std::string& text) { return take(text); }, ""));
    return *option;
}

void add_whole(CLI::App& command, const std::string& flag, std::optional<int>& into,
               const WholeRange& range, const std::string& what) {
    const std::string words =
        fmt::format("{} to {}{}", range.min, range.max,
                    range.step == 1 ? std::string() : fmt::format(" in steps of {}", range.step));
    add_checked(
        command, flag, "N", fmt::format("{} ({})", what, words),
        [&into, range, words](const std::string& text) {
            const auto value = parse_integer(trim(text));
            if (!value || *value < range.min || *value > range.max || *value % range.step != 0)
                return fmt::format("'{}' is out of range: {}", text, words);
            into = static_cast<int>(*value);
            return std::string();
        });
}

void add_seed(CLI::App& command, const std::string& flag, std::optional<std::uint64_t>& into,
              const std::string& what) {
    add_checked(command, flag, "N", what, [&into](const std::string& text) {
        std::uint64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, value);
        if (read.ec != std::errc() || read.ptr != end)
            return fmt::format("'{}' is out of range: 0 to 18446744073709551615", text);
        into = value;
        return std::string();
    });
}

void add_number(CLI::App& command, const std::string& flag, std::optional<double>& into, double min,
                double max, const std::string& what) {
    add_checked(command, flag, "X", fmt::format("{} ({} to {})", what, min, max),
                [&into, min, max](const std::string& text) {
                    const auto value = parse_number(trim(text));
                    if (!value || *value < min || *value > max)
                        return fmt::format("'{}' is out of range: {} to {}", text, min, max);
                    into = value;
                    return std::string();
                });
}

void add_text(CLI::App& command, const std::string& flag, std::optional<std::string>& into,
              const std::string& type, const std::string& what) {
    command
        .add_option_function<std::string>(
            flag, [&into](const std::string& text) { into = text; }, what)
        ->type_name(type);
}

void add_wish_flags(CLI::App& command, service::JobRequest& into) {
    const WholeRange side{advisor::kSideMin, advisor::kSideMax, advisor::kSideStep};
    add_whole(command, "--width", into.width, side, "pixels");
    add_whole(command, "--height", into.height, side, "pixels");
    add_whole(command, "--batch", into.batch, {1, advisor::kBatchMax}, "pictures at once");
    add_whole(command, "--steps", into.steps, {advisor::kStepsMin, advisor::kStepsMax},
              "denoising steps");
    add_number(command, "--cfg", into.cfg, advisor::kCfgMin, advisor::kCfgMax,
               "classifier-free guidance");
    add_text(command, "--sampler", into.sampler, "NAME", "euler, dpmpp_2m, ... as ComfyUI has it");
    add_text(command, "--scheduler", into.scheduler, "NAME", "normal, karras, ...");
    add_checked(command, "--quality", "NAME", "draft, optimized, high or ultra",
                [&into](const std::string& text) {
                    const auto quality = advisor::parse_quality(text);
                    if (!quality) return quality.error().message;
                    into.quality = *quality;
                    return std::string();
                });
    add_seed(command, "--seed", into.seed, "of the picture's noise");
    add_text(command, "--negative", into.negative, "TEXT", "what the picture must not show");
    command.add_flag("--vae-tiling", into.vae_tiling, "decode in tiles");
    for (const char* const flag :
         {"--width", "--height", "--batch", "--steps", "--cfg", "--sampler", "--scheduler",
          "--quality", "--seed", "--negative", "--vae-tiling"})
        in_group(command, flag, kWishes);
}

void add_object_info_flag(CLI::App& command, std::optional<std::filesystem::path>& into) {
    command
        .add_option_function<std::string>(
            "--object-info", [&into](const std::string& path) { into = path; },
            "what ComfyUI answers to GET /object_info, for a workflow in UI format; without it the "
            "running ComfyUI is asked")
        ->type_name("FILE");
}

void add_job_flags(CLI::App& command, JobFlags& into, WorkflowBy by) {
    service::JobRequest& request = into.request;
    const auto take_file = [&request](const std::string& path) { request.file = path; };
    if (by == WorkflowBy::Position)
        command
            .add_option_function<std::string>(
                "workflow", take_file,
                "WORKFLOW.json in API or UI format, or IMAGE.png that ComfyUI saved")
            ->type_name("FILE")
            ->group(kWhat);
    else
        command
            .add_option_function<std::string>(
                "--workflow", take_file,
                "run a workflow in API or UI format, or that of a picture which ComfyUI saved")
            ->type_name("FILE")
            ->group(kWhat);
    add_text(command, "--model", request.model, "NAME",
             "a profile (sdxl-base, anime-sprite, 3d-cartoon or your own) or a checkpoint file as "
             "ComfyUI lists it");
    command
        .add_option_function<std::string>(
            "--model-file", [&request](const std::string& path) { request.model_file = path; },
            "a model file on this machine")
        ->type_name("PATH");
    add_text(command, "--family", request.family, "NAME",
             "a known architecture instead of a file: sd15, sdxl, ...");
    add_object_info_flag(command, request.object_info);
    add_checked(command, "--input", "NAME=WxH",
                "the size of a picture or video that the workflow loads: photo.png=832x1216, "
                "clip.mp4=832x480x81, song.mp3=30s, or photo.png=FILE on this machine",
                [&request](const std::string& text) -> std::string {
                    auto media = service::parse_media(text);
                    if (!media) return media.error().message;
                    request.media.by_name.insert_or_assign(std::move(media->first), media->second);
                    return {};
                })
        .multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // each was taken at its check
    add_text(command, "--preset", into.preset, "NAME", "saved settings; other flags go over them");
    for (const char* const flag :
         {"--model", "--model-file", "--family", "--object-info", "--input", "--preset"})
        in_group(command, flag, kWhat);
    add_wish_flags(command, request);
    // The networks of this version draw single pictures.
    add_whole(command, "--frames", into.frames, {1, 1}, "frames of a video");
    in_group(command, "--frames", kWishes);
}

void add_home_flags(CLI::App& command, ConfigFlags& into) {
    add_config(command, into, "--home", "home", "DIR", kFiles,
               "where history, presets and pictures are kept (PLIMSOLL_HOME)");
}

void add_retention_flags(CLI::App& command, ConfigFlags& into) {
    add_config(command, into, "--history-days", "history_days", "N", kFiles,
               "days that runs are kept, 0: for ever (PLIMSOLL_HISTORY_DAYS)");
    add_config(command, into, "--history-runs", "history_runs", "N", kFiles,
               "newest runs that are kept, 0: all (PLIMSOLL_HISTORY_RUNS)");
    add_config(command, into, "--pictures-days", "pictures_days", "N", kFiles,
               "days that pictures in the output folder are kept, 0: for ever "
               "(PLIMSOLL_PICTURES_DAYS)");
}

void add_output_flag(CLI::App& command, ConfigFlags& into) {
    add_config(command, into, "--output-dir", "output_dir", "DIR", kFiles,
               "where pictures are saved (PLIMSOLL_OUTPUT_DIR)");
}

void add_server_flags(CLI::App& command, ConfigFlags& into) {
    add_config(command, into, "--comfyui-server-url", "comfyui_server_url", "URL", kServer,
               "its address without port (COMFYUI_SERVER_URL, built-in http://localhost)");
    add_config(command, into, "--comfyui-port", "comfyui_port", "N", kServer,
               "its port (COMFYUI_PORT, built-in 8188)");
    add_config(command, into, "--comfyui-timeout", "comfyui_timeout", "MS", kServer,
               "how long a job may take there (COMFYUI_TIMEOUT, built-in 1200000)");
}

void add_limit_flags(CLI::App& command, ConfigFlags& into) {
    add_config(command, into, "--max-vram-mb", "max_vram_mb", "N", kLimits,
               "MiB that a job may take (MAX_VRAM_MB, built-in 5120)");
    add_config(command, into, "--safety-margin", "safety_margin", "X", kLimits,
               "the load line is --max-vram-mb less this share (SAFETY_MARGIN, built-in 0.15)");
    add_config(command, into, "--max-duration-min", "max_duration_min", "N", kLimits,
               "minutes that a job may take (MAX_DURATION_MIN, built-in 30)");
}

void add_site_flags(CLI::App& command, ConfigFlags& into) {
    add_config(
        command, into, "--card", "card", "NAME", kWhere,
        "a card of the catalogue instead of ComfyUI's own: rtx3050-6gb, ... (PLIMSOLL_CARD)");
    add_number(command, "--vram-mb", into.vram_mb, 1024, 1'048'576, "the card's memory in MiB");
    in_group(command, "--vram-mb", kWhere);
    add_config(command, into, "--comfyui-version", "comfyui_version", "X.Y.Z", kWhere,
               "as if this version ran (PLIMSOLL_COMFYUI_VERSION)");
    add_config(command, into, "--comfyui-flags", "comfyui_flags", "\"...\"", kWhere,
               "as if ComfyUI were started with these (PLIMSOLL_COMFYUI_FLAGS)");
    add_config(command, into, "--memory-policy", "memory_policy", "NAME", kWhere,
               "estimate or dynamic; by version and card otherwise (PLIMSOLL_MEMORY_POLICY)");
    add_config(command, into, "--learned", "learned", "on|off", kWhere,
               "seconds by what own runs took; off: by the table alone (PLIMSOLL_LEARNED)");
    add_config(command, into, "--models-dir", "models_dir", "DIR[:DIR]", kWhere,
               "where model files lie on this machine (PLIMSOLL_MODELS_DIR)");
}

void add_plan_flags(CLI::App& command, PlanFlags& into) {
    add_checked(command, "--pin", "NAME,NAME",
                "values that must stay: steps, seed, width, height, size, batch, cfg, sampler, "
                "scheduler, model, precision, vae",
                [&into](const std::string& text) -> std::string {
                    auto pins = advisor::parse_pins(text);
                    if (!pins) return pins.error().message;
                    into.pins.merge(*pins);
                    return {};
                })
        .group(kChanges);
    add_checked(command, "--prefer", "NAME",
                "quality (the least change), or speed (cheap changes too where they save time)",
                [&into](const std::string& text) -> std::string {
                    const std::string name = to_lower_ascii(trim(text));
                    if (name != "quality" && name != "speed")
                        return fmt::format("'{}' is not one of quality, speed", text);
                    into.preference =
                        name == "speed" ? advisor::Preference::Speed : advisor::Preference::Quality;
                    return {};
                })
        .group(kChanges);
}

std::string explain_unknown(const std::string& word, const std::vector<std::string>& known) {
    const auto nearest = nearest_names(word, known, 1);
    const bool is_near = !nearest.empty() && edit_distance(word, nearest.front()) <= 3;
    return fmt::format("{} is not known{}", word,
                       is_near ? fmt::format(", did you mean {}?", nearest.front()) : "");
}

}  // namespace plimsoll::cli
