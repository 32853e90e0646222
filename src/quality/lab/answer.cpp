// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

namespace plimsoll::quality {
namespace {

// Half widths of 95 % intervals, as shares of the margin; chosen: A resolves half of it.
constexpr double kGradeA = 0.5;
constexpr double kGradeB = 1.0;
constexpr double kGradeC = 2.0;
constexpr double kError = 0.05;  // of "not worse", over all claims together

std::string worst_defect_of(const std::vector<std::optional<Marks>>& scores) {
    std::map<std::string, std::size_t> counts;
    for (const auto& score : scores)
        if (score && !score->worst_defect.empty()) ++counts[score->worst_defect];
    const auto most = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
    return most == counts.end() ? "" : most->first;
}

double mean_quality(const std::vector<std::optional<Marks>>& scores) {
    double sum = 0;
    double count = 0;
    for (const auto& score : scores) {
        if (!score) continue;
        sum += quality_of(*score, Basis::RetentionAndDefects);
        ++count;
    }
    return count == 0 ? 0 : sum / count;
}

class Judge {
  public:
    Judge(const Table& table, std::span<const Cost> costs, std::span<const std::string> names,
          std::size_t reference, std::uint64_t seed)
        : table_(table), costs_(costs), names_(names), reference_(reference), seed_(seed) {}

    Answer judge(double margin) {
        answer_.margin = margin;
        answer_.best = reference_;
        hear_scorers();
        for (std::size_t k = 0; k < table_.candidates(); ++k) compare_with_reference(k);
        find_best();
        for (Verdict& verdict : answer_.verdicts) compare_with_best(verdict);
        claim_not_worse();
        mark_front();
        choose();
        for (Verdict& verdict : answer_.verdicts) verdict.why = why_not(verdict);
        answer_.grade = grade();
        answer_.words = words();
        return std::move(answer_);
    }

  private:
    [[nodiscard]] Estimate difference(std::size_t a, std::size_t b) const {
        // The same draws whichever way round the pair is asked for.
        return estimate_difference(pair_up(table_, a, b).differences,
                                   seed_ + std::min(a, b) * 1000 + std::max(a, b));
    }

    // One that failed on most of the reference's pictures says too little to veto anything.
    void hear_scorers() {
        for (std::size_t j = 0; j < table_.scorers.size(); ++j) {
            ScorerPart part{.rules = table_.scorers[j], .why_silent = {}};
            for (const auto& scores : table_.scores)
                for (const auto& marks : scores)
                    part.scored += marks && j < marks->scores.size() && marks->scores[j] ? 1 : 0;
            const std::size_t of_reference =
                pair_up_scores(table_, j, reference_, reference_).size();
            if (part.rules.margin && of_reference < kPairsMin)
                part.why_silent =
                    fmt::format("{} scored {} pictures of the reference setting, {} are needed",
                                part.rules.name, of_reference, kPairsMin);
            part.decides = part.rules.margin && part.why_silent.empty();
            answer_.scorers.push_back(std::move(part));
        }
    }
    [[nodiscard]] Estimate score_difference(std::size_t scorer, std::size_t a,
                                            std::size_t b) const {
        return estimate_difference(
            pair_up_scores(table_, scorer, a, b),
            seed_ + (scorer + 1) * 1'000'000 + std::min(a, b) * 1000 + std::max(a, b));
    }
    // A setting is not worse where all who decide say so: the least sure of them counts, and
    // nothing has to be corrected for their number (an intersection-union test).
    [[nodiscard]] double p_not_worse(const Verdict& verdict) const {
        double p = verdict.to_best.p_not_worse(answer_.margin);
        for (std::size_t j = 0; j < answer_.scorers.size(); ++j) {
            if (!answer_.scorers[j].decides) continue;
            const Estimate& estimate = verdict.scorers[j].to_best;
            p = std::max(p, estimate.pairs < kPairsMin
                                ? 1.0
                                : estimate.p_not_worse(*answer_.scorers[j].rules.margin));
        }
        return p;
    }
    // The scorer that decides and finds it worse than the best; nullopt: none does.
    [[nodiscard]] std::optional<std::size_t> who_minds(const Verdict& verdict) const {
        for (std::size_t j = 0; j < answer_.scorers.size(); ++j)
            if (answer_.scorers[j].decides && verdict.scorers[j].to_best.pairs >= kPairsMin &&
                verdict.scorers[j].to_best.interval.high < 0)
                return j;
        return std::nullopt;
    }

    void compare_with_reference(std::size_t k) {
        Verdict verdict;
        verdict.candidate = k;
        verdict.basis = pair_up(table_, k, reference_).basis;
        verdict.to_reference = difference(k, reference_);
        verdict.quality = mean_quality(table_.scores[k]);
        verdict.worst_defect = worst_defect_of(table_.scores[k]);
        for (std::size_t j = 0; j < table_.scorers.size(); ++j)
            verdict.scorers.push_back(
                {.to_reference = score_difference(j, k, reference_), .to_best = {}});
        answer_.verdicts.push_back(std::move(verdict));
    }

    // Among those with the most pictures, so that luck with a few is not taken for the best. What
    // could only be checked for defects does not lead where others were compared closely.
    void find_best() {
        const Basis close = answer_.verdicts[reference_].basis;
        std::size_t most = 0;
        for (const Verdict& verdict : answer_.verdicts)
            if (verdict.candidate != reference_) most = std::max(most, verdict.to_reference.pairs);
        for (const Verdict& verdict : answer_.verdicts)
            if (verdict.basis == close && verdict.candidate != reference_ &&
                verdict.to_reference.pairs >= std::max(most, kPairsMin) &&
                verdict.to_reference.points > best_points_) {
                answer_.best = verdict.candidate;
                best_points_ = verdict.to_reference.points;
            }
    }

    void compare_with_best(Verdict& verdict) const {
        verdict.to_best = difference(verdict.candidate, answer_.best);
        for (std::size_t j = 0; j < table_.scorers.size(); ++j)
            verdict.scorers[j].to_best = score_difference(j, verdict.candidate, answer_.best);
        const Interval& interval = verdict.to_best.interval;
        if (verdict.candidate == answer_.best)
            verdict.finding = verdict.to_best.pairs >= kPairsMin ? Finding::Best : Finding::TooFew;
        else if (verdict.to_best.pairs < kPairsMin)
            verdict.finding = Finding::TooFew;
        else
            verdict.finding =
                interval.high < 0 || who_minds(verdict) ? Finding::Worse : Finding::Undecided;
        verdict.tied =
            verdict.finding != Finding::TooFew && interval.low <= 0 && interval.high >= 0;
    }

    // Holm's step-down over the candidates that are cheaper than the best and so could be chosen.
    void claim_not_worse() {
        std::vector<Verdict*> tested;
        for (Verdict& verdict : answer_.verdicts)
            if (verdict.candidate != answer_.best && verdict.finding != Finding::TooFew)
                tested.push_back(&verdict);
        std::ranges::sort(tested, {},
                          [this](const Verdict* verdict) { return p_not_worse(*verdict); });
        double hypotheses = 0;
        for (const Verdict* verdict : tested) hypotheses += may_be_chosen(*verdict) ? 1 : 0;
        for (Verdict* verdict : tested) {
            const bool counts = may_be_chosen(*verdict);
            if (p_not_worse(*verdict) > kError / std::max(1.0, hypotheses)) break;
            verdict->finding = Finding::NotWorse;
            if (counts) --hypotheses;
        }
    }
    [[nodiscard]] bool may_be_chosen(const Verdict& verdict) const {
        return is_cheaper(costs_[verdict.candidate], costs_[answer_.best]) &&
               verdict.to_best.points > -answer_.margin;
    }

    void mark_front() {
        for (Verdict& verdict : answer_.verdicts) {
            if (verdict.to_reference.pairs < 2) continue;
            verdict.on_front = std::ranges::none_of(answer_.verdicts, [&](const Verdict& other) {
                return other.candidate != verdict.candidate && dominates(other, verdict);
            });
        }
    }
    // Cheaper in seconds, no larger, and surely as good.
    [[nodiscard]] bool dominates(const Verdict& a, const Verdict& b) const {
        const Cost& left = costs_[a.candidate];
        const Cost& right = costs_[b.candidate];
        if (left.seconds > right.seconds || left.peak > right.peak) return false;
        if (left.seconds == right.seconds && left.peak == right.peak) return false;
        const Estimate estimate = difference(a.candidate, b.candidate);
        return estimate.pairs >= 2 && estimate.lower_bound > -answer_.margin;
    }

    void choose() {
        for (const Verdict& verdict : answer_.verdicts) {
            if (verdict.finding != Finding::Best && verdict.finding != Finding::NotWorse) continue;
            if (!answer_.chosen || is_cheaper(costs_[verdict.candidate], costs_[*answer_.chosen]))
                answer_.chosen = verdict.candidate;
        }
    }

    [[nodiscard]] std::string why_not(const Verdict& verdict) const {
        if (answer_.chosen == verdict.candidate) return "";
        const Estimate& estimate = verdict.to_best;
        const std::string defect =
            verdict.worst_defect.empty() ? "" : fmt::format(", mostly {}", verdict.worst_defect);
        switch (verdict.finding) {
            case Finding::TooFew:
                if (estimate.pairs < 2) return "too few pictures to say anything";
                return fmt::format("left the race after {} pictures, {:.1f} points {} the best{}",
                                   estimate.pairs, std::abs(estimate.points),
                                   estimate.points < 0 ? "below" : "above", defect);
            case Finding::Worse:
                if (const auto j = who_minds(verdict); j && estimate.interval.high >= 0) {
                    const Estimate& scored = verdict.scorers[*j].to_best;
                    return fmt::format("worse than the best by {}: {:.3g} ({:.3g} to {:.3g})",
                                       answer_.scorers[*j].rules.name, scored.points,
                                       scored.interval.low, scored.interval.high);
                }
                return fmt::format("{:.1f} points below the best ({:.1f} to {:.1f}){}",
                                   -estimate.points, -estimate.interval.high,
                                   -estimate.interval.low, defect);
            case Finding::Undecided:
                return fmt::format(
                    "between {:.1f} points below the best and {:.1f} above: not yet "
                    "shown to be as good{}",
                    -estimate.interval.low, estimate.interval.high, defect);
            case Finding::NotWorse:
            case Finding::Best:
                return fmt::format("as good, but takes {:.1f} s instead of {:.1f} s",
                                   costs_[verdict.candidate].seconds,
                                   costs_[*answer_.chosen].seconds);
        }
        return "";
    }

    [[nodiscard]] Grade grade() const {
        if (!answer_.chosen) return Grade::D;
        double half = 0;
        Basis basis = answer_.verdicts[*answer_.chosen].basis;
        if (*answer_.chosen == answer_.best) {
            // How well is it told from the nearest that was seen as often?
            half = std::numeric_limits<double>::infinity();
            for (const Verdict& verdict : answer_.verdicts)
                if (verdict.candidate != answer_.best && verdict.finding != Finding::TooFew)
                    half = std::min(half, half_width(verdict.to_best));
        } else {
            half = half_width(answer_.verdicts[*answer_.chosen].to_best);
        }
        Grade grade = Grade::D;
        if (half <= kGradeA * answer_.margin)
            grade = Grade::A;
        else if (half <= kGradeB * answer_.margin)
            grade = Grade::B;
        else if (half <= kGradeC * answer_.margin)
            grade = Grade::C;
        // Defects alone do not say whether a picture is liked.
        if (basis == Basis::DefectsOnly) grade = std::max(grade, Grade::C);
        return grade;
    }
    static double half_width(const Estimate& estimate) {
        return (estimate.interval.high - estimate.interval.low) / 2;
    }

    [[nodiscard]] std::string words() const {
        if (!answer_.chosen)
            return fmt::format("nothing is claimed: fewer than {} pictures could be compared",
                               kPairsMin);
        const Verdict& chosen = answer_.verdicts[*answer_.chosen];
        const Cost& cost = costs_[*answer_.chosen];
        if (*answer_.chosen == answer_.best)
            return fmt::format("{}: no cheaper setting was shown to be as good",
                               names_[*answer_.chosen]);
        const std::string looked = chosen.basis == Basis::DefectsOnly
                                       ? "; only defects could be compared, votes would tell more"
                                       : "";
        return fmt::format(
            "{}: {:.1f} s instead of {:.1f} s, {} points to the best (95 %, {} pictures){}",
            names_[*answer_.chosen], cost.seconds, costs_[answer_.best].seconds,
            points_text(chosen.to_best), chosen.to_best.pairs, looked);
    }

    const Table& table_;
    std::span<const Cost> costs_;
    std::span<const std::string> names_;
    std::size_t reference_;
    std::uint64_t seed_;
    double best_points_ = 0;  // above the reference
    Answer answer_;
};

}  // namespace

std::string_view finding_name(Finding finding) {
    constexpr std::array<std::string_view, 5> kNames{"best", "not_worse", "undecided", "worse",
                                                     "too_few"};
    return kNames.at(static_cast<std::size_t>(finding));
}

std::string_view grade_name(Grade grade) {
    constexpr std::array<std::string_view, 4> kNames{"A", "B", "C", "D"};
    return kNames.at(static_cast<std::size_t>(grade));
}

Answer find_answer(const Table& table, std::span<const Cost> costs,
                   std::span<const std::string> names, std::size_t reference, double margin,
                   std::uint64_t seed) {
    return Judge(table, costs, names, reference, seed).judge(margin);
}

}  // namespace plimsoll::quality
