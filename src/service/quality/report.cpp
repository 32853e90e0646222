// SPDX-License-Identifier: Apache-2.0
#include "service/quality/report.h"

#include "base/base64.h"
#include "base/units.h"
#include "quality/encode_jpeg.h"
#include "quality/lab/setting.h"
#include "quality/shrink.h"
#include "service/quality/findings.h"
#include "service/quality/look.h"

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

std::string_view grade_words(quality::Grade grade) {
    constexpr std::array<std::string_view, 4> kWords{
        "A: the answer is resolved to half of what may be lost", "B: resolved to what may be lost",
        "C: resolved to twice what may be lost, or only defects could be compared",
        "D: not resolved; more pictures or votes would tell"};
    return kWords.at(static_cast<std::size_t>(grade));
}

class Report {
  public:
    Report(const Session& session, const VoteCount& votes)
        : session_(session),
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
        out_ += "</body>\n</html>\n";
        return std::move(out_);
    }

  private:
    template <class... Args>
    void add(fmt::format_string<Args...> text, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), text, std::forward<Args>(args)...);
    }
    [[nodiscard]] std::string words_of(std::size_t candidate) const {
        return quality::setting_words(plan_.entrants[candidate].setting);
    }
    [[nodiscard]] const MeasuredQuality* measured(std::size_t candidate) const {
        const auto found = std::ranges::find(measured_, plan_.entrants[candidate].setting,
                                             &MeasuredQuality::setting);
        return found == measured_.end() ? nullptr : &*found;
    }

    void begin() {
        out_ +=
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "img-src data:; style-src 'unsafe-inline'\">\n";
        add("<title>Quality of {}: Plimsoll report</title>\n<style>{}</style>\n</head>\n<body>\n",
            escaped(plan_.model), kStyle);
        const Session::Count count = session_.count();
        add("<h1>Which cheaper setting of {} is as good?</h1>\n"
            "<p class=\"soft\">{} test of {}, {}: {} pictures of {} prompts, {} of drawing{}. "
            "Session {}.</p>\n",
            escaped(plan_.model), quality::test_kind_name(plan_.kind), day_text(plan_.created_ms),
            quality::session_state_name(session_.progress().state), count.drawn,
            plan_.prompts.size(), seconds_text(count.seconds_spent),
            session_.progress().why.empty() ? ""
                                            : ", " + escaped(session_.progress().why.message()),
            escaped(plan_.session_id));
    }

    void write_answer() {
        add("<section class=\"answer\"><span class=\"grade\" aria-hidden=\"true\">{}</span>"
            "<p><strong>{}</strong></p><p>Grade {}. \"As good\" means at most {:.1f} points of 100 "
            "below the best, with 95 % confidence.</p>",
            quality::grade_name(answer_.grade), escaped(answer_.words), grade_words(answer_.grade),
            answer_.margin);
        std::string tied;
        for (const quality::Verdict& verdict : answer_.verdicts)
            if (verdict.tied)
                tied += (tied.empty() ? "#" : ", #") + std::to_string(verdict.candidate);
        if (!tied.empty()) add("<p>Not to be told from the best: {}.</p>", tied);
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
        add("<h2>Quality against seconds</h2>\n<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" "
            "aria-label=\"Points of quality with their 95 % intervals against seconds a picture; "
            "the table below has the same numbers\">\n",
            kWidth, kHeight);
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
        add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">seconds a picture</text>"
            "<text x=\"4\" y=\"14\">points</text>\n",
            kWidth - kRight, kHeight - 6);
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
            add("<g><title>#{} {}: {:.1f} points ({:.1f} to {:.1f}), {:.1f} s, {}</title>"
                "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" "
                "stroke=\"currentColor\" stroke-width=\"1.5\"/><circle cx=\"{:.1f}\" cy=\"{:.1f}\" "
                "r=\"{:.1f}\" fill=\"{}\" stroke=\"currentColor\" stroke-width=\"{}\"/>"
                "<text x=\"{:.1f}\" y=\"{:.1f}\">#{}{}</text></g>\n",
                verdict.candidate, escaped(words_of(verdict.candidate)), one->quality,
                one->interval.low, one->interval.high, one->seconds,
                to_gib_text(Bytes(one->peak_bytes)), x, x, y_of(one->interval.low),
                y_of(one->interval.high), x, y, 5 + 6 * share,
                chosen             ? "var(--mark)"
                : verdict.on_front ? "var(--good)"
                                   : "var(--paper)",
                chosen ? 3 : 1.5, x + 13, y - 6, verdict.candidate,
                chosen             ? " chosen"
                : verdict.on_front ? " front"
                                   : "");
        }
        out_ +=
            "</svg>\n<p class=\"soft\">Lines are 95 % intervals; a larger dot takes more memory. "
            "Filled: nothing is surely as good, as fast and as small.</p>\n";
    }

    void write_table() {
        out_ +=
            "<h2>The settings</h2>\n<div class=\"scroll\"><table><thead><tr><th>#</th>"
            "<th>setting</th><th class=\"n\">s</th><th class=\"n\">peak</th>"
            "<th class=\"n\">quality</th><th class=\"n\">to the best, 95 %</th>"
            "<th class=\"n\">pairs</th><th>compared by</th><th>finding</th></tr></thead><tbody>\n";
        for (const quality::Verdict& verdict : answer_.verdicts) {
            const bool chosen = answer_.chosen == verdict.candidate;
            const bool stated = verdict.to_best.pairs >= quality::kPairsMin;
            const quality::Cost& cost = costs_[verdict.candidate];
            std::string finding = chosen ? "chosen" : verdict.why;
            if (verdict.candidate == plan_.reference) finding += "; the reference";
            if (verdict.on_front && !chosen) finding += "; on the front";
            add("<tr{}><td>{}</td><td>{}</td><td class=\"n\">{:.1f}</td><td class=\"n\">{}</td>"
                "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>"
                "<td>{}</td></tr>\n",
                chosen ? " class=\"chosen\"" : "", verdict.candidate,
                escaped(words_of(verdict.candidate)), cost.seconds, to_gib_text(cost.peak),
                verdict.to_reference.pairs > 0 ? fmt::format("{:.1f}", verdict.quality) : "–",
                stated ? quality::points_text(verdict.to_best) : "–", verdict.to_best.pairs,
                verdict.basis == quality::Basis::RetentionAndDefects ? "pixels and defects"
                                                                     : "defects only",
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
            if (b == 0) out_ += "<h2>The pictures</h2>\n";
            add("<section class=\"block\"><h3>Prompt {}, seed {}</h3><p class=\"words\">{}</p>"
                "<div class=\"pictures\">\n",
                blocks[b].prompt + 1, quality::seed_of(plan_, blocks[b]),
                escaped(plan_.prompts[blocks[b].prompt]));
            full = !write_picture({plan_.reference, b});
            for (std::size_t k = 0; k < plan_.entrants.size() && !full; ++k)
                if (k != plan_.reference) full = !write_picture({k, b});
            out_ += "</div></section>\n";
        }
        if (full)
            add("<p class=\"soft\">{} of {} pictures are shown: the report is kept small.</p>\n",
                pictures_, session_.count().drawn);
    }

    // false: no more pictures have room.
    bool write_picture(const Cell& cell) {
        const quality::Picture* const picture = session_.picture(cell);
        if (picture == nullptr || picture->state != quality::PictureState::Drawn) return true;
        if (pictures_ >= kReportPictures || picture_bytes_ >= kReportPictureBytes) return false;
        const std::string caption = fmt::format("#{}{} {}", cell.candidate,
                                                cell.candidate == plan_.reference  ? " reference:"
                                                : answer_.chosen == cell.candidate ? " chosen:"
                                                                                   : ":",
                                                words_of(cell.candidate));
        auto image = read_session_picture(picture->file);
        if (cell.candidate == plan_.reference) reference_ = image ? *image : quality::Image();
        if (!image) {
            add("<figure><p class=\"soft\">{}</p><figcaption>{}</figcaption></figure>\n",
                escaped(image.error().message), escaped(caption));
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
            words = mark_words(*mark);
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
        add("<h2>Votes</h2>\n<p>{} blind votes{}.</p>\n", count,
            votes_.standings.enough()
                ? ""
                : fmt::format(": not enough to say anything before {}", quality::kVotesMin));
        out_ +=
            "<div class=\"scroll\"><table><thead><tr><th>setting</th><th class=\"n\">strength"
            "</th><th class=\"n\">95 %</th><th class=\"n\">wins</th></tr></thead><tbody>\n";
        for (const std::size_t candidate : votes_.candidates) {
            const quality::Strength& one = votes_.standings.strengths[candidate];
            add("<tr><td>#{} {}</td><td class=\"n\">{:+.2f}</td><td class=\"n\">{:+.2f} to "
                "{:+.2f}</td><td class=\"n\">{:.0f} %</td></tr>\n",
                candidate, escaped(words_of(candidate)), one.value, one.interval.low,
                one.interval.high, 100 * one.wins_against_all);
        }
        out_ += "</tbody></table></div>\n";
    }

    void write_facts() {
        out_ +=
            "<h2>How it was found</h2>\n<p>All settings draw the same prompts and seeds. Where "
            "two settings solve for one picture, its pixels are compared with the reference's "
            "(HaarPSI at three scales); noise, blur, grids and burn are measured in every "
            "picture. Points are means over prompts, with intervals of a bootstrap over whole "
            "prompts.</p>\n<ol>\n";
        for (const std::string& prompt : plan_.prompts)
            add("<li class=\"words\">{}</li>\n", escaped(prompt));
        out_ += "</ol>\n";
        if (!plan_.negative.empty())
            add("<p class=\"words\">Negative: {}</p>\n", escaped(plan_.negative));
    }

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

std::string write_report(const Session& session, const VoteCount& votes) {
    return Report(session, votes).write();
}

}  // namespace plimsoll::service
