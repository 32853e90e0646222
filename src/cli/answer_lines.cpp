// SPDX-License-Identifier: Apache-2.0
#include "cli/answer_lines.h"

#include "base/text.h"
#include "cli/session.h"
#include "wire/encode.h"

#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <utility>

namespace plimsoll::cli {

namespace {

struct Line {
    std::string text;
    bool too_long = false;
};

// nullopt at the end of the input. getc blocks only while nothing has arrived, so an answer follows
// its question at once also through a pipe.
std::optional<Line> read_line(std::FILE* in) {
    Line line;
    int c = ::getc_unlocked(in);
    if (c == EOF) return std::nullopt;
    for (; c != EOF && c != '\n'; c = ::getc_unlocked(in)) {
        if (line.text.size() < kLineBytesMax)
            line.text += static_cast<char>(c);
        else
            line.too_long = true;
    }
    return line;
}

Result<std::string> answer_one(const Line& line, const AnswerLine& answer) {
    if (line.too_long)
        return fail(Errc::LimitExceeded,
                    fmt::format("the line is longer than {} bytes", kLineBytesMax));
    return answer(line.text);
}

}  // namespace

Result<Exit> answer_lines(Session& session, const AnswerLine& answer) {
    Exit exit = Exit::Done;
    std::int64_t number = 0;
    while (const auto line = read_line(session.world.in)) {
        ++number;
        if (!line->too_long && trim(line->text).empty()) continue;
        Result<std::string> answered = answer_one(*line, answer);
        if (!answered) {
            Error error = std::move(answered).error();
            error.message = fmt::format("line {}: {}", number, error.message);
            answered = json::serialize(wire::encode_error(error));
            exit = Exit::Failed;
        }
        session.out.line(*answered);
        // Nobody reads any more, or the disk is full: said at the end.
        if (!session.out.flush()) return Exit::Failed;
    }
    return exit;
}

}  // namespace plimsoll::cli
