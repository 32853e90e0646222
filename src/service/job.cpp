// SPDX-License-Identifier: Apache-2.0
#include "service/job.h"

#include "advisor/text_to_image.h"
#include "base/say.h"
#include "service/conversion.h"
#include "workflow/convert/ui_workflow.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <utility>

namespace plimsoll::service {

namespace {

Result<void> check_sources(const JobRequest& request) {
    const int sources = static_cast<int>(request.model.has_value()) +
                        static_cast<int>(request.model_file.has_value()) +
                        static_cast<int>(request.family.has_value()) +
                        static_cast<int>(request.file.has_value()) +
                        static_cast<int>(request.workflow.has_value());
    if (sources != 1)
        return fail(Errc::InvalidInput,
                    fmt::format("a job is named by exactly one of WORKFLOW.json, IMAGE.png, "
                                "--model, --model-file and --family, "
                                "{} were given",
                                sources));
    const bool wishes = request.width || request.height || request.batch || request.steps ||
                        request.cfg || request.sampler || request.scheduler || request.quality ||
                        request.seed || request.negative || !request.prompt.empty();
    if (wishes && (request.file || request.workflow))
        return fail(Errc::InvalidInput,
                    "a workflow brings its own prompt, size and steps: leave --width, --height, "
                    "--steps... away, or use --model");
    return {};
}

Result<Job> job_of_workflow(std::string text, std::string name, ModelLibrary& library) {
    Job job;
    auto graph = workflow::parse_api_workflow(text);
    if (!graph) return name.empty() ? std::unexpected(graph.error()) : fail_at(name, graph.error());
    job.files = library.files_of(*graph, job.warnings);
    for (const workflow::Node& node : graph->nodes)
        if (const auto checkpoint = node.text_of("ckpt_name"); checkpoint && job.checkpoint.empty())
            job.checkpoint = *checkpoint;
    job.family = family_of(*graph, job.files);
    job.from_catalogue = !library.find(job.checkpoint).has_value();
    job.model = name.empty() ? job.checkpoint : std::move(name);
    job.workflow = std::move(text);
    return job;
}

Result<Job> job_of_text(WorkflowText workflow, const std::string& name,
                        const ObjectInfoSource& object_info, ModelLibrary& library) {
    if (!workflow.is_ui_format) return job_of_workflow(std::move(workflow.text), name, library);
    const std::string subject = name.empty() ? "workflow" : name;
    const auto info = read_object_info(object_info);
    if (!info) return fail_at(subject, info.error());
    auto converted = workflow::convert_workflow(workflow.text, *info);
    if (!converted) return fail_at(subject, std::move(converted).error());
    TRY_ASSIGN(Job job, job_of_workflow(std::move(converted->text), name, library));
    job.warnings.insert(job.warnings.begin(), converted->warnings.begin(),
                        converted->warnings.end());
    return job;
}

Result<Job> job_of_file(const std::filesystem::path& path, const ObjectInfoSource& object_info,
                        ModelLibrary& library) {
    TRY_ASSIGN(WorkflowText workflow, read_workflow_file(path));
    return job_of_text(std::move(workflow), path.filename().string(), object_info, library);
}

advisor::Settings settings_of(const JobRequest& request, const advisor::ModelProfile& profile,
                              advisor::Quality quality) {
    advisor::Settings settings;
    settings.model = profile.name;
    settings.width = request.width.value_or(profile.native_side);
    settings.height = request.height.value_or(profile.native_side);
    settings.steps = request.steps.value_or(advisor::steps_of(quality, profile));
    settings.cfg = request.cfg.value_or(profile.best_cfg);
    settings.sampler = request.sampler.value_or(profile.sampler);
    settings.scheduler = request.scheduler.value_or(profile.scheduler);
    settings.batch = request.batch.value_or(1);
    settings.seed = request.seed.value_or(0);
    settings.vae_tiling = request.vae_tiling;
    return settings;
}

// The profile of a job that names no profile: a neutral one at the size that the family was trained
// at.
advisor::ModelProfile neutral_profile(std::string name, std::string checkpoint,
                                      modelfile::Family family) {
    advisor::ModelProfile profile;
    profile.name = std::move(name);
    profile.checkpoint = std::move(checkpoint);
    using enum modelfile::Family;
    if (family == Sd15 || family == Sd15InstructPix2Pix || family == Sd20)
        profile.native_side = 512;
    if (family == Sd21UnclipL || family == Sd21UnclipH) profile.native_side = 768;
    return profile;
}

Result<Job> job_of_settings(const JobRequest& request, const advisor::ModelProfile& profile,
                            SharedContents contents) {
    Job job;
    job.quality = request.quality.value_or(advisor::Quality::Optimized);
    job.settings = settings_of(request, profile, job.quality);
    TRY_DO(advisor::check_ranges(*job.settings));
    job.prompt = request.prompt;
    job.model = profile.name;
    job.checkpoint = profile.checkpoint;
    job.family = modelfile::family_name(contents->family);
    job.files.by_name.emplace(profile.checkpoint, std::move(contents));
    job.workflow = advisor::build_text_to_image(*job.settings, profile.checkpoint,
                                                advisor::styled_prompt(profile, request.prompt),
                                                request.negative.value_or(profile.negative_words));
    return job;
}

Result<Job> job_of_model(const JobRequest& request, const Profiles& profiles,
                         ModelLibrary& library) {
    TRY_ASSIGN(const advisor::ModelProfile profile,
               advisor::find_profile(*request.model, profiles.all));
    if (const auto path = library.find(profile.checkpoint)) {
        TRY_ASSIGN(SharedContents contents, library.read(*path));
        TRY_ASSIGN(Job job, job_of_settings(request, profile, std::move(contents)));
        for (const std::string& note : job.files.by_name.begin()->second->notes)
            job.warnings.push_back(note);
        return job;
    }
    const std::string family = guess_family(profiles, profile);
    TRY_ASSIGN(SharedContents contents, catalogue_contents(family));
    TRY_ASSIGN(Job job, job_of_settings(request, profile, std::move(contents)));
    job.from_catalogue = true;
    job.warnings.push_back(say<"note.catalogue">(profile.checkpoint, family));
    return job;
}

}  // namespace

Result<advisor::Settings> settings_of_wishes(const JobRequest& request, const Profiles& profiles) {
    TRY_ASSIGN(const advisor::ModelProfile profile,
               advisor::find_profile(request.model.value_or(""), profiles.all));
    const advisor::Settings settings =
        settings_of(request, profile, request.quality.value_or(advisor::Quality::Optimized));
    TRY_DO(advisor::check_ranges(settings));
    return settings;
}

namespace {

Result<Job> resolve_source(const JobRequest& request, const Profiles& profiles,
                           ModelLibrary& library, Upstream* comfyui) {
    TRY_DO(check_sources(request));
    if (request.workflow)
        return job_of_text({.text = *request.workflow,
                            .is_ui_format = workflow::is_ui_workflow(*request.workflow)},
                           {}, {.file = request.object_info, .comfyui = comfyui}, library);
    if (request.file) {
        return job_of_file(*request.file, {.file = request.object_info, .comfyui = comfyui},
                           library);
    }
    if (request.model) return job_of_model(request, profiles, library);
    if (request.family) {
        TRY_ASSIGN(SharedContents contents, catalogue_contents(*request.family));
        const auto profile =
            neutral_profile(*request.family, *request.family + ".safetensors", contents->family);
        TRY_ASSIGN(Job job, job_of_settings(request, profile, std::move(contents)));
        job.from_catalogue = true;
        return job;
    }
    TRY_ASSIGN(SharedContents contents, library.read(*request.model_file));
    if (!contents->denoiser)
        return fail(Errc::InvalidInput,
                    fmt::format("{}: holds no diffusion network that Plimsoll knows{}{}",
                                request.model_file->string(), contents->notes.empty() ? "" : ": ",
                                contents->notes.empty() ? "" : contents->notes.front()));
    const std::string name = request.model_file->filename().string();
    const advisor::ModelProfile profile = neutral_profile(name, name, contents->family);
    return job_of_settings(request, profile, std::move(contents));
}

}  // namespace

Result<Job> resolve_job(const JobRequest& request, const Profiles& profiles, ModelLibrary& library,
                        Upstream* comfyui) {
    TRY_ASSIGN(Job job, resolve_source(request, profiles, library, comfyui));
    job.media = request.media;
    return job;
}

}  // namespace plimsoll::service
