// SPDX-License-Identifier: Apache-2.0
//
// Goal: arguments reach the right command, exit codes mean what they say, errors come where they
// belong. Method: a world of doubles; tests/functional drives the real program.
#include "cli/command_line.h"

#include "base/json.h"
#include "cli/session.h"
#include "service/comfyui/scripted_upstream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <map>

namespace plimsoll::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// What a FILE writes into memory.
class Written {
  public:
    Written() : file(::open_memstream(&bytes_, &size_)) {}
    ~Written() {
        std::fclose(file);
        std::free(bytes_);  // NOLINT(cppcoreguidelines-no-malloc): open_memstream's
    }
    Written(const Written&) = delete;
    Written& operator=(const Written&) = delete;
    [[nodiscard]] std::string text() const {
        std::fflush(file);
        return {bytes_, size_};
    }
    std::FILE* file;

  private:
    char* bytes_ = nullptr;
    std::size_t size_ = 0;
};

// Hands calls on: the session owns what it is given, the test looks at the other one afterwards.
class SharedUpstream final : public service::Upstream {
  public:
    explicit SharedUpstream(service::Upstream& to) : to_(to) {}
    [[nodiscard]] std::string address() const override { return to_.address(); }
    [[nodiscard]] Result<service::ServerStats> read_stats() override { return to_.read_stats(); }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view folder) override {
        return to_.list_models(folder);
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view class_type,
                                                                std::string_view input) override {
        return to_.list_choices(class_type, input);
    }
    [[nodiscard]] Result<std::string> read_object_info() override { return to_.read_object_info(); }
    [[nodiscard]] Result<void> submit(std::string_view workflow, const std::string& prompt_id,
                                      const std::string& client_id) override {
        return to_.submit(workflow, prompt_id, client_id);
    }
    [[nodiscard]] Result<std::unique_ptr<service::EventStream>> open_events(
        const std::string& client_id, const std::string& prompt_id) override {
        return to_.open_events(client_id, prompt_id);
    }
    [[nodiscard]] Result<service::JobRecord> read_job(const std::string& prompt_id) override {
        return to_.read_job(prompt_id);
    }
    [[nodiscard]] Result<void> cancel(const std::string& prompt_id) override {
        return to_.cancel(prompt_id);
    }
    [[nodiscard]] Result<void> free_models() override { return to_.free_models(); }
    [[nodiscard]] Result<void> unload_models() override { return to_.unload_models(); }
    [[nodiscard]] Result<service::PromptReply> post_prompt(std::string_view body) override {
        return to_.post_prompt(body);
    }
    [[nodiscard]] Result<std::string> download(const service::ImageRef& image) override {
        return to_.download(image);
    }

  private:
    service::Upstream& to_;
};

class CommandLineTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_cli_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        environment_["PLIMSOLL_HOME"] = folder_.string();
        comfyui_.stats = []() -> Result<service::ServerStats> {
            return fail(Errc::Unavailable, "connection refused");
        };
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    int run(const std::vector<std::string>& arguments,
            const std::function<void(Commands&)>& more = {}) {
        const World world{
            .in = stdin,
            .out = out_.file,
            .err = err_.file,
            .environment = [this](const std::string& name) -> std::optional<std::string> {
                const auto found = environment_.find(name);
                if (found == environment_.end()) return std::nullopt;
                return found->second;
            },
            .working_dir = folder_,
            .reach_comfyui =
                [this](const service::Config&) -> Result<std::unique_ptr<service::Upstream>> {
                return std::make_unique<SharedUpstream>(comfyui_);
            },
            .open_history = [this](const std::filesystem::path&,
                                   World::Access) -> Result<std::unique_ptr<history::Store>> {
                if (no_history_) return fail(Errc::Unavailable, "history.db cannot be opened");
                return std::make_unique<history::MemoryStore>();
            },
            .simulate = {},
            .clock = clock_,
            .random = random_,
            .watch_interrupts = [this]() -> const std::atomic<bool>& { return interrupted_; }};
        return run_command_line(arguments, world, more);
    }

    std::filesystem::path folder_;
    std::map<std::string, std::string> environment_;
    ManualClock clock_;
    service::ScriptedUpstream comfyui_{clock_};
    Random random_{1};
    std::atomic<bool> interrupted_ = false;
    bool no_history_ = false;
    Written out_;
    Written err_;
};

TEST_F(CommandLineTest, errors_go_to_standard_error_for_people_and_to_standard_output_as_json) {
    EXPECT_EQ(run({"forecast", "--family", "sdxxl", "--card", "rtx3050-6gb"}), 1);
    EXPECT_THAT(out_.text(), IsEmpty());
    EXPECT_THAT(err_.text(), HasSubstr("plimsoll: "));
    EXPECT_EQ(run({"forecast", "--width", "7", "--json"}), 2);
    const json::value answer = parse_json(out_.text()).value();
    EXPECT_EQ(answer.at("error").at("code").as_string(), "invalid_input");
    EXPECT_THAT(std::string(answer.at("error").at("message").as_string()),
                HasSubstr("512 to 1536"));
}

TEST_F(CommandLineTest, comfyui_that_does_not_answer_is_4_and_a_history_that_does_not_open_is_1) {
    EXPECT_EQ(run({"generate", "a dragon", "--model", "sdxl-base"}), 4);
    EXPECT_THAT(err_.text(), HasSubstr("connection refused"));
    EXPECT_EQ(run({"doctor"}), 4);
    no_history_ = true;
    EXPECT_EQ(run({"history"}), 1);
    EXPECT_THAT(err_.text(), HasSubstr("history.db cannot be opened"));
}

TEST_F(CommandLineTest, generate_asks_for_what_it_needs) {
    EXPECT_EQ(run({"generate", "--model", "sdxl-base"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("what shall be drawn?"));
    EXPECT_EQ(run({"generate", "a dragon", "--model", "sdxl-base", "--speed", "2"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("--speed goes with --simulate"));
    EXPECT_EQ(run({"generate", "a dragon", "--model", "sdxl-base", "--card", "rtx4090"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("--card goes with --simulate"));
    EXPECT_EQ(run({"generate", "a dragon", "--family", "sdxl"}), 2);
}

TEST_F(CommandLineTest, commands_that_live_elsewhere_are_run_like_the_others) {
    bool ran = false;
    const auto more = [&](Commands& commands) {
        commands.add("elsewhere", "a command of the daemon's", "plimsoll elsewhere",
                     [&](Session& session) -> Result<Exit> {
                         ran = true;
                         EXPECT_TRUE(session.json);
                         return Exit::DoesNotFit;
                     });
    };
    EXPECT_EQ(run({"elsewhere", "--json"}, more), 3);
    EXPECT_TRUE(ran);
    EXPECT_EQ(run({"elsewhere", "--help"}, more), 0);
    EXPECT_THAT(out_.text(), HasSubstr("Example:\n  plimsoll elsewhere"));
}

TEST_F(CommandLineTest, a_forecast_answers_in_json_with_the_names_of_the_manual) {
    EXPECT_EQ(run({"forecast", "--family", "sd15", "--card", "rtx3050-6gb", "--json"}), 0);
    const json::value answer = parse_json(out_.text()).value();
    for (const char* const name : {"verdict", "loadLineBytes", "peakBytes", "floorBytes",
                                   "comfortBytes", "seconds", "phases", "warnings"})
        EXPECT_NE(find(answer, name), nullptr) << name;
    EXPECT_THAT(err_.text(), IsEmpty());
}

TEST_F(CommandLineTest, words_that_nobody_knows_get_the_nearest) {
    EXPECT_EQ(run({"forcast"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("forcast is not known, did you mean forecast?"));
    EXPECT_EQ(run({"history", "--limt", "3"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("did you mean --limit?"));
    EXPECT_EQ(run({"presets", "sav"}), 2);
    EXPECT_THAT(err_.text(), HasSubstr("did you mean save?"));
}

}  // namespace
}  // namespace plimsoll::cli
