// SPDX-License-Identifier: Apache-2.0
//
// plimsoll quality: how good pictures are, and which cheaper setting of a model is as good as its
// best.
#include "cli/commands.h"
#include "cli/draw_forecast.h"
#include "cli/flags.h"
#include "cli/session.h"
#include "cli/text.h"
#include "quality/lab/setting.h"
#include "service/models.h"
#include "service/picture_comparison.h"
#include "service/profiles.h"
#include "service/quality/draw.h"
#include "service/quality/order.h"
#include "service/quality/quality_lab.h"
#include "service/site.h"
#include "wire/encode_quality.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace plimsoll::cli {

namespace {

constexpr std::chrono::seconds kWaitForComfyUi{600};  // chosen: a restart with its custom nodes

struct Flags {
    ConfigFlags config;
    std::optional<std::string> model;
    std::vector<std::string> prompts;
    std::optional<double> minutes;
    std::optional<double> margin;
    std::optional<std::uint64_t> seed;
    bool simulate = false;
    bool dry_run = false;
    std::optional<double> speed;
    std::string session_id;
    std::optional<int> left;
    std::optional<int> right;
    std::optional<int> block;
    std::string preferred;
    std::vector<service::ScorerSpec> scorers;
};

// Who draws: the user's ComfyUI, or a simulated one of ours.
struct Server {
    std::unique_ptr<service::Upstream> theirs;
    std::unique_ptr<service::OwnServer> ours;
    service::Upstream* upstream = nullptr;
};

Result<Server> find_server(Session& session, const Flags& flags, const service::Config& config) {
    Server server;
    if (!flags.simulate) {
        TRY_ASSIGN(server.theirs, session.world.reach_comfyui(config));
        server.upstream = server.theirs.get();
        return server;
    }
    const std::string card =
        config.card.value.empty() ? service::kReferenceCard : config.card.value;
    TRY_ASSIGN(server.ours, session.world.simulate({.card = card,
                                                    .seed = flags.seed.value_or(1),
                                                    .speed = flags.speed.value_or(1)}));
    TRY_ASSIGN(server.upstream, server.ours->start({}));
    return server;
}

Result<std::unique_ptr<history::Store>> open_history(Session& session,
                                                     const service::Config& config) {
    return session.world.open_history(config.history_file(), World::Access::Write);
}

// Those of plimsoll.toml and those of the command line.
Result<std::vector<service::ScorerSpec>> find_scorers(const Flags& flags,
                                                      const service::Config& config) {
    TRY_ASSIGN(std::vector<service::ScorerSpec> scorers, service::read_scorers(config));
    return service::join_scorers(std::move(scorers), flags.scorers);
}

// A column of a user's scorer: in its own units, above 0 is better.
void draw_scorers(Screen& out, const quality::Answer& answer, const quality::SessionPlan& plan) {
    for (std::size_t j = 0; j < answer.scorers.size(); ++j) {
        const quality::ScorerPart& part = answer.scorers[j];
        out.line(fmt::format("{} scored {} pictures and {}{}{}{}{}",
                             out.styled(Style::Bold, part.rules.name), part.scored,
                             part.decides ? "decides too" : "decides nothing",
                             part.why_silent.empty() ? "" : ": ", plain(part.why_silent),
                             part.why_failed.empty() ? "" : "; ", plain(part.why_failed)));
        Table table({{"setting", Table::Align::Left},
                     {part.rules.name + " to the best", Table::Align::Right},
                     {"95 %", Table::Align::Right}});
        for (const quality::Verdict& verdict : answer.verdicts) {
            const quality::Estimate& estimate = verdict.scorers[j].to_best;
            if (estimate.pairs < quality::kPairsMin || verdict.candidate == answer.best) continue;
            table.row(
                {quality::setting_words(plan.entrants[verdict.candidate].setting),
                 fmt::format("{:+.3g}", estimate.points),
                 fmt::format("{:.3g} to {:.3g}", estimate.interval.low, estimate.interval.high)});
        }
        table.draw(out, 2);
    }
}

void draw_candidates(Screen& out, const service::QualityView& view) {
    const quality::Session& session = view.session;
    const quality::Answer answer = session.answer();
    const std::vector<quality::Cost> costs = session.costs();
    Table table({{"setting", Table::Align::Left},
                 {"s", Table::Align::Right},
                 {"MiB", Table::Align::Right},
                 {"points to the best", Table::Align::Right},
                 {"finding", Table::Align::Left}});
    for (const quality::Verdict& verdict : answer.verdicts) {
        const quality::Entrant& entrant = session.plan().entrants[verdict.candidate];
        const quality::Cost& cost = costs[verdict.candidate];
        const bool stated = verdict.to_best.pairs >= quality::kPairsMin;
        table.row({quality::setting_words(entrant.setting), fmt::format("{:.1f}", cost.seconds),
                   fmt::format("{:.0f}", cost.peak.mib()),
                   stated ? quality::points_text(verdict.to_best) : "",
                   verdict.candidate == answer.chosen ? "chosen"
                   : verdict.why.empty() ? spoken(quality::finding_name(verdict.finding))
                                         : plain(verdict.why)});
    }
    table.draw(out, 0);
}

void draw_view(Screen& out, const service::QualityView& view) {
    const quality::Session& session = view.session;
    const quality::Session::Count count = session.count();
    const quality::SessionProgress& progress = session.progress();
    out.line(fmt::format("{} {} test of {}: {}{}",
                         out.styled(Style::Bold, session.plan().session_id),
                         quality::test_kind_name(session.plan().kind), plain(session.plan().model),
                         quality::session_state_name(progress.state),
                         progress.why.empty() ? "" : ", " + plain(progress.why.message())));
    out.line(fmt::format("{} of at most {} pictures, {} of drawing", count.drawn, count.at_most,
                         seconds_text(count.seconds_spent)));
    draw_candidates(out, view);
    const quality::Answer answer = session.answer();
    draw_scorers(out, answer, session.plan());
    out.paragraph(
        fmt::format("{} {}  ", out.styled(Style::Bold, "grade"), quality::grade_name(answer.grade)),
        plain(answer.words), 2);
}

Exit exit_of_session(const quality::Session& session) {
    return session.progress().state == quality::SessionState::Failed ? Exit::Failed : Exit::Done;
}

// ComfyUI went away in the middle: waits for it, for a while. true: it is back.
bool wait_for_comfyui(Session& session, service::Upstream& upstream, const std::string& why,
                      const std::atomic<bool>& left) {
    session.warn(
        fmt::format("{}; waiting up to {} for ComfyUI, Ctrl-C leaves the session for later",
                    plain(why), seconds_text(kWaitForComfyUi.count())));
    const auto until = std::chrono::steady_clock::now() + kWaitForComfyUi;
    while (!left && std::chrono::steady_clock::now() < until) {
        if (upstream.read_stats()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    return false;
}

// Draws until the session is over, paused or the user stops it: then it can be gone on with.
Result<Exit> draw_session(Session& session, const service::Config& config,
                          std::vector<service::ScorerSpec> scorers, const Server& server,
                          history::Store& store, quality::Session drawn) {
    const std::string id = drawn.plan().session_id;
    service::RunStatistics statistics;
    TRY_ASSIGN(const auto brisque, service::read_brisque(std::nullopt));
    service::DrawParts parts{.upstream = *server.upstream,
                             .store = store,
                             .clock = server.ours ? server.ours->clock() : session.world.clock,
                             .random = session.world.random,
                             .folder = config.output_dir.value / "quality" / id,
                             .scorers = std::move(scorers),
                             .statistics = &statistics,
                             .brisque = brisque ? &*brisque : nullptr,
                             .timeout = std::chrono::milliseconds(config.timeout.value.count),
                             .left = &session.world.watch_interrupts()};
    if (server.ours) {
        parts.stopwatch = &server.ours->stopwatch();
        if (server.ours->speed() != 1) parts.tick = std::chrono::milliseconds(5);
        parts.is_paced = server.ours->speed() > 0;
    }
    for (;;) {
        TRY_ASSIGN(const bool more, service::draw_next(drawn, parts));
        const quality::Session::Count count = drawn.count();
        if (!session.json && session.out.is_terminal())
            session.out.live_line(fmt::format("{} of at most {} pictures, at most {} left",
                                              count.drawn, count.at_most,
                                              seconds_text(count.seconds_left)));
        if (more) continue;
        session.out.end_live_line();
        if (!drawn.progress().resumes_itself() ||
            !wait_for_comfyui(session, *server.upstream, drawn.progress().why, *parts.left))
            break;
        TRY_DO(drawn.resume());
    }
    session.out.end_live_line();
    if (drawn.progress().state == quality::SessionState::Running) {
        TRY_DO(drawn.pause("left; plimsoll quality resume goes on"));
        TRY_DO(service::keep_session(drawn, store));
    }
    const service::QualityView view(std::move(drawn));
    if (session.json)
        session.answer(wire::encode_quality(view));
    else
        draw_view(session.out, view);
    return exit_of_session(view.session);
}

void draw_plan_of_test(Screen& out, const quality::SessionPlan& plan) {
    const quality::Bound bound = quality::bound_of(plan);
    Bytes peak;
    for (const quality::Entrant& entrant : plan.entrants)
        if (entrant.left_out.empty()) peak = std::max(peak, entrant.forecast.peak);
    out.line(fmt::format(
        "{} test of {}: at most {} pictures, {} by the forecasts, {} at the peak; "
        "nothing is begun after {}",
        quality::test_kind_name(plan.kind), plain(plan.model), bound.images,
        seconds_text(bound.seconds), to_gib_text(peak), seconds_text(plan.seconds_max)));
    Table table({{"setting", Table::Align::Left},
                 {"s", Table::Align::Right},
                 {"MiB", Table::Align::Right},
                 {"", Table::Align::Left}});
    for (const quality::Entrant& entrant : plan.entrants)
        table.row({quality::setting_words(entrant.setting),
                   fmt::format("{:.1f}", entrant.forecast.seconds),
                   fmt::format("{:.0f}", entrant.forecast.peak.mib()),
                   plain(entrant.left_out.message())});
    table.draw(out, 0);
}

Result<Exit> begin(Session& session, const Flags& flags, quality::TestKind kind) {
    if (!flags.model) return fail(Errc::InvalidInput, "which model? --model NAME");
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const Server server, find_server(session, flags, config));
    TRY_ASSIGN(const auto store, open_history(session, config));
    service::Place place;
    place.config = config;
    TRY_ASSIGN(place.profiles, service::read_profiles(config));
    TRY_ASSIGN(place.scorers, find_scorers(flags, config));
    TRY_ASSIGN(place.site, service::find_site(config, {}, server.upstream));
    TRY_ASSIGN(place.budget, service::budget_of(config));
    service::ModelLibrary models(config.models_dirs.value);
    service::QualityOrder order;
    order.model = *flags.model;
    order.kind = kind;
    order.prompts = flags.prompts;
    order.minutes_max = flags.minutes;
    order.margin = flags.margin;
    order.seed = flags.seed;
    TRY_ASSIGN(quality::SessionPlan plan,
               service::plan_session(order, {.place = place,
                                             .upstream = *server.upstream,
                                             .models = models,
                                             .session_id = session.world.random.next_uuid(),
                                             .drawn_by = std::string(service::kDrawnByCommand),
                                             .created_ms = session.world.clock.unix_ms(),
                                             .seed = session.world.random.next_u64(),
                                             .forecaster = nullptr}));
    if (flags.dry_run) {
        if (session.json)
            session.answer(wire::encode_quality_plan(plan));
        else
            draw_plan_of_test(session.out, plan);
        return Exit::Done;
    }
    quality::Session fresh(std::move(plan));
    TRY_DO(service::keep_session(fresh, *store));
    if (!session.json) {
        const quality::Bound bound = quality::bound_of(fresh.plan());
        session.out.line(fmt::format("{}: at most {} pictures, at most {} by the forecasts",
                                     fresh.plan().session_id, bound.images,
                                     seconds_text(bound.seconds)));
        for (const quality::Entrant& entrant : fresh.plan().entrants)
            if (!entrant.left_out.empty())
                session.out.paragraph(quality::setting_words(entrant.setting) + ": ",
                                      plain(entrant.left_out.message()), 2);
        TRY_DO(session.out.flush());
    }
    return draw_session(session, config, place.scorers, server, *store, std::move(fresh));
}

Result<Exit> resume(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store, open_history(session, config));
    TRY_ASSIGN(quality::Session known, service::load_session(*store, flags.session_id));
    if (known.plan().drawn_by != service::kDrawnByCommand)
        return fail(Errc::InvalidInput,
                    "the session was begun in a daemon, which goes on with it: POST "
                    "/api/quality-test/SESSION/resume");
    // After a kill it still says that it runs.
    if (known.progress().state == quality::SessionState::Paused) TRY_DO(known.resume());
    if (quality::is_over(known.progress().state))
        return fail(
            Errc::InvalidInput,
            fmt::format("the session is {}", quality::session_state_name(known.progress().state)));
    TRY_ASSIGN(const Server server, find_server(session, flags, config));
    TRY_ASSIGN(std::vector<service::ScorerSpec> scorers, find_scorers(flags, config));
    return draw_session(session, config, std::move(scorers), server, *store, std::move(known));
}

Result<Exit> accept(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store, open_history(session, config));
    TRY_ASSIGN(quality::Session accepted, service::accept_session(*store, flags.session_id));
    const service::QualityView view(std::move(accepted));
    if (session.json)
        session.answer(wire::encode_quality(view));
    else
        session.out.line("accepted: the daemon draws it while the card is idle");
    return Exit::Done;
}

Result<Exit> proposals(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store,
               session.world.open_history(config.history_file(), World::Access::Read));
    TRY_ASSIGN(const auto rows, store->list_sessions());
    std::vector<service::QualityView> proposed;
    for (const history::QualitySession& row : rows)
        if (auto known = service::load_session(*store, row.session_id);
            known && known->progress().state == quality::SessionState::Proposed)
            proposed.emplace_back(std::move(*known));
    if (session.json) {
        session.answer(wire::encode_proposals(proposed));
        return Exit::Done;
    }
    if (proposed.empty())
        session.out.line(
            "nothing is proposed: a daemon proposes tests of models that it never saw");
    for (const service::QualityView& view : proposed) {
        const quality::SessionPlan& plan = view.session.plan();
        const quality::Bound bound = quality::bound_of(plan);
        session.out.line(
            fmt::format("{}  {} test of {}: {} settings, at most {} pictures, at most {}",
                        plan.session_id, quality::test_kind_name(plan.kind), plain(plan.model),
                        plan.entrants.size(), bound.images, seconds_text(bound.seconds)));
    }
    if (!proposed.empty()) session.out.line("plimsoll quality accept SESSION, or cancel SESSION");
    return Exit::Done;
}

Result<Exit> cancel(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store, open_history(session, config));
    TRY_ASSIGN(quality::Session cancelled, service::cancel_session(*store, flags.session_id));
    const service::QualityView view(std::move(cancelled));
    if (session.json)
        session.answer(wire::encode_quality(view));
    else
        draw_view(session.out, view);
    return Exit::Done;
}

Result<Exit> status(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store,
               session.world.open_history(config.history_file(), World::Access::Read));
    if (flags.session_id.empty()) {
        TRY_ASSIGN(const auto sessions, store->list_sessions());
        const json::object listed = wire::encode_quality_sessions(sessions);
        if (session.json) {
            session.answer(listed);
            return Exit::Done;
        }
        if (sessions.empty())
            session.out.line("no quality sessions yet: plimsoll quality quick --model NAME");
        for (const json::value& row : listed.at("sessions").as_array())
            session.out.line(fmt::format(
                "{}  {}  {} of {}", plain(find_string(row, "sessionId").value_or("")),
                find_string(row, "state").value_or(""), find_string(row, "testType").value_or(""),
                plain(find_string(row, "model").value_or(""))));
        return Exit::Done;
    }
    TRY_ASSIGN(quality::Session known, service::load_session(*store, flags.session_id));
    service::QualityView view(std::move(known));
    TRY_ASSIGN(const auto votes, store->list_votes(flags.session_id));
    view.votes = votes.size();
    if (session.json)
        session.answer(wire::encode_quality(view));
    else
        draw_view(session.out, view);
    return Exit::Done;
}

// Without a choice: the pair to look at, as files.
Result<Exit> ask_vote(Session& session, const quality::Session& known, history::Store& store) {
    TRY_ASSIGN(const service::BlindPair pair, service::next_blind_pair(known, store));
    const auto file = [&](const quality::Cell& cell) { return known.picture(cell)->file; };
    if (session.json) {
        json::object out = wire::encode_pair(pair);
        out["left"].as_object()["file"] = file(pair.left);
        out["right"].as_object()["file"] = file(pair.right);
        session.answer(out);
        return Exit::Done;
    }
    session.out.paragraph("prompt  ", plain(pair.prompt), 8);
    session.out.paragraph("left    ", plain(file(pair.left)), 8);
    session.out.paragraph("right   ", plain(file(pair.right)), 8);
    session.out.line(fmt::format(
        "which is better? plimsoll quality vote {} --left {} --right {} --block {} --prefer "
        "left|right|neither",
        known.plan().session_id, pair.left.candidate, pair.right.candidate, pair.block_index));
    return Exit::Done;
}

Result<Exit> vote(Session& session, const Flags& flags) {
    TRY_ASSIGN(const service::Config config, session.read_config(flags.config));
    TRY_ASSIGN(const auto store, open_history(session, config));
    TRY_ASSIGN(const quality::Session known, service::load_session(*store, flags.session_id));
    if (flags.preferred.empty()) return ask_vote(session, known, *store);
    if (!flags.left || !flags.right || !flags.block)
        return fail(Errc::InvalidInput, "a vote needs --left, --right and --block");
    const auto block = static_cast<std::size_t>(*flags.block);
    const service::Ballot ballot{.vote_id = {},
                                 .left = {static_cast<std::size_t>(*flags.left), block},
                                 .right = {static_cast<std::size_t>(*flags.right), block},
                                 .preferred = flags.preferred == "left" ? quality::Preferred::First
                                              : flags.preferred == "right"
                                                  ? quality::Preferred::Second
                                                  : quality::Preferred::Neither,
                                 .voter = config.voter.value};
    TRY_ASSIGN(const service::VoteCount count,
               service::cast_vote(known, *store, ballot, session.world.clock.unix_ms(),
                                  session.world.random));
    if (session.json)
        session.answer(wire::encode_votes(known.plan().session_id, count));
    else
        session.out.line(count.standings.enough()
                             ? fmt::format("{} votes", count.standings.votes)
                             : fmt::format("{} votes, not enough to say anything before {}",
                                           count.standings.votes, quality::kVotesMin));
    return Exit::Done;
}

void add_draw_flags(CLI::App& command, Flags& into) {
    add_server_flags(command, into.config);
    command
        .add_flag("--simulate", into.simulate,
                  "run on a simulated ComfyUI inside this process instead of a real one")
        ->group("Simulation");
    add_number(command, "--speed", into.speed, 0, 1000,
               "times real time; 0: as fast as it can, without meaningful seconds");
    command.get_option("--speed")->group("Simulation");
    add_checked(command, "--scorer", "NAME=TARGET",
                "a program or http address that scores pictures; NAME may be followed by ,lower "
                ",margin:X ,deadline:S (docs/quality.md); may be given several times",
                [&into](const std::string& text) {
                    auto spec = service::parse_scorer(text);
                    if (!spec) return spec.error().message;
                    into.scorers.push_back(std::move(*spec));
                    return std::string();
                })
        .take_all();
    add_site_flags(command, into.config);
    add_limit_flags(command, into.config);
    add_output_flag(command, into.config);
    add_home_flags(command, into.config);
}

void add_order_flags(CLI::App& command, Flags& into) {
    add_text(command, "--model", into.model, "NAME", "a profile or a checkpoint file");
    command
        .add_option("--prompt", into.prompts,
                    "a prompt of your own instead of the built-in set; may be given several times")
        ->type_name("TEXT");
    add_number(command, "--minutes", into.minutes, 1, service::kMinutesMax,
               "of drawing at most; built-in 60 for quick, 720 for full");
    add_number(command, "--margin", into.margin, 0.5, 50,
               "points of 100 that 'not worse' may cost; built-in 3");
    add_seed(command, "--seed", into.seed, "of all pictures and draws; else by chance");
    command.add_flag("--dry-run", into.dry_run,
                     "say what it would draw and take, and draw nothing");
    add_draw_flags(command, into);
}

void add_session_id(CLI::App& command, Flags& into, bool required) {
    auto* const option =
        command.add_option("session", into.session_id, "a session's id")->type_name("SESSION");
    if (required) option->required();
}

}  // namespace

void add_quality(Commands& commands) {
    auto flags = std::make_shared<Flags>();
    const auto bound = [flags](auto act) {
        return [flags, act](Session& session) { return act(session, *flags); };
    };
    CLI::App& quality =
        commands.add("quality", "find the cheaper setting of a model that is as good as its best",
                     "plimsoll quality quick --model sdxl-base", bound(status));
    quality.require_subcommand(0, 1);
    add_home_flags(quality, flags->config);
    CLI::App& quick = commands.add_below(
        quality, "quick", "a handful of settings", "plimsoll quality quick --model sdxl-base",
        [flags](Session& session) { return begin(session, *flags, quality::TestKind::Quick); });
    CLI::App& full = commands.add_below(
        quality, "full", "steps, sampler, scheduler, CFG, size, tiling and precision",
        "plimsoll quality full --model sdxl-base --minutes 480",
        [flags](Session& session) { return begin(session, *flags, quality::TestKind::Full); });
    add_order_flags(quick, *flags);
    add_order_flags(full, *flags);
    CLI::App& resuming =
        commands.add_below(quality, "resume", "go on with a session that was left or paused",
                           "plimsoll quality resume SESSION", bound(resume));
    add_session_id(resuming, *flags, true);
    add_draw_flags(resuming, *flags);
    CLI::App& cancelling = commands.add_below(
        quality, "cancel",
        "end a session for good; a program that draws it stops after the picture at hand",
        "plimsoll quality cancel SESSION", bound(cancel));
    add_session_id(cancelling, *flags, true);
    add_home_flags(cancelling, flags->config);
    CLI::App& proposing = commands.add_below(
        quality, "proposals", "tests that the daemon proposes for models it never saw",
        "plimsoll quality proposals --json", bound(proposals));
    add_home_flags(proposing, flags->config);
    CLI::App& accepting =
        commands.add_below(quality, "accept", "let a proposed test be drawn while the card is idle",
                           "plimsoll quality accept SESSION", bound(accept));
    add_session_id(accepting, *flags, true);
    add_home_flags(accepting, flags->config);
    CLI::App& showing =
        commands.add_below(quality, "status", "how a session goes; without one, all of them",
                           "plimsoll quality status --json", bound(status));
    add_session_id(showing, *flags, false);
    add_home_flags(showing, flags->config);
    CLI::App& voting = commands.add_below(
        quality, "vote", "judge two pictures blind: without --prefer it shows the next pair",
        "plimsoll quality vote SESSION --left 1 --right 0 --block 3 --prefer left", bound(vote));
    add_session_id(voting, *flags, true);
    add_whole(voting, "--left", flags->left, {0, 99, 1}, "the candidate on the left");
    add_whole(voting, "--right", flags->right, {0, 99, 1}, "the candidate on the right");
    add_whole(voting, "--block", flags->block, {0, 99, 1}, "the block of both");
    add_checked(voting, "--prefer", "SIDE", "left, right or neither",
                [flags](const std::string& value) {
                    if (value != "left" && value != "right" && value != "neither")
                        return std::string("must be left, right or neither");
                    flags->preferred = value;
                    return std::string();
                });
    add_home_flags(voting, flags->config);
    add_quality_look(commands, quality);
    add_quality_compare(commands, quality);
}

}  // namespace plimsoll::cli
