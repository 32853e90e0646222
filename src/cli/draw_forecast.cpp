// SPDX-License-Identifier: Apache-2.0
#include "cli/draw_forecast.h"

#include "cli/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace plimsoll::cli {

namespace {

constexpr std::size_t kLabel = 11;  // columns of "load line  "

std::string label(const Screen& screen, Style style, std::string_view title) {
    return screen.styled(style, title) + std::string(kLabel - title.size(), ' ');
}

// A titled line whose text may be long.
void draw_field(Screen& screen, std::string_view title, const std::string& text) {
    screen.paragraph(label(screen, Style::Dim, title), text, kLabel);
}

Style style_of(memory::Verdict verdict) {
    switch (verdict) {
        case memory::Verdict::Fits:
            return Style::Good;
        case memory::Verdict::FitsSlowly:
        case memory::Verdict::Unknown:
            return Style::Notice;
        case memory::Verdict::WillNotFit:
            break;
    }
    return Style::Bad;
}

std::string settings_text(const advisor::Settings& s) {
    return fmt::format("{} x {}{}, {} steps, {} {}, CFG {}, seed {}{}", s.width, s.height,
                       s.batch > 1 ? fmt::format(", {} pictures", s.batch) : "", s.steps,
                       plain(s.sampler), plain(s.scheduler), s.cfg, s.seed,
                       s.vae_tiling ? ", tiled decode" : "");
}

double seconds_at(const advisor::PricedForecast& forecast, std::size_t phase) {
    return phase < forecast.seconds.phases.size() ? forecast.seconds.phases[phase].total : 0;
}

// The phase's peak against the line: the line stands at two thirds, so that what is above shows.
std::string line_bar(const Screen& screen, const memory::Phase& phase,
                     const advisor::Budget& budget) {
    if (phase.peak.count == 0 || budget.load_line.count == 0) return {};
    constexpr std::size_t kCells = 12;
    const double share = phase.peak.mib() / budget.load_line.mib();
    const std::string bar = draw_bar(screen, share / 1.5, kCells);
    const bool over = phase.floor > budget.load_line || phase.working_set > budget.vram_max;
    const Style style = over                            ? Style::Bad
                        : phase.peak > budget.load_line ? Style::Notice
                                                        : Style::Good;
    return fmt::format("{} {:3.0f} %", screen.styled(style, bar), share * 100);
}

Bytes streamed_of(const memory::Phase& phase) {
    Bytes sum;
    for (const memory::Residency& model : phase.models) sum += model.streamed;
    return sum;
}

void draw_models(Screen& screen, const memory::Phase& phase) {
    for (const memory::Residency& model : phase.models) {
        std::string text = fmt::format("{}: {} of {} resident", plain(model.model),
                                       to_text(model.resident), to_text(model.size));
        if (model.streamed > Bytes(0))
            text += fmt::format(", {} in {} modules streamed on every forward, the largest {}",
                                to_text(model.streamed), model.streamed_modules,
                                to_text(model.largest_streamed));
        screen.paragraph("    ", text, 6);
    }
}

void draw_live_tensors(Screen& screen, const memory::Phase& phase) {
    if (phase.top_live.empty()) return;
    Table table({{"MiB", Table::Align::Right},
                 {"type", Table::Align::Left},
                 {"shape", Table::Align::Left},
                 {"operation", Table::Align::Left},
                 {"module", Table::Align::LeftKeepEnd}});
    for (const memory::LiveTensor& tensor : phase.top_live) {
        // Crumbs explain nothing; the JSON has them.
        if (tensor.bytes * 100 < phase.top_live.front().bytes) break;
        table.row({mib_cell(tensor.bytes), plain(tensor.dtype),
                   fmt::format("{}", fmt::join(tensor.shape, " x ")), plain(tensor.op),
                   plain(tensor.module)});
    }
    screen.line("    largest live tensors at the peak");
    table.draw(screen, 6);
}

}  // namespace

std::string spoken(std::string_view name) {
    std::string words(name);
    std::ranges::replace(words, '_', ' ');
    return words;
}

namespace {

// "at least 1024 MiB and at most 9 GiB": of what is not forecast.
std::string range_text(Bytes lower, const std::optional<Bytes>& upper) {
    return upper ? fmt::format("at least {} and at most {}", to_text(lower), to_text(*upper))
                 : fmt::format("at least {}, at most nobody knows", to_text(lower));
}

}  // namespace

std::string mib_cell(Bytes bytes) {
    const double mib = bytes.mib();
    if (bytes.count == 0) return "0";
    return mib < 100 && mib > -100 ? fmt::format("{:.1f}", mib) : fmt::format("{:.0f}", mib);
}

void draw_job(Screen& screen, const service::Job& job, const std::string& where,
              const service::Config& config, const advisor::Budget& budget) {
    std::string what = plain(job.model);
    if (!job.checkpoint.empty() && job.checkpoint != job.model)
        what += fmt::format(" ({})", plain(job.checkpoint));
    if (!job.family.empty() && job.family != job.model) what += ", " + plain(job.family);
    if (job.settings) what += ", " + settings_text(*job.settings);
    draw_field(screen, "job", what);
    draw_field(screen, "where", plain(where));
    draw_field(screen, "load line",
               fmt::format("{} ({} MiB less {:g} %)", to_text(budget.load_line),
                           config.max_vram_mb.value, config.safety_margin.value * 100));
}

void draw_phases(Screen& screen, const advisor::PricedForecast& forecast,
                 const advisor::Budget& budget) {
    Table table({{"phase", Table::Align::Left},
                 {"node", Table::Align::Left},
                 {"peak MiB", Table::Align::Right},
                 {"resident", Table::Align::Right},
                 {"streamed", Table::Align::Right},
                 {"seconds", Table::Align::Right},
                 {"of the line", Table::Align::Left}});
    const memory::Forecast& memory = forecast.memory;
    for (std::size_t i = 0; i < memory.phases.size(); ++i) {
        const memory::Phase& phase = memory.phases[i];
        const bool known = phase.kind != memory::PhaseKind::Unknown;
        table.row({spoken(memory::phase_kind_name(phase.kind)), plain(phase.node_id),
                   known ? mib_cell(phase.peak) : "?", known ? mib_cell(phase.resident) : "?",
                   known ? mib_cell(streamed_of(phase)) : "?",
                   known ? fmt::format("{:.2f}", seconds_at(forecast, i)) : "?",
                   known ? line_bar(screen, phase, budget) : ""});
    }
    table.row({"whole job", "", mib_cell(memory.peak), "", "",
               fmt::format("{:.2f}", forecast.seconds.total), ""});
    table.draw(screen);
    if (memory.bound)
        screen.paragraph("  ",
                         fmt::format("with what is not forecast the job takes {}",
                                     range_text(memory.bound->lower, memory.bound->upper)),
                         2);
    for (const memory::Phase& phase : memory.phases)
        if (phase.working_set > budget.vram_max)
            screen.paragraph(
                "  ",
                fmt::format("{}, node {}, computes with {} where it has the room: "
                            "MAX_VRAM_MB allows {}",
                            spoken(memory::phase_kind_name(phase.kind)), plain(phase.node_id),
                            to_text(phase.working_set), to_text(budget.vram_max)),
                2);
}

void draw_learned(Screen& screen, const timing::ForecastSeconds& seconds) {
    if (!seconds.learned) return;
    draw_field(screen, "seconds",
               fmt::format("{:.1f} s, learned from {} run{} here ({:.2f} x the table)",
                           seconds.total, seconds.learned->runs,
                           seconds.learned->runs == 1 ? "" : "s", seconds.learned->factor));
}

void draw_host(Screen& screen, const memory::Forecast& forecast) {
    if (forecast.host_mapped == Bytes(0)) return;
    std::string text = fmt::format("{} held in the machine's memory", to_text(forecast.host));
    if (forecast.host_mapped > forecast.host)
        text += fmt::format(", {} with pages of files, which the system may drop",
                            to_text(forecast.host_mapped));
    draw_field(screen, "host", text);
}

void draw_verdict(Screen& screen, memory::Verdict verdict, const advisor::Judgement& judged) {
    const std::string word =
        screen.styled(style_of(verdict), spoken(memory::verdict_name(verdict)));
    screen.paragraph(label(screen, Style::Dim, "verdict") + word + ": ", judged.sentence.message(),
                     kLabel);
    if (!judged.in_time) draw_field(screen, "", "it takes longer than --max-duration-min allows");
}

void draw_reasons(Screen& screen, const advisor::PricedForecast& forecast) {
    const memory::Forecast& memory = forecast.memory;
    for (std::size_t i = 0; i < memory.phases.size(); ++i) {
        const memory::Phase& phase = memory.phases[i];
        screen.line();
        screen.line(screen.styled(
            Style::Bold,
            fmt::format("{}, node {} ({})", spoken(memory::phase_kind_name(phase.kind)),
                        plain(phase.node_id), plain(phase.class_type))));
        if (phase.peak > Bytes(0)) {
            screen.paragraph(
                "    ",
                fmt::format("peak {}: resident {}, activations {}, weight copies {}; floor {}, "
                            "comfort {}; computing holds {} with its kernels' workspaces",
                            to_text(phase.peak), to_text(phase.resident),
                            to_text(phase.activations), to_text(phase.cast), to_text(phase.floor),
                            to_text(phase.comfort), to_text(phase.working_set)),
                6);
        }
        if (phase.bound)
            screen.paragraph("    ",
                             fmt::format("weights {}, exactly; on the card {}: {}",
                                         to_text(phase.bound->weights),
                                         range_text(phase.bound->lower, phase.bound->upper),
                                         plain(phase.bound->reason.message())),
                             6);
        if (phase.forwards > 0)
            screen.paragraph("    ",
                             fmt::format("{} forward{} of batch {} in {}{}", phase.forwards,
                                         phase.forwards == 1 ? "" : "s", phase.batch_per_forward,
                                         memory::compute_type_name(phase.compute),
                                         phase.tiled ? ", in tiles" : ""),
                             6);
        if (phase.loaded > Bytes(0) || phase.evicted > Bytes(0))
            screen.paragraph("    ",
                             fmt::format("when it begins {} are loaded, {} leave the card",
                                         to_text(phase.loaded), to_text(phase.evicted)),
                             6);
        if (phase.host.held() > Bytes(0))
            screen.paragraph(
                "    ",
                fmt::format("the host holds {}: weights {}, LoRAs {}, outputs of nodes {}; the "
                            "allocator reserves up to {}",
                            to_text(phase.host.held()), to_text(phase.host.weights),
                            to_text(phase.host.loras), to_text(phase.host.outputs),
                            to_text(phase.reserved)),
                6);
        draw_models(screen, phase);
        if (!phase.peak_op.empty()) {
            screen.paragraph("    ",
                             fmt::format("peak of the activations in {}, {}",
                                         plain(phase.peak_module), plain(phase.peak_op)),
                             6);
        }
        draw_live_tensors(screen, phase);
        Phrases reasons = phase.reasons;
        if (i < forecast.seconds.phases.size())
            reasons.insert(reasons.end(), forecast.seconds.phases[i].reasons.begin(),
                           forecast.seconds.phases[i].reasons.end());
        for (const Phrase& reason : reasons) {
            screen.paragraph("    - ", plain(reason.message()), 6);
        }
    }
}

void draw_warnings(Screen& screen, const Phrases& warnings) {
    for (const Phrase& warning : warnings) {
        screen.paragraph(label(screen, Style::Notice, "note"), plain(warning.message()), kLabel);
    }
}

}  // namespace plimsoll::cli
