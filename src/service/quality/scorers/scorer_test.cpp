// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever a scorer does, its call ends by the deadline with a number or a reason, and
// nothing that it started is left. Method: small programs of the system, a scripted HTTP server.
#include "service/quality/scorers/scorer.h"

#include "base/base64.h"
#include "base/json.h"
#include "net/scripted_server.h"
#include "service/quality/scorers/run_program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <thread>

namespace plimsoll::service {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

ScorerSpec program(std::vector<std::string> command, int deadline_ms = 20'000) {
    ScorerSpec spec;
    spec.rules.name = "s";
    spec.command = std::move(command);
    spec.deadline = milliseconds(deadline_ms);
    return spec;
}
ScorerSpec shell(const std::string& script, int deadline_ms = 20'000) {
    return program({"/bin/sh", "-c", script}, deadline_ms);
}
Result<double> score(const ScorerSpec& spec) {
    return make_scorer(spec)->score({.prompt = "a \"lighthouse\"",
                                     .negative = "",
                                     .file = "/a.png",
                                     .bytes = "\x89PNG!",
                                     .reference_file = {},
                                     .reference_bytes = {}},
                                    nullptr);
}
std::string why(const ScorerSpec& spec) {
    const auto scored = score(spec);
    EXPECT_FALSE(scored);
    return scored ? "" : scored.error().message;
}

TEST(CommandScorer, gives_the_number_that_the_program_prints) {
    EXPECT_EQ(score(shell("echo '{\"score\": -2.5}'")).value(), -2.5);
    EXPECT_EQ(score(shell("echo noise >&2; printf '\\n {\"score\": 3, \"more\": [1]}\\n'")).value(),
              3);
}

TEST(CommandScorer, tells_the_program_prompt_and_files_on_standard_input) {
    const auto asked = run_program({.command = std::vector<std::string>{"cat"}, .input = "text"});
    EXPECT_EQ(asked.value(), "text");
    // The question itself comes back as the error of an answer without a score.
    EXPECT_THAT(why(program({"cat"})), HasSubstr("\"prompt\":\"a \\\"lighthouse\\\"\""));
    EXPECT_EQ(score(shell("grep -q '\"reference\":null' && echo '{\"score\":1}'")).value(), 1);
}

TEST(CommandScorer, runs_without_a_shell) {
    EXPECT_THAT(why(program({"echo", "$HOME; true"})), HasSubstr("$HOME; true"));
}

TEST(CommandScorer, names_what_went_wrong) {
    EXPECT_THAT(why(shell("echo starting; echo no weights >&2; exit 3")),
                "it ended with 3: no weights");
    EXPECT_THAT(why(shell("kill -SEGV $$")), HasSubstr("signal 11"));
    EXPECT_THAT(why(program({"/nowhere/scorer"})), HasSubstr("no program '/nowhere/scorer'"));
    EXPECT_THAT(why(shell("echo '{\"score\": NaN}'")), HasSubstr("NaN"));
    EXPECT_THAT(why(shell("echo '{\"score\": Infinity}'")), HasSubstr("no JSON"));
    EXPECT_FALSE(score(shell("echo '{\"score\": 1e999}'")));
    EXPECT_THAT(why(shell("echo '{\"score\": \"7\"}'")), HasSubstr("no number 'score'"));
    EXPECT_THAT(why(shell("true")), HasSubstr("nothing"));
    EXPECT_THAT(why(shell("echo '{\"error\": \"out of memory\"}'")), "out of memory");
    EXPECT_THAT(why(shell("head -c 100000 /dev/zero; sleep 60")), HasSubstr("more than 65536"));
    EXPECT_THAT(why(shell("printf 'a\\033[31mb'")), testing::Not(HasSubstr("\033")));
}

TEST(CommandScorer, is_killed_at_the_deadline_with_all_that_it_started) {
    std::string name = testing::TempDir() + "plimsoll_scorer_XXXXXX";
    const int file = ::mkstemp(name.data());
    ASSERT_GE(file, 0);
    ::close(file);
    const auto before = std::chrono::steady_clock::now();
    EXPECT_THAT(why(shell("sleep 600 & echo $! > " + name + "; wait", 300)),
                HasSubstr("no answer within 0.3 s"));
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(20));
    pid_t child = 0;
    std::ifstream(name) >> child;
    ASSERT_GT(child, 0);
    // Killed, though not yet reaped perhaps: then it is a zombie of init.
    std::string state = "R";
    for (int i = 0; i < 2000 && ::kill(child, 0) == 0 && state != "Z"; ++i) {
        std::string word;
        std::ifstream status(fmt::format("/proc/{}/stat", child));
        status >> word >> word >> state;
        std::this_thread::yield();
    }
    EXPECT_TRUE(::kill(child, 0) != 0 || state == "Z") << state;
    ::unlink(name.c_str());
}

TEST(CommandScorer, is_not_waited_for_once_it_has_ended_whatever_it_left_behind) {
    EXPECT_EQ(score(shell("sleep 600 & echo '{\"score\": 4}'")).value(), 4);
}

TEST(CommandScorer, ends_at_once_when_the_daemon_stops) {
    const std::atomic<bool> left = true;
    const auto stopped = run_program(
        {.command = std::vector<std::string>{"sleep", "600"}, .input = "", .left = &left});
    EXPECT_EQ(stopped.error().message, "stopped");
}

TEST(CommandScorer, does_not_see_the_daemons_secret) {
    ::setenv("PLIMSOLL_TOKEN", "secret", 1);
    EXPECT_EQ(score(shell("echo \"{\\\"score\\\": 0${PLIMSOLL_TOKEN}}\"")).value(), 0);
    ::unsetenv("PLIMSOLL_TOKEN");
}

TEST(HttpScorer, posts_the_picture_and_takes_the_number) {
    std::string answer = R"({"score": 21.5})";
    int status = 200;
    bool hang = false;
    net::ScriptedServer server([&](const net::ScriptedServer::Request&) {
        net::ScriptedServer::Reply reply;
        reply.status = status;
        reply.body = answer;
        reply.hang = hang;
        return reply;
    });
    ScorerSpec spec;
    spec.rules.name = "pick";
    spec.url = fmt::format("http://127.0.0.1:{}/score?v=1", server.port());
    EXPECT_EQ(score(spec).value(), 21.5);
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 1U);
    EXPECT_EQ(requests[0].method + " " + requests[0].target, "POST /score?v=1");
    const auto asked = parse_json(requests[0].body).value();
    EXPECT_EQ(find_string(asked, "prompt"), "a \"lighthouse\"");
    EXPECT_EQ(find_string(*find(asked, "picture"), "contentType"), "image/png");
    EXPECT_EQ(find_string(*find(asked, "picture"), "base64"), encode_base64("\x89PNG!"));
    EXPECT_TRUE(find(asked, "reference")->is_null());
    status = 500;
    answer = "no weights";
    EXPECT_THAT(why(spec), HasSubstr("answered 500: no weights"));
    status = 200;
    EXPECT_THAT(why(spec), HasSubstr("no JSON"));
    answer = "{\"score\": NaN}";
    EXPECT_THAT(why(spec), HasSubstr("NaN"));
    answer = std::string(100'000, ' ');
    EXPECT_EQ(score(spec).error().code, Errc::LimitExceeded);
    hang = true;
    spec.deadline = milliseconds(200);
    EXPECT_EQ(score(spec).error().code, Errc::Unavailable);
    // A daemon that stops does not wait for it.
    spec.deadline = std::chrono::seconds(600);
    const std::atomic<bool> left = true;
    EXPECT_EQ(make_scorer(spec)->score({}, &left).error().message, "stopped");
    spec.url = "http://127.0.0.1:1/score";
    EXPECT_EQ(score(spec).error().code, Errc::Unavailable);
}

TEST(Scorers, are_parsed_from_the_command_line) {
    const ScorerSpec http = parse_scorer("pick,margin:0.2=http://127.0.0.1:9000/score").value();
    EXPECT_EQ(http.rules, (quality::ScorerRules{.name = "pick", .margin = 0.2}));
    EXPECT_EQ(http.url, "http://127.0.0.1:9000/score");
    const ScorerSpec spec =
        parse_scorer("l-1,lower,deadline:1.5=python3 'my scorer.py' --x=\"\"").value();
    EXPECT_FALSE(spec.rules.higher_is_better);
    EXPECT_FALSE(spec.rules.margin);
    EXPECT_EQ(spec.deadline, milliseconds(1500));
    EXPECT_EQ(spec.command, (std::vector<std::string>{"python3", "my scorer.py", "--x="}));
    for (const char* const wrong : {"pick", "=x", "a b=x", "p=", "p,margin:0=x", "p,margin:nan=x",
                                    "p,deadline:601=x", "p,upper=x", "p=https://x", "p=http://"})
        EXPECT_EQ(parse_scorer(wrong).error().code, Errc::InvalidInput) << wrong;
}

TEST(Scorers, of_the_command_line_replace_those_of_the_file) {
    const std::vector<ScorerSpec> file{program({"a"})};
    ScorerSpec other = program({"b"});
    const auto joined = join_scorers(file, std::vector{other}).value();
    ASSERT_EQ(joined.size(), 1U);
    EXPECT_EQ(joined[0].command.front(), "b");
    std::vector<ScorerSpec> many;
    for (int i = 0; i < 9; ++i) {
        many.push_back(program({"x"}));
        many.back().rules.name = fmt::format("s{}", i);
    }
    EXPECT_EQ(join_scorers({}, many).error().code, Errc::LimitExceeded);
}

class ScorersOfFile : public testing::Test {
  protected:
    Result<std::vector<ScorerSpec>> read(const std::string& text) {
        std::string name = testing::TempDir() + "plimsoll_scorers_XXXXXX";
        const int file = ::mkstemp(name.data());
        EXPECT_GE(file, 0);
        ::close(file);
        std::ofstream(name) << text;
        Config config;
        config.file = name;
        auto scorers = read_scorers(config);
        ::unlink(name.c_str());
        return scorers;
    }
};

TEST_F(ScorersOfFile, are_read_with_their_ranges) {
    const auto scorers = read(R"(
[[scorer]]
name = "pick"
url = "http://127.0.0.1:9000/score"
margin = 0.2
[[scorer]]
name = "lpips"
command = ["python3", "lpips.py"]
higher_is_better = false
deadline_s = 2
)")
                             .value();
    ASSERT_EQ(scorers.size(), 2U);
    EXPECT_EQ(scorers[0].rules.margin, 0.2);
    EXPECT_EQ(scorers[1].command.size(), 2U);
    EXPECT_FALSE(scorers[1].rules.higher_is_better);
    EXPECT_EQ(scorers[1].deadline, milliseconds(2000));
    for (const char* const wrong :
         {"scorer = 3", "[[scorer]]\nname = \"a\"",
          "[[scorer]]\nname = \"a/b\"\nurl = \"http://x\"",
          "[[scorer]]\nname = \"a\"\nurl = \"http://x\"\ncommand = [\"y\"]",
          "[[scorer]]\nname = \"a\"\ncommand = []",
          "[[scorer]]\nname = \"a\"\ncommand = [\"y\"]\nmargin = 0",
          "[[scorer]]\nname = \"a\"\ncommand = [\"y\"]\ndeadline_s = 0",
          "[[scorer]]\nname = \"a\"\ncommand = [\"y\"]\n[[scorer]]\nname = \"a\"\ncommand = "
          "[\"y\"]"})
        EXPECT_EQ(read(wrong).error().code, Errc::InvalidInput) << wrong;
}

}  // namespace
}  // namespace plimsoll::service
