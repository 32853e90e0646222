// SPDX-License-Identifier: Apache-2.0
//
// Flags that several commands share, and how a flag's value is checked: every error names the value
// and the range.
#pragma once
#include "advisor/plan.h"
#include "service/job.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace plimsoll::cli {

// `take` takes the value, or returns what is wrong with it.
using Take = std::function<std::string(const std::string&)>;
CLI::Option& add_checked(CLI::App& command, const std::string& flag, const std::string& type,
                         const std::string& what, Take take);

struct WholeRange {
    long long min = 0;
    long long max = 0;
    int step = 1;
};
void add_whole(CLI::App& command, const std::string& flag, std::optional<int>& into,
               const WholeRange& range, const std::string& what);
void add_seed(CLI::App& command, const std::string& flag, std::optional<std::uint64_t>& into,
              const std::string& what);
void add_number(CLI::App& command, const std::string& flag, std::optional<double>& into, double min,
                double max, const std::string& what);
void add_text(CLI::App& command, const std::string& flag, std::optional<std::string>& into,
              const std::string& type, const std::string& what);

// What the job is: one of the five sources, and wishes for a workflow that Plimsoll builds.
struct JobFlags {
    service::JobRequest request;
    std::optional<std::string> preset;
    std::optional<int> frames;
};
enum class WorkflowBy : std::uint8_t { Position, Flag };  // WORKFLOW.json, or --workflow FILE
void add_job_flags(CLI::App& command, JobFlags& into, WorkflowBy by);
void add_object_info_flag(CLI::App& command, std::optional<std::filesystem::path>& into);
// --width, --steps...: the wishes alone.
void add_wish_flags(CLI::App& command, service::JobRequest& into);

// Configuration by flags: each goes over the environment and plimsoll.toml (service/config.h).
struct ConfigFlags {
    std::map<std::string, std::string> values;  // by key: {"max_vram_mb", "4096"}
    std::optional<double> vram_mb;              // no part of the configuration: a what-if
};
void add_home_flags(CLI::App& command, ConfigFlags& into);       // --home
void add_retention_flags(CLI::App& command, ConfigFlags& into);  // --history-days...
void add_server_flags(CLI::App& command, ConfigFlags& into);     // --comfyui-server-url...
void add_limit_flags(CLI::App& command, ConfigFlags& into);      // --max-vram-mb...
// --card, --vram-mb, --comfyui-version, --comfyui-flags, --memory-policy, --models-dir
void add_site_flags(CLI::App& command, ConfigFlags& into);
void add_output_flag(CLI::App& command, ConfigFlags& into);  // --output-dir

// What a plan may change: --pin, --prefer.
struct PlanFlags {
    advisor::Pins pins;
    advisor::Preference preference = advisor::Preference::Quality;
};
void add_plan_flags(CLI::App& command, PlanFlags& into);

// What is wrong with a command line, with the nearest flag or command for one that is not known.
[[nodiscard]] std::string explain_unknown(const std::string& word,
                                          const std::vector<std::string>& known);

}  // namespace plimsoll::cli
