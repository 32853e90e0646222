// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever is sent to a route is answered by its contract: one form of error, the status of
// what is wrong, no body above the limit. Method: the whole app behind a server on a free port,
// without a ComfyUI.
#include "api/app.h"

#include "guard/guard.h"
#include "net/blocking_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::api {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class NoComfyUi final : public service::ComfyAtHand {
  public:
    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        return fail(Errc::Unavailable, "connection refused");
    }
    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats& /*device*/,
                                                 telemetry::Attention /*attention*/) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return "http://nowhere:8188"; }
};

service::Config reference_card() {
    service::Config config;
    config.card.value = "rtx3050-6gb";
    return config;
}

class AppTest : public testing::Test {
  protected:
    AppTest()
        : lookout_(
              service::Lookout::create(reference_card(), comfyui_, system_clock(), {}, {}).value()),
          // Never started: what is accepted stays in the queue.
          jobs_({.place = [this] { return lookout_->place(); },
                 .comfyui = comfyui_,
                 .open_store = open_history,
                 .clock = system_clock(),
                 .seed = 1},
                {}),
          // Never started either: nothing is sent.
          guard_({.place = [this] { return lookout_->place(); },
                  .comfyui = comfyui_,
                  .open_store = open_history,
                  .clock = system_clock(),
                  .seed = 2},
                 {}),
          // Nor this: nothing is drawn.
          quality_({.place = [this] { return lookout_->place(); },
                    .comfyui = comfyui_,
                    .open_store = open_history,
                    .clock = system_clock(),
                    .seed = 3}),
          app_({.lookout = *lookout_,
                .jobs = jobs_,
                .gateway = guard_,
                .quality = quality_,
                .comfyui = comfyui_,
                .open_history = open_history,
                .clock = system_clock(),
                .events = events_,
                .metrics = metrics_,
                .guard = {},
                .openapi_json = R"({"openapi":"3.1.0"})",
                .page = {}}) {
        auto options = App::server_options();
        options.address = "127.0.0.1";
        options.port = 0;
        server_ = net::Server::start(std::move(options), app_.handler()).value();
    }
    static Result<std::unique_ptr<history::Store>> open_history() {
        return std::make_unique<history::MemoryStore>();
    }
    net::HttpReply ask(const std::string& method, const std::string& target,
                       const std::string& body = "", const std::string& type = "application/json") {
        return net::call_http(
                   {"127.0.0.1", server_->port()},
                   {.method = method, .target = target, .body = body, .content_type = type})
            .value();
    }
    // Status and code; every error has the one form.
    static std::string error_of(const net::HttpReply& reply) {
        const json::value answer = parse_json(reply.body).value();
        const json::value* const error = find(answer, "error");
        if (error == nullptr || answer.as_object().size() != 1 || error->as_object().size() != 3 ||
            find(*error, "details") == nullptr ||
            find_string(*error, "message").value_or("").empty())
            return "no error of the one form: " + reply.body;
        return fmt::format("{} {}", reply.status, *find_string(*error, "code"));
    }

    NoComfyUi comfyui_;
    EventHub events_{"e"};
    Metrics metrics_;
    std::unique_ptr<service::Lookout> lookout_;
    service::JobQueue jobs_;
    guard::Guard guard_;
    service::QualityLab quality_;
    App app_;
    std::unique_ptr<net::Server> server_;
};

constexpr const char* kGood = R"({"model":"sdxl-base","width":512,"height":512,"steps":10})";

TEST_F(AppTest, a_body_that_is_malformed_is_refused_by_every_route_that_takes_one) {
    const std::string deep(100'000, '[');
    for (const Route& route : routes()) {
        if (!route.takes_body) continue;
        const std::string target =
            route.pattern == "/api/presets/{name}" ? "/api/presets/p" : std::string(route.pattern);
        const std::string method(route.method);
        for (const std::string& body :
             {std::string("{"), std::string("[]"), std::string("null"), std::string("7"),
              std::string("\"x\""), std::string("{\"model\":\"sdxl-base\"} x"), deep,
              std::string("{\"model\":\"\xFF\xFE\"}"), std::string("\0\0\0", 3),
              std::string(R"({"model":"sdxl-base","wdith":512})"),
              std::string(R"({"model":["sdxl-base"]})")})
            EXPECT_EQ(error_of(ask(method, target, body)), "400 invalid_input")
                << method << " " << target << " " << body.substr(0, 60);
        EXPECT_EQ(error_of(ask(method, target, "<a/>", "text/xml")).substr(0, 3), "415") << target;
    }
}

TEST_F(AppTest, a_field_out_of_its_range_is_named) {
    struct Wrong {
        std::string field, value;
    };
    for (const Wrong& wrong : std::vector<Wrong>{{"width", "15"},
                                                 {"width", "1e9"},
                                                 {"width", "512.5"},
                                                 {"height", "\"512\""},
                                                 {"steps", "0"},
                                                 {"steps", "-1"},
                                                 {"batch", "100000"},
                                                 {"cfg", "1e308"},
                                                 {"seed", "-1"},
                                                 {"quality", "\"best\""},
                                                 {"sampler", "7"},
                                                 {"vramMb", "0"},
                                                 {"safetyMargin", "2"},
                                                 {"maxVramMb", "true"}}) {
        const auto reply =
            ask("POST", "/api/forecast",
                fmt::format(R"({{"model":"sdxl-base","{}":{}}})", wrong.field, wrong.value));
        EXPECT_EQ(error_of(reply), "400 invalid_input") << wrong.field << " " << wrong.value;
        const json::value details = parse_json(reply.body)->at("error").at("details");
        EXPECT_EQ(find_string(details, "field"), wrong.field) << wrong.value << reply.body;
    }
}

TEST_F(AppTest, a_body_above_the_limit_is_refused_and_one_below_is_read) {
    // Refused by its announced length: the connection may be gone before all of it was sent.
    const auto large = net::call_http({"127.0.0.1", server_->port()},
                                      {.method = "POST",
                                       .target = "/api/forecast",
                                       .body = std::string(17U << 20U, ' ') + kGood});
    EXPECT_TRUE(large ? large->status == 413 : large.error().code == Errc::Unavailable);
    EXPECT_EQ(ask("POST", "/api/forecast", std::string(15U << 20U, ' ') + kGood).status, 200);
    EXPECT_EQ(ask("POST", "/api/forecast", kGood).status, 200);
}

TEST_F(AppTest, what_does_not_exist_is_not_found_and_another_method_is_said_to_be_one) {
    EXPECT_THAT(error_of(ask("POST", "/api/forecast", R"({"model":"nobody"})")), StartsWith("404"));
    EXPECT_THAT(error_of(ask("POST", "/api/forecast", R"({"model":"sdxl-base","card":"x"})")),
                StartsWith("404"));
    EXPECT_THAT(error_of(ask("GET", "/api/none")), StartsWith("404"));
    EXPECT_THAT(error_of(ask("GET", "/api/forecast")), StartsWith("405"));
    EXPECT_THAT(error_of(ask("PATCH", "/api/jobs")), StartsWith("405"));
    EXPECT_THAT(error_of(ask("GET", "/api/jobs/no-uuid")), StartsWith("400"));
    EXPECT_THAT(error_of(ask("GET", "/api/jobs/5d3f0f52-6a0f-4c7e-9a4e-0c8f4f6f2b11")),
                StartsWith("404"));
    EXPECT_THAT(error_of(ask("GET", "/api/history?limit=0")), StartsWith("400"));
    EXPECT_THAT(error_of(ask("GET", "/api/history?limit=5&limit=6")), StartsWith("400"));
    EXPECT_THAT(error_of(ask("GET", "/api/history?unknown=1")), StartsWith("400"));
    EXPECT_THAT(error_of(ask("GET", "/api/history?text=%FF")), StartsWith("400"));
    EXPECT_THAT(error_of(ask("GET", "/api/history?cursor=99999999999999999999")),
                StartsWith("400"));
}

TEST_F(AppTest, the_queue_says_when_it_is_full_and_forgets_who_is_cancelled) {
    const std::string order = R"({"model":"sdxl-base","width":512,"height":512,"prompt":"x"})";
    std::string id;
    for (std::size_t i = 0; i < service::kJobsWaitingMax; ++i) {
        const auto accepted = ask("POST", "/api/generate", order);
        ASSERT_EQ(accepted.status, 202) << accepted.body;
        id = *find_string(parse_json(accepted.body).value(), "jobId");
    }
    EXPECT_THAT(error_of(ask("POST", "/api/generate", order)), StartsWith("429"));
    EXPECT_EQ(ask("DELETE", "/api/jobs/" + id).status, 200);
    EXPECT_EQ(ask("POST", "/api/generate", order).status, 202);
    EXPECT_THAT(error_of(ask("POST", "/api/generate", kGood)), StartsWith("400"));  // no prompt
}

TEST_F(AppTest, a_question_that_is_asked_again_has_the_same_answer) {
    const auto first = ask("POST", "/api/forecast", kGood);
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(ask("POST", "/api/forecast", kGood).body, first.body);
    // The same with another limit is another question.
    const auto other =
        ask("POST", "/api/forecast",
            R"({"model":"sdxl-base","width":512,"height":512,"steps":10,"maxVramMb":4096})");
    EXPECT_EQ(other.status, 200);
    EXPECT_NE(other.body, first.body);
}

TEST(MatchRoute, decodes_what_stands_for_a_name_and_lists_the_methods_of_a_path) {
    const Match preset = match_route("GET", "/api/presets/at%20dusk%2F1");
    ASSERT_NE(preset.route, nullptr);
    EXPECT_EQ(preset.params, std::vector<std::string>{"at dusk/1"});
    EXPECT_EQ(match_route("HEAD", "/api/jobs").route, match_route("GET", "/api/jobs").route);
    const Match wrong = match_route("POST", "/api/presets/x");
    EXPECT_EQ(wrong.route, nullptr);
    for (const char* const method : {"GET, HEAD", "PUT", "DELETE"})
        EXPECT_THAT(wrong.allow, HasSubstr(method));
    for (const char* const path :
         {"/api/jobs/", "/api/jobs/a/b", "/api", "//api/jobs", "/API/jobs"})
        EXPECT_TRUE(match_route("GET", path).route == nullptr ||
                    std::string_view(path) == "/api/jobs/")
            << path;
}

TEST_F(AppTest, the_gateways_queue_can_be_paused_and_says_what_it_does_not_have) {
    EXPECT_THAT(ask("GET", "/api/gateway").body, HasSubstr(R"("paused":false)"));
    EXPECT_THAT(ask("POST", "/api/gateway/pause").body, HasSubstr(R"("paused":true)"));
    EXPECT_THAT(ask("POST", "/api/gateway/resume").body, HasSubstr(R"("paused":false)"));
    EXPECT_THAT(ask("GET", "/api/jobs").body, HasSubstr(R"("held":[])"));
    for (const char* const method : {"GET", "DELETE"})
        EXPECT_THAT(error_of(ask(method, "/api/gateway/jobs/none")), StartsWith("404"));
    const auto change = [&](const char* body) {
        return error_of(ask("PATCH", "/api/gateway/jobs/none", body));
    };
    EXPECT_THAT(change(R"({"priority": 5})"), StartsWith("404"));
    EXPECT_THAT(change(R"({"before": ""})"), StartsWith("404"));
    for (const char* const body :
         {R"({"priority": 5000})", R"({"priority": "5"})", "{}", "[]", R"({"colour": "red"})"})
        EXPECT_THAT(change(body), StartsWith("400")) << body;
}

}  // namespace
}  // namespace plimsoll::api
