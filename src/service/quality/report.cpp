// SPDX-License-Identifier: Apache-2.0
#include "service/quality/report.h"

#include "base/base64.h"
#include "base/units.h"
#include "quality/encode_jpeg.h"
#include "quality/lab/setting.h"
#include "quality/shrink.h"
#include "service/quality/findings.h"
#include "service/quality/look.h"
#include "service/quality/report_words.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::service {
namespace {

using quality::Cell;
using quality::Session;
using namespace fmt::literals;  // NOLINT(google-build-using-namespace): "name"_a

// Paper first: dark ink on white, tables that break between rows, pictures that do not break.
constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --paper: #fff; --ink: #10293c; --soft: #44596a; --rule: #b8b09c; --wash: #f1ece0; --good: #1d6146; --bad: #a32a1b; --mark: #c2410c; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #091520; --ink: #e9e2cf; --soft: #a3b4c0; --rule: #35506a; --wash: #0f2030; --good: #86d3a8; --bad: #ff9583; --mark: #ffb169; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif; }
h1, h2, h3 { line-height: 1.2; font-family: Georgia, 'Noto Serif', serif; }
.answer { border-left: 5px solid var(--good); background: var(--wash); padding: 0.8rem 1rem; font-size: 1.1rem; }
.grade { font: 700 2.2rem Georgia, serif; float: right; margin-left: 1rem; }
.soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { border-bottom: 1px solid var(--rule); padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr.chosen td { background: var(--wash); font-weight: 600; }
svg { width: 100%; height: auto; max-width: 60rem; }
svg text { fill: currentColor; font: 13px system-ui, sans-serif; }
.block { break-inside: avoid-page; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0.8rem; }
figure { margin: 0; break-inside: avoid; }
figure .frame { position: relative; }
figure img { width: 100%; display: block; }
figure .place { position: absolute; border: 3px solid var(--mark); outline: 1px solid #fff; }
figcaption { font-size: 0.85rem; overflow-wrap: anywhere; }
.words { overflow-wrap: anywhere; white-space: pre-wrap; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } .pictures { grid-template-columns: repeat(3, 1fr); } a { color: inherit; } }
)";

// Of what "as good" may lose, from the plot's top to its bottom (chosen).
constexpr double kPlotMargins = 10;

std::string escaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                // HTML has no control characters but these two.
                if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
        }
    }
    return out;
}

std::string day_text(std::int64_t unix_ms) {
    using namespace std::chrono;
    return fmt::format("{:%Y-%m-%d %H:%M} UTC",
                       fmt::gmtime(static_cast<std::time_t>(unix_ms / 1000)));
}

ReportText grade_text(quality::Grade grade) {
    constexpr std::array<ReportText, 4> kTexts{ReportText::GradeA, ReportText::GradeB,
                                               ReportText::GradeC, ReportText::GradeD};
    return kTexts.at(static_cast<std::size_t>(grade));
}

class Report {
  public:
    Report(const Session& session, const VoteCount& votes, const ReportWords& words)
        : words_(words),
          session_(session),
          plan_(session.plan()),
          votes_(votes),
          answer_(session.answer()),
          costs_(session.costs()),
          measured_(findings_of(plan_, answer_, costs_)) {}

    std::string write() {
        begin();
        write_answer();
        write_plot();
        write_table();
        write_pictures();
        write_votes();
        write_facts();
        out_ += "</main>\n</body>\n</html>\n";
        return std::move(out_);
    }

  private:
    template <class... Args>
    void add(fmt::format_string<Args...> text, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
    }
    [[nodiscard]] std::string_view text(ReportText what) const { return words_.of(what); }
    [[nodiscard]] std::string words_of(std::size_t candidate) const {
        const quality::Setting& one = plan_.entrants[candidate].setting;
        return words_.fill(ReportText::SettingWords, "sampler"_a = one.sampler,
                           "scheduler"_a = one.scheduler, "steps"_a = one.steps, "cfg"_a = one.cfg,
                           "width"_a = one.width, "height"_a = one.height) +
               (one.vae_tiling ? std::string(text(ReportText::Tiled)) : "");
    }
    // Where the lab's own English sentences are wanted.
    [[nodiscard]] bool is_english() const { return words_.codes.empty(); }
    [[nodiscard]] std::string span_of(const quality::Estimate& estimate) const {
        return words_.fill(ReportText::Span, "points"_a = shown(estimate.points),
                           "low"_a = shown(estimate.interval.low),
                           "high"_a = shown(estimate.interval.high));
    }
    // What rounds to nothing has no sign.
    static double shown(double points) { return std::abs(points) < 0.05 ? 0.0 : points; }
    [[nodiscard]] std::string answer_text() const {
        if (is_english()) return answer_.words;
        if (!answer_.chosen) return std::string(text(ReportText::AnswerNone));
        const std::size_t chosen = *answer_.chosen;
        if (chosen == answer_.best)
            return words_.fill(ReportText::AnswerBest, "setting"_a = words_of(chosen));
        return words_.fill(ReportText::AnswerChosen, "setting"_a = words_of(chosen),
                           "time"_a = seconds_text(costs_[chosen].seconds),
                           "best_time"_a = seconds_text(costs_[answer_.best].seconds),
                           "points"_a = span_of(answer_.verdicts[chosen].to_best));
    }
    // Why it was not chosen.
    [[nodiscard]] std::string why_not(const quality::Verdict& verdict) const {
        if (is_english()) return verdict.why;
        const std::string defect =
            verdict.worst_defect.empty()
                ? ""
                : words_.fill(ReportText::Mostly, "defect"_a = words_.word(verdict.worst_defect));
        switch (verdict.finding) {
            case quality::Finding::TooFew:
                return std::string(text(ReportText::TooFew)) + defect;
            case quality::Finding::Worse:
                return words_.fill(ReportText::Worse, "points"_a = span_of(verdict.to_best)) +
                       defect;
            case quality::Finding::Undecided:
                return words_.fill(ReportText::Undecided, "points"_a = span_of(verdict.to_best)) +
                       defect;
            case quality::Finding::NotWorse:
            case quality::Finding::Best:
                break;
        }
        return words_.fill(
            ReportText::AsGood, "time"_a = seconds_text(costs_[verdict.candidate].seconds),
            "chosen_time"_a = seconds_text(costs_[answer_.chosen.value_or(answer_.best)].seconds));
    }
    [[nodiscard]] std::string mark_text(const DefectMark& mark) const {
        if (mark.defect.empty()) return std::string(text(ReportText::NoDefect));
        const std::string defect = words_.word(mark.defect);
        if (!mark.place) return words_.fill(ReportText::NoPlace, "defect"_a = defect);
        if (mark.defect == quality::kDifference)
            return std::string(text(ReportText::MarkDifference));
        const auto amount = [&](double value) {
            return mark.defect == "burn"
                       ? words_.fill(ReportText::MarkShare, "share"_a = 100 * value)
                       : words_.fill(ReportText::MarkLevels, "levels"_a = value);
        };
        if (!mark.place->in_reference)
            return words_.fill(ReportText::Mark, "defect"_a = defect,
                               "here"_a = amount(mark.place->here));
        return words_.fill(ReportText::MarkBeside, "defect"_a = defect,
                           "here"_a = amount(mark.place->here),
                           "reference"_a = amount(*mark.place->in_reference));
    }
    [[nodiscard]] const MeasuredQuality* measured(std::size_t candidate) const {
        const auto found = std::ranges::find(measured_, plan_.entrants[candidate].setting,
                                             &MeasuredQuality::setting);
        return found == measured_.end() ? nullptr : &*found;
    }

    void begin() {
        add("<!doctype html>\n<html lang=\"{}\">\n", words_.code);
        out_ +=
            "<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "img-src data:; style-src 'unsafe-inline'\">\n";
        const std::string model = escaped(plan_.model);
        add("<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
            words_.fill(ReportText::Title, "model"_a = model), kStyle);
        const Session::Count count = session_.count();
        const Phrase& why = session_.progress().why;
        const std::string after =
            why.empty() ? "" : words_.fill(ReportText::Why, "why"_a = escaped(words_.say(why)));
        add("<h1>{}</h1>\n<p class=\"soft\">{}</p>\n",
            words_.fill(ReportText::Heading, "model"_a = model),
            words_.fill(
                ReportText::Summary, "kind"_a = words_.word(quality::test_kind_name(plan_.kind)),
                "day"_a = day_text(plan_.created_ms),
                "state"_a = words_.word(quality::session_state_name(session_.progress().state)),
                "drawn"_a = count.drawn, "prompts"_a = plan_.prompts.size(),
                "spent"_a = seconds_text(count.seconds_spent), "why"_a = after,
                "session"_a = escaped(plan_.session_id)));
    }

    void write_answer() {
        add("<section class=\"answer\"><span class=\"grade\" aria-hidden=\"true\">{}</span>"
            "<p><strong>{}</strong></p><p>{}</p>",
            quality::grade_name(answer_.grade), escaped(answer_text()),
            words_.fill(ReportText::Grade, "grade"_a = text(grade_text(answer_.grade)),
                        "margin"_a = answer_.margin));
        std::string tied;
        for (const quality::Verdict& verdict : answer_.verdicts)
            if (verdict.tied)
                tied += (tied.empty() ? "#" : ", #") + std::to_string(verdict.candidate);
        if (!tied.empty()) add("<p>{}</p>", words_.fill(ReportText::Tied, "settings"_a = tied));
        out_ += "</section>\n";
    }

    // Seconds to the right, points up, each with its 95 % interval; the size of a dot says GiB.
    void write_plot() {
        if (measured_.empty()) return;
        constexpr double kWidth = 860;
        constexpr double kHeight = 380;
        constexpr double kLeft = 56;
        constexpr double kRight = 30;
        constexpr double kTop = 34;
        constexpr double kBottom = 46;
        double seconds_most = 0;
        double low = 100;
        double high = 0;
        double peak_least = static_cast<double>(measured_.front().peak_bytes);
        double peak_most = peak_least;
        for (const MeasuredQuality& one : measured_) {
            seconds_most = std::max(seconds_most, one.seconds);
            low = std::min(low, one.interval.low);
            high = std::max(high, one.interval.high);
            peak_least = std::min(peak_least, static_cast<double>(one.peak_bytes));
            peak_most = std::max(peak_most, static_cast<double>(one.peak_bytes));
        }
        seconds_most = std::max(seconds_most * 1.05, 0.1);
        // What is so far below that the near ones could not be told apart stands at the edge.
        high = std::min(100.0, std::ceil(high + 1));
        low = std::min(high - 2,
                       std::max({0.0, high - kPlotMargins * answer_.margin, std::floor(low - 1)}));
        const auto x_of = [&](double seconds) {
            return kLeft + (kWidth - kLeft - kRight) * seconds / seconds_most;
        };
        const auto y_of = [&](double points) {
            return kTop +
                   (kHeight - kTop - kBottom) * (high - std::max(points, low)) / (high - low);
        };
        add("<h2>{}</h2>\n<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n",
            text(ReportText::PlotHeading), kWidth, kHeight, text(ReportText::PlotLabel));
        for (int i = 0; i <= 4; ++i) {
            const double points = low + (high - low) * i / 4;
            const double seconds = seconds_most * i / 4;
            add("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" "
                "stroke=\"currentColor\" opacity=\"0.15\"/><text x=\"{:.1f}\" y=\"{:.1f}\" "
                "text-anchor=\"end\">{:.{}f}</text><text x=\"{:.1f}\" y=\"{:.1f}\" "
                "text-anchor=\"middle\">{:.1f}</text>\n",
                kLeft, kWidth - kRight, y_of(points), y_of(points), kLeft - 8, y_of(points) + 4,
                points, high - low < 8 ? 1 : 0, x_of(seconds), kHeight - kBottom + 20, seconds);
        }
        add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>"
            "<text x=\"4\" y=\"14\">{}</text>\n",
            kWidth - kRight, kHeight - 6, text(ReportText::PlotSeconds),
            text(ReportText::PlotPoints));
        for (const quality::Verdict& verdict : answer_.verdicts) {
            const MeasuredQuality* const one = measured(verdict.candidate);
            if (one == nullptr) continue;
            const double share =
                peak_most > peak_least
                    ? (static_cast<double>(one->peak_bytes) - peak_least) / (peak_most - peak_least)
                    : 0.5;
            const bool chosen = answer_.chosen == verdict.candidate;
            const double x = x_of(one->seconds);
            const double y = y_of(one->quality);
            add("<g><title>{}</title>"
                "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" "
                "stroke=\"currentColor\" stroke-width=\"1.5\"/><circle cx=\"{:.1f}\" cy=\"{:.1f}\" "
                "r=\"{:.1f}\" fill=\"{}\" stroke=\"currentColor\" stroke-width=\"{}\"/>"
                "<text x=\"{:.1f}\" y=\"{:.1f}\">#{}{}</text></g>\n",
                words_.fill(ReportText::PlotSpoken, "number"_a = verdict.candidate,
                            "setting"_a = escaped(words_of(verdict.candidate)),
                            "points"_a = one->quality, "low"_a = one->interval.low,
                            "high"_a = one->interval.high, "seconds"_a = one->seconds,
                            "peak"_a = to_gib_text(Bytes(one->peak_bytes))),
                x, x, y_of(one->interval.low), y_of(one->interval.high), x, y, 5 + 6 * share,
                chosen             ? "var(--mark)"
                : verdict.on_front ? "var(--good)"
                                   : "var(--paper)",
                chosen ? 3 : 1.5, x + 13, y - 6, verdict.candidate,
                chosen             ? text(ReportText::PlotChosen)
                : verdict.on_front ? text(ReportText::PlotFront)
                                   : std::string_view());
        }
        add("</svg>\n<p class=\"soft\">{}</p>\n", text(ReportText::PlotLegend));
    }

    void write_table() {
        add("<h2>{}</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
            "aria-label=\"{}\"><table><thead><tr><th>#</th>"
            "<th>{}</th><th class=\"n\">{}</th><th class=\"n\">{}</th>"
            "<th class=\"n\">{}</th><th class=\"n\">{}</th>"
            "<th class=\"n\">{}</th><th>{}</th><th>{}</th></tr></thead><tbody>\n",
            text(ReportText::TableHeading), text(ReportText::TableHeading),
            text(ReportText::Setting), text(ReportText::Seconds), text(ReportText::Peak),
            text(ReportText::Quality), text(ReportText::ToBest), text(ReportText::Pairs),
            text(ReportText::ComparedBy), text(ReportText::Finding));
        for (const quality::Verdict& verdict : answer_.verdicts) {
            const bool chosen = answer_.chosen == verdict.candidate;
            const bool stated = verdict.to_best.pairs >= quality::kPairsMin;
            const quality::Cost& cost = costs_[verdict.candidate];
            std::string finding = chosen ? std::string(text(ReportText::Chosen)) : why_not(verdict);
            if (verdict.candidate == plan_.reference) finding += text(ReportText::Reference);
            if (verdict.on_front && !chosen) finding += text(ReportText::OnFront);
            add("<tr{}><td>{}</td><td>{}</td><td class=\"n\">{:.1f}</td><td class=\"n\">{}</td>"
                "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>"
                "<td>{}</td></tr>\n",
                chosen ? " class=\"chosen\"" : "", verdict.candidate,
                escaped(words_of(verdict.candidate)), cost.seconds, to_gib_text(cost.peak),
                verdict.to_reference.pairs > 0 ? fmt::format("{:.1f}", verdict.quality) : "–",
                stated ? span_of(verdict.to_best) : "–", verdict.to_best.pairs,
                text(verdict.basis == quality::Basis::RetentionAndDefects ? ReportText::ByPixels
                                                                          : ReportText::ByDefects),
                escaped(finding));
        }
        out_ += "</tbody></table></div>\n";
    }

    // Block by block, the reference first; as many as the bounds allow.
    void write_pictures() {
        const std::vector<quality::Block> blocks = quality::blocks_of(plan_);
        bool full = false;
        for (std::size_t b = 0; b < blocks.size() && !full; ++b) {
            const quality::Picture* const reference = session_.picture({plan_.reference, b});
            if (reference == nullptr || reference->state != quality::PictureState::Drawn) continue;
            if (b == 0) add("<h2>{}</h2>\n", text(ReportText::PicturesHeading));
            add("<section class=\"block\"><h3>{}</h3><p class=\"words\">{}</p>"
                "<div class=\"pictures\">\n",
                words_.fill(ReportText::Block, "prompt"_a = blocks[b].prompt + 1,
                            "seed"_a = quality::seed_of(plan_, blocks[b])),
                escaped(plan_.prompts[blocks[b].prompt]));
            full = !write_picture({plan_.reference, b});
            for (std::size_t k = 0; k < plan_.entrants.size() && !full; ++k)
                if (k != plan_.reference) full = !write_picture({k, b});
            out_ += "</div></section>\n";
        }
        if (full)
            add("<p class=\"soft\">{}</p>\n", words_.fill(ReportText::NotAll, "shown"_a = pictures_,
                                                          "all"_a = session_.count().drawn));
    }

    [[nodiscard]] std::string caption_of(std::size_t candidate) const {
        const std::string setting = words_of(candidate);
        if (candidate == plan_.reference)
            return words_.fill(ReportText::ReferencePicture, "number"_a = candidate,
                               "setting"_a = setting);
        if (answer_.chosen == candidate)
            return words_.fill(ReportText::ChosenPicture, "number"_a = candidate,
                               "setting"_a = setting);
        return fmt::format("#{}: {}", candidate, setting);
    }
    // false: no more pictures have room.
    bool write_picture(const Cell& cell) {
        const quality::Picture* const picture = session_.picture(cell);
        if (picture == nullptr || picture->state != quality::PictureState::Drawn) return true;
        if (pictures_ >= kReportPictures || picture_bytes_ >= kReportPictureBytes) return false;
        const std::string caption = caption_of(cell.candidate);
        auto image = read_session_picture(picture->file);
        if (cell.candidate == plan_.reference) reference_ = image ? *image : quality::Image();
        if (!image) {
            add("<figure><p class=\"soft\">{}</p><figcaption>{}</figcaption></figure>\n",
                text(ReportText::PictureGone), escaped(caption));
            return true;
        }
        const std::string jpeg =
            quality::encode_jpeg(quality::shrunk(*image, kReportPictureSide), kLookJpegQuality);
        ++pictures_;
        picture_bytes_ += jpeg.size();
        std::optional<DefectMark> mark;
        if (reference_.count() > 0) mark = mark_defect(session_, cell, reference_, *image);
        std::string place;
        std::string words;
        if (mark && mark->place) {
            const auto share = [](int part, int whole) { return 100.0 * part / whole; };
            place = fmt::format(
                "<span class=\"place\" style=\"left:{:.2f}%;top:{:.2f}%;width:{:.2f}%;"
                "height:{:.2f}%\"></span>",
                share(mark->place->x, mark->width), share(mark->place->y, mark->height),
                share(mark->place->width, mark->width), share(mark->place->height, mark->height));
            words = mark_text(*mark);
        }
        add("<figure><div class=\"frame\"><img alt=\"{}\" "
            "src=\"data:image/jpeg;base64,{}\">{}</div>"
            "<figcaption>{}{}{}</figcaption></figure>\n",
            escaped(caption), encode_base64(jpeg), place, escaped(caption),
            words.empty() ? "" : "<br>", escaped(words));
        return true;
    }

    void write_votes() {
        const std::size_t count = votes_.standings.votes;
        if (count == 0) return;
        const std::string few =
            votes_.standings.enough()
                ? ""
                : words_.fill(ReportText::VotesFew, "least"_a = quality::kVotesMin);
        add("<h2>{}</h2>\n<p>{}</p>\n", text(ReportText::VotesHeading),
            words_.fill(ReportText::Votes, "votes"_a = count, "few"_a = few));
        add("<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
            "aria-label=\"{}\"><table><thead><tr><th>{}</th><th class=\"n\">{}"
            "</th><th class=\"n\">95 %</th><th class=\"n\">{}</th></tr></thead><tbody>\n",
            text(ReportText::VotesHeading), text(ReportText::Setting), text(ReportText::Strength),
            text(ReportText::Wins));
        for (const std::size_t candidate : votes_.candidates) {
            const quality::Strength& one = votes_.standings.strengths[candidate];
            add("<tr><td>#{} {}</td><td class=\"n\">{:+.2f}</td><td class=\"n\">{}</td>"
                "<td class=\"n\">{:.0f} %</td></tr>\n",
                candidate, escaped(words_of(candidate)), one.value,
                words_.fill(ReportText::Interval, "low"_a = one.interval.low,
                            "high"_a = one.interval.high),
                100 * one.wins_against_all);
        }
        out_ += "</tbody></table></div>\n";
    }

    void write_facts() {
        add("<h2>{}</h2>\n<p>{}</p>\n<ol>\n", text(ReportText::HowHeading), text(ReportText::How));
        for (const std::string& prompt : plan_.prompts)
            add("<li class=\"words\">{}</li>\n", escaped(prompt));
        out_ += "</ol>\n";
        if (!plan_.negative.empty())
            add("<p class=\"words\">{}</p>\n",
                words_.fill(ReportText::Negative, "negative"_a = escaped(plan_.negative)));
    }

    const ReportWords& words_;
    const Session& session_;
    const quality::SessionPlan& plan_;
    const VoteCount& votes_;
    quality::Answer answer_;
    std::vector<quality::Cost> costs_;
    std::vector<MeasuredQuality> measured_;
    std::string out_;
    quality::Image reference_;  // of the block; empty: its file is gone
    std::size_t pictures_ = 0;
    std::size_t picture_bytes_ = 0;
};

}  // namespace

std::string write_report(const Session& session, const VoteCount& votes,
                         std::string_view language) {
    return Report(session, votes, report_words(language)).write();
}

}  // namespace plimsoll::service
