// SPDX-License-Identifier: Apache-2.0
//
// plimsoll generate: a picture, kept under the load line.
#include "service/generate.h"

#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/draw_plan.h"
#include "cli/draw_progress.h"
#include "cli/draw_run.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "wire/encode.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace plimsoll::cli {

namespace {

struct Flags {
    JobFlags job;
    ConfigFlags config;
    PlanFlags plan;
    bool run_anyway = false;
    bool simulate = false;
    std::optional<double> speed;
};

// Who runs the job: the user's ComfyUI, or a simulated one of ours.
struct Server {
    std::unique_ptr<service::Upstream> theirs;
    std::unique_ptr<service::OwnServer> ours;
};

Result<void> check_flags(const Flags& flags) {
    const service::JobRequest& request = flags.job.request;
    if (request.prompt.empty() && !request.file)
        return fail(Errc::InvalidInput,
                    "what shall be drawn? plimsoll generate PROMPT --model NAME, or --workflow "
                    "FILE");
    if (request.family)
        return fail(Errc::InvalidInput,
                    "--family names no file that ComfyUI could load: use --model");
    if (flags.simulate) return {};
    if (flags.config.values.contains("card"))
        return fail(Errc::InvalidInput,
                    "--card goes with --simulate: without it the card is ComfyUI's own");
    if (flags.speed) return fail(Errc::InvalidInput, "--speed goes with --simulate");
    return {};
}

Result<Server> find_server(Session& session, const Flags& flags, const service::Config& config,
                           std::uint64_t seed) {
    Server server;
    if (flags.simulate) {
        const std::string card =
            config.card.value.empty() ? service::kReferenceCard : config.card.value;
        TRY_ASSIGN(
            server.ours,
            session.world.simulate({.card = card, .seed = seed, .speed = flags.speed.value_or(1)}));
    } else {
        TRY_ASSIGN(server.theirs, session.world.reach_comfyui(config));
    }
    return server;
}

// A history that cannot be written is no reason not to draw.
std::unique_ptr<history::Store> open_history(Session& session, const service::Config& config) {
    auto store = session.world.open_history(config.history_file(), World::Access::Write);
    if (store) return std::move(*store);
    session.warn(fmt::format("the run will not be recorded: {}", store.error().message));
    return nullptr;
}

void draw_plan_of_job(Screen& out, const service::Job& job, const service::PlanAnswer& answer,
                      const service::Site& site, const service::Config& config, bool run_anyway,
                      advisor::ServerControl control) {
    const advisor::Plan& plan = answer.plan;
    if (!job.prompt.empty()) out.paragraph("prompt     ", plain(job.prompt), 11);
    const std::string kind = control == advisor::ServerControl::Ours ? "simulated " : "";
    draw_job(out, job, fmt::format("{}{}, {}", kind, site.card_name, answer.where.message()),
             config, answer.budget);
    out.line();
    out.line(out.styled(Style::Bold, "forecast"));
    draw_phases(out, plan.before, answer.budget);
    draw_verdict(out, answer.verdict_before, plan.judged_before);
    draw_warnings(out, answer.warnings);
    out.line();
    draw_plan(out, plan, answer.budget, control);
    const bool fits = plan.verdict != advisor::PlanVerdict::NothingFits;
    const bool differs = plan.after.memory.peak != plan.before.memory.peak ||
                         plan.workflows != std::vector{job.workflow};
    if (differs && fits && !run_anyway) {
        out.line();
        out.line(out.styled(Style::Bold, plan.workflows.size() > 1
                                             ? "forecast with the plan, first run"
                                             : "forecast with the plan"));
        draw_phases(out, plan.after, answer.budget);
    }
    out.line();
    if (run_anyway)
        out.line(out.styled(Style::Bold, "running anyway, as it was asked for"));
    else if (fits)
        out.line(out.styled(Style::Bold, "running"));
    if (const auto flushed = out.flush(); !flushed) return;  // said at the end
}

void draw_generation(Screen& out, const service::Generation& generation,
                     const service::Config& config) {
    using service::GenerateEnd;
    const bool done = generation.end == GenerateEnd::Done;
    if (!done) {
        const std::string word = spoken(service::generate_end_name(generation.end));
        out.paragraph(out.styled(Style::Bad, word) + ": ", plain(generation.why.message()), 2);
    }
    if (generation.end == GenerateEnd::DoesNotFit)
        out.line("nothing was submitted; --run-anyway submits it as it is");
    if (generation.end == GenerateEnd::OutOfMemory)
        out.line("without --run-anyway the plan above is followed");
    for (const auto& image : generation.images)
        out.paragraph(out.styled(Style::Good, "saved") + "      ", plain(image.string()), 11);
    draw_warnings(out, generation.warnings);
    for (const history::RunRecord& run : generation.runs) {
        out.line();
        out.line(fmt::format("{} {}{}", out.styled(Style::Bold, "run"), short_id(run.run_id),
                             generation.recorded
                                 ? " recorded in " + plain(config.history_file().string())
                                 : " is not recorded"));
        draw_comparison(out, run);
    }
}

Exit exit_of_generation(const service::Generation& generation) {
    if (generation.end == service::GenerateEnd::DoesNotFit) return Exit::DoesNotFit;
    return generation.end == service::GenerateEnd::Done && generation.images_left.empty()
               ? Exit::Done
               : Exit::Failed;
}

// The warnings of the plan are shown with it, before the job runs.
void drop_shown_warnings(service::Generation& generation) {
    std::erase_if(generation.warnings, [&](const Phrase& warning) {
        return std::ranges::find(generation.plan.warnings, warning) !=
               generation.plan.warnings.end();
    });
}

Result<Exit> generate(Session& session, Flags flags) {
    TRY_DO(check_flags(flags));
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    // Without a wish each picture is a new one. 53 bits: what every JSON reader keeps.
    const std::uint64_t chance = session.world.random.next_u64() >> 11U;
    if (!flags.job.request.file && !flags.job.request.seed) flags.job.request.seed = chance;
    TRY_ASSIGN(const service::Job job, session.resolve_job(config, flags.job));
    TRY_ASSIGN(const Server server,
               find_server(session, flags, config, flags.job.request.seed.value_or(chance)));
    const auto store = open_history(session, config);
    const auto control =
        flags.simulate ? advisor::ServerControl::Ours : advisor::ServerControl::Theirs;

    ProgressView progress(session.out);
    service::GenerateOptions options;
    options.pins = flags.plan.pins;
    options.preference = flags.plan.preference;
    options.run_anyway = flags.run_anyway;
    options.output_dir = config.output_dir.value;
    options.timeout = std::chrono::milliseconds(config.timeout.value.count);
    options.cancelled = &session.world.watch_interrupts();
    if (!session.json) {
        options.on_plan = [&](const service::PlanAnswer& answer, const service::Site& site) {
            draw_plan_of_job(session.out, job, answer, site, config, flags.run_anyway, control);
        };
        options.on_progress = [&](const service::GenerateProgress& now) { progress.show(now); };
    }
    auto generation = service::generate(job, config, options,
                                        {.upstream = server.theirs.get(),
                                         .own = server.ours.get(),
                                         .store = store.get(),
                                         .clock = session.world.clock,
                                         .random = session.world.random,
                                         .forecaster = nullptr});
    progress.end();
    if (!generation) {
        const bool unreachable = generation.error().code == Errc::Unavailable;
        return session.fail_with(generation.error(),
                                 unreachable ? Exit::Unreachable : exit_of(generation.error()));
    }
    if (session.json) {
        session.answer(wire::encode_generation(*generation));
    } else {
        drop_shown_warnings(*generation);
        draw_generation(session.out, *generation, config);
    }
    return exit_of_generation(*generation);
}

}  // namespace

void add_generate(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    CLI::App& command = commands.add(
        "generate", "draw a picture with ComfyUI, kept under the load line",
        "plimsoll generate \"cute dragon character\" --model sdxl-base --width 1024 --height 1024 "
        "--quality high\n  plimsoll generate --workflow my_workflow.json\n"
        "  plimsoll generate \"a lighthouse\" --model sdxl-base --simulate --card rtx3050-6gb "
        "--speed 12",
        [flags](Session& session) { return generate(session, *flags); });
    command.add_option("prompt", flags->job.request.prompt, "what the picture shows")
        ->type_name("PROMPT");
    add_job_flags(command, flags->job, WorkflowBy::Flag);
    add_plan_flags(command, flags->plan);
    command
        .add_flag("--run-anyway", flags->run_anyway,
                  "submit the job as it is, whatever the plan says")
        ->group("What may change");
    add_server_flags(command, flags->config);
    constexpr const char* kSimulation = "Simulation";
    command
        .add_flag("--simulate", flags->simulate,
                  "run on a simulated ComfyUI inside this process instead of a real one")
        ->group(kSimulation);
    add_site_flags(command, flags->config);
    add_number(command, "--speed", flags->speed, 0, 1000,
               "times real time; 0: as fast as it can, without meaningful seconds");
    command.get_option("--speed")->group(kSimulation);
    add_limit_flags(command, flags->config);
    add_output_flag(command, flags->config);
    add_home_flags(command, flags->config);
}

}  // namespace plimsoll::cli
