// SPDX-License-Identifier: Apache-2.0
#include "service/quality/report_words.h"

#include "base/units.h"

#include <algorithm>
#include <cstdint>
#include <variant>

namespace plimsoll::service {
namespace {

using enum ReportText;

// The answer and why a setting was not chosen are the lab's own sentences (quality/lab/answer.h).
constexpr auto kEnglish = std::to_array<ReportEntry>({
    // clang-format off: one entry a line, beside those of the other languages
    {Title, "Quality of {model}: Plimsoll report"},
    {Heading, "Which cheaper setting of {model} is as good?"},
    {Summary, "{kind} test of {day}, {state}: {drawn} pictures of {prompts} prompts, {spent} of drawing{why}. Session {session}."},
    {Why, ", {why}"},
    {GradeA, "A: the answer is resolved to half of what may be lost"},
    {GradeB, "B: resolved to what may be lost"},
    {GradeC, "C: resolved to twice what may be lost, or only defects could be compared"},
    {GradeD, "D: not resolved; more pictures or votes would tell"},
    {Grade, "Grade {grade}. \"As good\" means at most {margin:.1f} points of 100 below the best, with 95 % confidence."},
    {Tied, "Not to be told from the best: {settings}."},
    {PlotHeading, "Quality against seconds"},
    {PlotLabel, "Points of quality with their 95 % intervals against seconds a picture; the table below has the same numbers"},
    {PlotSeconds, "seconds a picture"},
    {PlotPoints, "points"},
    {PlotSpoken, "#{number} {setting}: {points:.1f} points ({low:.1f} to {high:.1f}), {seconds:.1f} s, {peak}"},
    {PlotChosen, " chosen"},
    {PlotFront, " front"},
    {PlotLegend, "Lines are 95 % intervals; a larger dot takes more memory. Filled: nothing is surely as good, as fast and as small."},
    {TableHeading, "The settings"},
    {Setting, "setting"},
    {Seconds, "s"},
    {Peak, "peak"},
    {Quality, "quality"},
    {ToBest, "to the best, 95 %"},
    {Pairs, "pairs"},
    {ComparedBy, "compared by"},
    {Finding, "finding"},
    {ByPixels, "pixels and defects"},
    {ByDefects, "defects only"},
    {SettingWords, "{sampler} {scheduler}, {steps} steps, CFG {cfg:g}, {width} x {height}"},
    {Tiled, ", tiled decode"},
    {Chosen, "chosen"},
    {Reference, "; the reference"},
    {OnFront, "; on the front"},
    {Span, "{points:+.1f} ({low:+.1f} to {high:+.1f})"},
    {PicturesHeading, "The pictures"},
    {Block, "Prompt {prompt}, seed {seed}"},
    {ReferencePicture, "#{number} reference: {setting}"},
    {ChosenPicture, "#{number} chosen: {setting}"},
    {PictureGone, "the picture's file is gone, or is no picture any more"},
    {NotAll, "{shown} of {all} pictures are shown: the report is kept small."},
    {NoDefect, "nothing is wrong with it beyond the reference's own"},
    {NoPlace, "{defect}: no part shows it more than the others"},
    {MarkDifference, "difference: here it differs most from the reference"},
    {Mark, "{defect}: {here}"},
    {MarkBeside, "{defect}: {here} where the reference has {reference}"},
    {MarkShare, "{share:.0f} % of the pixels"},
    {MarkLevels, "{levels:.1f} levels"},
    {VotesHeading, "Votes"},
    {Votes, "{votes} blind votes{few}."},
    {VotesFew, ": not enough to say anything before {least}"},
    {Strength, "strength"},
    {Interval, "{low:+.2f} to {high:+.2f}"},
    {Wins, "wins"},
    {HowHeading, "How it was found"},
    {How, "All settings draw the same prompts and seeds. Where two settings solve for one picture, its pixels are compared with the reference's (HaarPSI at three scales); noise, blur, grids and burn are measured in every picture. Points are means over prompts, with intervals of a bootstrap over whole prompts."},
    {Negative, "Negative: {negative}"},
    // clang-format on
});

constexpr auto kChinese = std::to_array<ReportEntry>({
    // clang-format off: one entry a line, beside those of the other languages
    {Title, "{model} 的画质：Plimsoll 报告"},
    {Heading, "{model} 的哪种更省的设置同样好？"},
    {Summary, "{day} 的{kind}，{state}：{prompts} 条提示词共 {drawn} 张图像，绘制用时 {spent}{why}。编号 {session}。"},
    {Why, "，{why}"},
    {GradeA, "A：分辨到容许损失的一半"},
    {GradeB, "B：分辨到容许损失"},
    {GradeC, "C：只分辨到容许损失的两倍，或只能比较缺陷"},
    {GradeD, "D：未能分辨；需要更多图像或投票"},
    {Grade, "可信度 {grade}。“同样好”指：满分 100 中比最佳最多低 {margin:.1f} 分，置信度 95 %。"},
    {AnswerNone, "尚无结论：可比较的图像太少。"},
    {AnswerBest, "{setting}。没有更省的设置被证明同样好。"},
    {AnswerChosen, "{setting}。用时 {time}，而最佳设置为 {best_time}；与最佳相差 {points} 分。"},
    {Tied, "与最佳无法区分：{settings}。"},
    {PlotHeading, "画质与时间"},
    {PlotLabel, "各设置的画质分数及 95 % 区间与每张图像用时；下表有相同的数字"},
    {PlotSeconds, "每张图像的秒数"},
    {PlotPoints, "分数"},
    {PlotSpoken, "#{number} {setting}：{points:.1f} 分（{low:.1f} 至 {high:.1f}），{seconds:.1f} s，{peak}"},
    {PlotChosen, " 已选"},
    {PlotFront, " 前沿"},
    {PlotLegend, "线段为 95 % 区间；圆点越大，占用显存越多。实心：没有别的设置确定同样好、同样快且同样省。"},
    {TableHeading, "各设置"},
    {Setting, "设置"},
    {Seconds, "秒"},
    {Peak, "峰值"},
    {Quality, "画质"},
    {ToBest, "与最佳之差，95 %"},
    {Pairs, "对数"},
    {ComparedBy, "比较依据"},
    {Finding, "判断"},
    {ByPixels, "像素与缺陷"},
    {ByDefects, "只比缺陷"},
    {SettingWords, "{sampler} {scheduler}，{steps} 步，CFG {cfg:g}，{width} x {height}"},
    {Tiled, "，分块解码"},
    {Chosen, "已选"},
    {TooFew, "图像太少，无法多说"},
    {Worse, "与最佳相差 {points} 分"},
    {Undecided, "尚未证明同样好：与最佳相差 {points} 分"},
    {AsGood, "同样好，但用时 {time}，而所选设置为 {chosen_time}"},
    {Mostly, "，主要是{defect}"},
    {Reference, "；参考"},
    {OnFront, "；在前沿上"},
    {Span, "{points:+.1f}（{low:+.1f} 至 {high:+.1f}）"},
    {PicturesHeading, "图像"},
    {Block, "提示词 {prompt}，种子 {seed}"},
    {ReferencePicture, "#{number} 参考：{setting}"},
    {ChosenPicture, "#{number} 已选：{setting}"},
    {PictureGone, "图像文件已不存在，或已不是图像"},
    {NotAll, "共 {all} 张图像，此处显示 {shown} 张：报告保持小巧。"},
    {NoDefect, "除参考本身所有之外没有缺陷"},
    {NoPlace, "{defect}：没有哪一处更明显"},
    {MarkDifference, "差异：此处与参考差异最大"},
    {Mark, "{defect}：{here}"},
    {MarkBeside, "{defect}：{here}，参考在该处为 {reference}"},
    {MarkShare, "{share:.0f} % 的像素"},
    {MarkLevels, "{levels:.1f} 级"},
    {VotesHeading, "投票"},
    {Votes, "共 {votes} 次盲投{few}。"},
    {VotesFew, "：不足 {least} 票，尚不能说明什么"},
    {Strength, "强度"},
    {Interval, "{low:+.2f} 至 {high:+.2f}"},
    {Wins, "胜率"},
    {HowHeading, "方法"},
    {How, "所有设置都画相同的提示词和种子。若两种设置求解的是同一幅图，则把它的像素与参考比较（三个尺度的 HaarPSI）；每张图像都测量噪点、模糊、网格和过曝。分数是各提示词的平均，区间由对整条提示词的自助法得出。"},
    {Negative, "反向提示词：{negative}"},
    // clang-format on
});

// Of phrases that a session may end with (base/phrase_catalogue.h), and of words.
constexpr auto kChineseCodes = std::to_array<ReportCode>({
    {"lab.paused", "已按要求暂停"},
    {"lab.cancelled", "已按要求取消"},
    {"lab.not_accepted", "尚未有人接受"},
    {"lab.no_reference", "无法绘制参考设置：{why}"},
    {"lab.time_up", "绘制 {spent} 后时间用尽"},
    {"lab.all_failed", "除参考外的设置全部失败"},
    {"lab.gone_often", "{why}；期间没有画出一张图像，这已是第 {times} 次：请手动继续"},
    {"lab.not_fetched", "无法取回图像：{why}"},
    {"lab.no_picture", "ComfyUI 没有画出图像"},
    {"lab.not_submitted", "尚未提交"},
    {"quick", "快速测试"},
    {"full", "完整测试"},
    {"running", "进行中"},
    {"paused", "已暂停"},
    {"done", "完成"},
    {"cancelled", "已取消"},
    {"failed", "失败"},
    {"proposed", "已提议"},
    {"noise", "噪点"},
    {"blur", "模糊"},
    {"grid", "解码器网格"},
    {"seams", "分块接缝"},
    {"burn", "颜色过曝"},
    {"statistics", "统计异常"},
    {"difference", "与参考的差异"},
});

constexpr auto kLanguages = std::to_array<ReportWords>({
    {.code = "en", .name = "English", .texts = kEnglish, .codes = {}},
    {.code = "zh", .name = "中文", .texts = kChinese, .codes = kChineseCodes},
});

}  // namespace

std::string_view ReportWords::of(ReportText text) const {
    const auto found = std::ranges::find(texts, text, &ReportEntry::text);
    return found == texts.end() ? std::string_view() : found->words;
}

std::string ReportWords::word(std::string_view asked) const {
    const auto found = std::ranges::find(codes, asked, &ReportCode::code);
    return std::string(found == codes.end() ? asked : found->words);
}

std::string ReportWords::say(const Phrase& phrase) const {
    const auto found = std::ranges::find(codes, phrase.code(), &ReportCode::code);
    if (phrase.code().empty() || found == codes.end()) return phrase.message();
    fmt::dynamic_format_arg_store<fmt::format_context> values;
    for (const Phrase::Param& param : phrase.params()) {
        std::string text;
        if (const auto* const plain = std::get_if<std::string>(param.value)) text = *plain;
        if (const auto* const count = std::get_if<std::int64_t>(param.value))
            text = std::to_string(*count);
        if (const auto* const seconds = std::get_if<double>(param.value))
            text = seconds_text(*seconds);  // the only numbers of these
        if (const auto* const phrases = std::get_if<Phrases>(param.value))
            for (const Phrase& one : *phrases) text += say(one);
        values.push_back(fmt::arg(std::string(param.name).c_str(), text));
    }
    return fmt::vformat(found->words, values);
}

std::span<const ReportWords> report_languages() {
    return kLanguages;
}

const ReportWords& report_words(std::string_view code) {
    const auto* const found = std::ranges::find(kLanguages, code, &ReportWords::code);
    return found == kLanguages.end() ? kLanguages.front() : *found;
}

std::string report_language_names() {
    std::string names;
    for (const ReportWords& one : kLanguages)
        names.append(names.empty() ? "" : ", ").append(one.code);
    return names;
}

}  // namespace plimsoll::service
