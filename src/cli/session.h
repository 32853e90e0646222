// SPDX-License-Identifier: Apache-2.0
//
// What one command has while it runs: the world, its screens, whether it answers in JSON, and the
// steps that several commands take in the same way.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "cli/exit.h"
#include "cli/flags.h"
#include "cli/screen.h"
#include "cli/world.h"
#include "service/config.h"
#include "service/job.h"
#include "service/site.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

// After the error of a daemon that nobody reaches.
inline constexpr std::string_view kNoDaemon = ": is `plimsoll serve` running? --url names another";

class Session {
  public:
    explicit Session(const World& world);

    const World& world;
    Screen out;
    Screen err;
    bool json = false;  // --json

    // Where a daemon of ours listens: as it is named, else as it is configured.
    [[nodiscard]] Result<std::string> daemon_url(const std::optional<std::string>& named,
                                                 const ConfigFlags& flags);
    // With warnings about it on standard error.
    [[nodiscard]] Result<service::Config> read_config(const ConfigFlags& flags);
    // The job that the flags name; `request` may be the flags' own, completed by the command.
    [[nodiscard]] Result<service::Job> resolve_job(const service::Config& config, JobFlags flags);
    // Job, place and limits of a question about a job that is not run.
    struct Question {
        service::Config config;
        service::Job job;
        service::Site site;
        advisor::Budget budget;
    };
    [[nodiscard]] Result<Question> read_question(const ConfigFlags& config, const JobFlags& job);

    // What this machine's runs say of the card; nullptr: nothing, or nothing is to be learned.
    [[nodiscard]] timing::SharedPaces learned_paces(const service::Config& config,
                                                    const service::Site& site);

    // Prints the one JSON answer of a command.
    void answer(const json::object& object);
    void warn(std::string_view text);  // on standard error
    // Prints an error: on standard error for people, as {"error":...} with --json.
    Exit fail_with(const Error& error, Exit exit);
    Exit fail_with(const Error& error) { return fail_with(error, exit_of(error)); }
};

}  // namespace plimsoll::cli
