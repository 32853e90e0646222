// SPDX-License-Identifier: Apache-2.0
//
// What a job is: a workflow in API format (converted, where the file is in UI format) with the
// contents of its model files, from whatever the door was given: a profile or checkpoint name, a
// model file, a family, a workflow file, a ComfyUI picture.
//
// Enters through: files.   Leaves through: Job.   Threads: as ModelLibrary.
#pragma once
#include "advisor/settings.h"
#include "base/error.h"
#include "base/phrase.h"
#include "memory/input_media.h"
#include "service/comfyui/upstream.h"
#include "service/models.h"
#include "service/profiles.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

// Exactly one of the five sources; the rest are wishes for a workflow that Plimsoll builds itself.
// A wish together with a workflow is InvalidInput.
struct JobRequest {
    std::optional<std::string> model;  // a profile's name, or a checkpoint as ComfyUI lists it
    std::optional<std::filesystem::path> model_file;
    std::optional<std::string> family;          // "sdxl"
    std::optional<std::filesystem::path> file;  // WORKFLOW.json or IMAGE.png
    std::optional<std::string> workflow;        // API or UI format, as text
    // What a server says about its nodes (GET /object_info), for a workflow in UI format.
    std::optional<std::filesystem::path> object_info;

    std::string prompt;
    std::optional<std::string> negative;  // nullopt: the profile's
    std::optional<int> width;
    std::optional<int> height;
    std::optional<int> batch;
    std::optional<int> steps;
    std::optional<double> cfg;
    std::optional<std::string> sampler;
    std::optional<std::string> scheduler;
    std::optional<advisor::Quality> quality;
    std::optional<std::uint64_t> seed;
    bool vae_tiling = false;
    memory::InputMedia media;  // sizes of what a workflow's nodes load
};

struct Job {
    std::string workflow;  // API format
    memory::ModelFiles files;
    memory::InputMedia media;
    std::optional<advisor::Settings> settings;  // where Plimsoll built the workflow
    advisor::Quality quality = advisor::Quality::Optimized;
    std::string prompt;           // the user's words, where Plimsoll built the workflow
    std::string model;            // as asked for: profile, checkpoint, family or file
    std::string checkpoint;       // the first checkpoint that the workflow names
    std::string family;           // "sdxl", "unknown"
    bool from_catalogue = false;  // no file was read for the checkpoint
    Phrases warnings;
};

// InvalidInput names the value and its range; NotFound lists the nearest names. `comfyui` is asked
// for object_info where a workflow is in UI format and none is given; nullptr: it is refused.
[[nodiscard]] Result<Job> resolve_job(const JobRequest& request, const Profiles& profiles,
                                      ModelLibrary& library, Upstream* comfyui = nullptr);

// All settings of a job that names a model: what it leaves open comes from the model's profile.
[[nodiscard]] Result<advisor::Settings> settings_of_wishes(const JobRequest& request,
                                                           const Profiles& profiles);

}  // namespace plimsoll::service
