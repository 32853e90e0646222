// SPDX-License-Identifier: Apache-2.0
//
// Goal: the door does what it promises: a card whose memory moves as the recorded one does, runs
// out as a real one does, and a server that breaks on demand. Method: real requests against
// instances at full speed.
#include "simulator/simulated_comfyui.h"

#include "simulator/picture/pixels.h"
#include "simulator/python_value.h"
#include "simulator/replay/wire_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

namespace plimsoll::simulator {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

struct Job {
    std::string checkpoint = "sd_xl_base_1.0.safetensors";
    int width = 1024;
    int height = 1024;
    int batch = 1;
    int steps = 4;
    double cfg = 7;
    std::uint64_t seed = 7;
    std::string decoder = R"("class_type":"VAEDecode","inputs":{"samples":["3",0],"vae":["4",2]})";

    [[nodiscard]] std::string body() const {
        return fmt::format(
            R"({{"client_id":"test","prompt":{{"3":{{"class_type":"KSampler","inputs":{{"seed":{},"steps":{},"cfg":{},"sampler_name":"euler","scheduler":"normal","denoise":1,"model":["4",0],"positive":["6",0],"negative":["7",0],"latent_image":["5",0]}}}},"4":{{"class_type":"CheckpointLoaderSimple","inputs":{{"ckpt_name":"{}"}}}},"5":{{"class_type":"EmptyLatentImage","inputs":{{"width":{},"height":{},"batch_size":{}}}}},"6":{{"class_type":"CLIPTextEncode","inputs":{{"text":"cute dragon","clip":["4",1]}}}},"7":{{"class_type":"CLIPTextEncode","inputs":{{"text":"bad","clip":["4",1]}}}},"8":{{{}}},"9":{{"class_type":"SaveImage","inputs":{{"filename_prefix":"t","images":["8",0]}}}}}}}})",
            seed, steps, cfg, checkpoint, width, height, batch, decoder);
    }
};

class Server {
  public:
    explicit Server(SimulatorOptions options = {}) {
        auto started = SimulatedComfyUi::start(std::move(options));
        if (!started) throw std::runtime_error(started.error().message);
        simulator = std::move(*started);
    }
    std::unique_ptr<SimulatedComfyUi> simulator;

    [[nodiscard]] WireAnswer call(const std::string& method, const std::string& target,
                                  const std::string& body = "") const {
        WireConnection connection(simulator->port());
        connection.send(fmt::format("{} {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
                                    method, target, body.size(), body));
        return connection.read_answer(false).value_or(WireAnswer{});
    }
    // Runs a job to its end and gives what its socket heard.
    [[nodiscard]] std::vector<std::string> run(const Job& job) const {
        WireSocket socket(simulator->port(), "/ws?clientId=test", {});
        const WireAnswer answer = call("POST", "/prompt", job.body());
        EXPECT_EQ(answer.status, 200) << answer.body;
        return hear(socket);
    }
    static std::vector<std::string> hear(WireSocket& socket) {
        std::vector<std::string> heard;
        for (;;) {
            const auto frame = socket.read(milliseconds(15000));
            if (!frame) return heard;
            heard.push_back(frame->bytes);
            if (frame->bytes.contains("\"node\": null")) return heard;
        }
    }
    [[nodiscard]] std::int64_t device(const char* field) const {
        const auto stats = parse_python_json(call("GET", "/system_stats").body).value();
        return static_cast<std::int64_t>(
            *(*stats.get("devices")->as_list())[0].get(field)->as_int());
    }
};

SimulatorOptions fast() {
    SimulatorOptions options;
    options.speed = 0;
    return options;
}

bool heard(const std::vector<std::string>& messages, std::string_view part) {
    return std::ranges::any_of(messages, [&](const auto& one) { return one.contains(part); });
}

TEST(SimulatedComfyUi, an_unknown_card_or_flag_is_an_error_that_names_the_way_out) {
    SimulatorOptions options;
    options.card = "rtx3050-6bg";
    EXPECT_THAT(SimulatedComfyUi::start(options).error().message, HasSubstr("rtx3050-6gb"));
    options = {};
    options.flags = "--lowvrram";
    EXPECT_EQ(SimulatedComfyUi::start(options).error().code, Errc::InvalidInput);
    options.flags = "--reserve-vram lots";
    EXPECT_THAT(SimulatedComfyUi::start(options).error().message, HasSubstr("--reserve-vram"));
}

TEST(SimulatedComfyUi, a_port_that_is_taken_is_unavailable) {
    const Server first(fast());
    SimulatorOptions options = fast();
    options.port = first.simulator->port();
    EXPECT_EQ(SimulatedComfyUi::start(options).error().code, Errc::Unavailable);
}

TEST(SimulatedComfyUi, several_instances_share_nothing) {
    SimulatorOptions options = fast();
    const Server small(options);
    options.card = "rtx4090";
    const Server large(options);
    EXPECT_TRUE(heard(small.run({}), "execution_success"));
    EXPECT_GT(small.simulator->card().active_bytes, 0);
    EXPECT_EQ(large.simulator->card().active_bytes, 0);
    EXPECT_THAT(large.call("GET", "/system_stats").body, HasSubstr("RTX 4090 : cudaMallocAsync"));
}

TEST(SimulatedComfyUi, keeps_of_sdxl_what_the_real_loader_kept_on_6_gb) {
    const Server server(fast());
    EXPECT_TRUE(heard(server.run({}), "execution_success"));
    // After the decode: 664.3 MiB of the UNet and the whole VAE (data of the recorded loader).
    EXPECT_NEAR(static_cast<double>(server.simulator->card().active_bytes) / 1048576, 664.3 + 159.6,
                0.2);
    const CardReading card = server.simulator->card();
    EXPECT_EQ(server.device("vram_total"), card.total_bytes);
    EXPECT_EQ(server.device("torch_vram_total"), card.reserved_bytes);
    EXPECT_EQ(server.device("torch_vram_free"), card.reserved_bytes - card.active_bytes);
    // The driver's free memory and what torch has cached.
    EXPECT_EQ(server.device("vram_free"),
              card.total_bytes - card.outside_bytes - card.active_bytes);
}

struct Most {
    std::int64_t active = 0;
    std::int64_t reserved = 0;
};
// What is seen of the card while a job runs to its end.
Most watch(const Server& server, const Job& job) {
    WireSocket socket(server.simulator->port(), "/ws?clientId=test", {});
    EXPECT_EQ(server.call("POST", "/prompt", job.body()).status, 200);
    Most most;
    bool done = false;
    while (!done) {
        const CardReading card = server.simulator->card();
        most.active = std::max(most.active, card.active_bytes);
        most.reserved = std::max(most.reserved, card.reserved_bytes);
        const auto frame = socket.read(milliseconds(1));
        done = frame && frame->bytes.contains("\"node\": null");
    }
    return most;
}

TEST(SimulatedComfyUi, memory_can_be_watched_while_a_job_runs) {
    SimulatorOptions options;
    options.speed = 60;
    const Most most = watch(Server(options), {});
    // 4378.8 MiB of weights, one joint forward of 319 MiB, the largest streamed module.
    EXPECT_NEAR(static_cast<double>(most.active) / 1048576, 4378.8 + 319 + 3 + 8, 25);
    EXPECT_GE(most.reserved, most.active);
}

TEST(SimulatedComfyUi, a_batch_that_cannot_fit_ends_with_comfyuis_own_error_and_the_next_job_runs) {
    const Server server(fast());
    const auto messages = server.run({.width = 1536, .height = 1536, .batch = 16});
    const auto error = std::ranges::find_if(
        messages, [](const auto& one) { return one.contains("execution_error"); });
    ASSERT_NE(error, messages.end());
    EXPECT_THAT(*error, HasSubstr("\"exception_type\": \"torch.OutOfMemoryError\""));
    EXPECT_THAT(*error, HasSubstr("Allocation on device 0 would exceed allowed memory. (out of "
                                  "memory)\\nCurrently allocated     : "));
    EXPECT_THAT(*error,
                HasSubstr("\\nThis error means you ran out of memory on your GPU.\\n\\nTIPS: "));
    EXPECT_EQ(server.simulator->card().active_bytes, 0) << "all models are unloaded";
    EXPECT_TRUE(heard(server.run({}), "execution_success"));
}

TEST(SimulatedComfyUi, a_decode_that_does_not_fit_goes_on_in_tiles) {
    SimulatorOptions options = fast();
    options.flags = "--fp32-vae";
    const Server server(options);
    const auto messages = server.run({.width = 2048, .height = 2048, .steps = 1});
    EXPECT_TRUE(heard(messages, "execution_success"));
    EXPECT_TRUE(heard(messages, "\"type\": \"progress\", \"data\": {\"value\": 1, \"max\": 115"))
        << "256 cells in tiles of 32 x 128, 128 x 32 and 64 x 64";
}

TEST(SimulatedComfyUi, flags_about_memory_act) {
    const auto resident = [](const std::string& flags) {
        SimulatorOptions options = fast();
        options.flags = flags;
        const Server server(options);
        EXPECT_TRUE(heard(server.run({.width = 512, .height = 512}), "execution_success")) << flags;
        return server.simulator->card().active_bytes;
    };
    const std::int64_t normal = resident("");
    EXPECT_LT(resident("--reserve-vram 2"), normal);
    EXPECT_LT(resident("--novram"), normal / 4);
    EXPECT_EQ(resident("--disable-smart-memory"), 0);
}

TEST(SimulatedComfyUi, the_same_seed_gives_the_same_bytes_and_another_one_does_not) {
    const Server server(fast());
    const Job small{.width = 256, .height = 256, .steps = 8};
    Job other = small;
    other.seed = 8;
    ASSERT_TRUE(heard(server.run(small), "t_00001_.png"));
    ASSERT_TRUE(heard(server.run(other), "t_00002_.png"));
    ASSERT_TRUE(heard(server.run(small), "t_00003_.png"));
    const std::string first = server.call("GET", "/view?filename=t_00001_.png").body;
    EXPECT_EQ(first, server.call("GET", "/view?filename=t_00003_.png").body);
    EXPECT_NE(first, server.call("GET", "/view?filename=t_00002_.png").body);
    EXPECT_THAT(first, HasSubstr("tEXtprompt"));
    EXPECT_EQ(decode_picture(first)->width, 256);
}

TEST(SimulatedComfyUi, a_hot_card_lowers_its_clock_and_takes_longer) {
    SimulatorOptions options = fast();
    const Server cool(options);
    options.ambient_c = 60;
    const Server hot(options);
    const Job long_job{.steps = 120};
    EXPECT_TRUE(heard(cool.run(long_job), "execution_success"));
    EXPECT_TRUE(heard(hot.run(long_job), "execution_success"));
    EXPECT_GT(hot.simulator->card().simulated_seconds,
              cool.simulator->card().simulated_seconds * 1.05);
    EXPECT_LT(hot.simulator->card().clock_share, 1);
    EXPECT_EQ(cool.simulator->card().clock_share, 1);
}

TEST(SimulatedComfyUi, requests_can_be_answered_with_html_cut_and_slowed_down) {
    SimulatorOptions options = fast();
    options.faults.requests = {
        {.path_prefix = "/queue", .kind = RequestFault::Kind::Html},
        {.path_prefix = "/features", .kind = RequestFault::Kind::Cut},
        {.path_prefix = "/history", .kind = RequestFault::Kind::Slow, .delay = milliseconds(30)}};
    const Server server(options);
    EXPECT_THAT(server.call("GET", "/queue").body, HasSubstr("<html>"));
    EXPECT_THAT(server.call("GET", "/queue").body, HasSubstr("queue_running"));
    EXPECT_EQ(server.call("GET", "/features").status, 0);
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(server.call("GET", "/history").body, "{}");
    EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(30));
}

TEST(SimulatedComfyUi, a_socket_is_cut_at_the_message_that_was_named) {
    SimulatorOptions options = fast();
    options.faults.drop_socket_at_message = 6;
    const Server server(options);
    EXPECT_EQ(server.run({}).size(), 5U);
    // The job went on without its owner.
    for (int i = 0; i < 400; ++i) {
        if (server.call("GET", "/history").body.contains("success")) return;
        std::this_thread::sleep_for(milliseconds(5));
    }
    FAIL() << "the job never ended";
}

TEST(SimulatedComfyUi, a_restart_in_the_midst_of_a_job_loses_queue_and_history) {
    SimulatorOptions options = fast();
    const Server server(options);
    ASSERT_TRUE(heard(server.run({.steps = 2}), "execution_success"));
    Faults faults;
    faults.restart_at_progress = 3;
    server.simulator->set_faults(faults);
    EXPECT_FALSE(heard(server.run({.seed = 9}), "execution_success"));
    std::string history;
    for (int i = 0; i < 400 && history.empty(); ++i) {
        history = server.call("GET", "/history").body;
        std::this_thread::sleep_for(milliseconds(5));
    }
    EXPECT_EQ(history, "{}");
    EXPECT_TRUE(heard(server.run({.seed = 10}), "execution_success"));
}

TEST(SimulatedComfyUi, it_can_die_between_a_picture_and_the_news_of_it) {
    const std::filesystem::path pictures =
        std::filesystem::path(testing::TempDir()) / fmt::format("plimsoll-unheard-{}", getpid());
    std::filesystem::create_directories(pictures);
    SimulatorOptions options = fast();
    options.output_directory = pictures;
    options.faults.restart_after_node = "9";
    const Server server(options);
    const auto messages = server.run({});
    EXPECT_FALSE(heard(messages, "executed"));
    EXPECT_FALSE(heard(messages, "execution_success"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(pictures), {}), 1);
    std::string history;
    for (int i = 0; i < 400 && history.empty(); ++i) {
        history = server.call("GET", "/history").body;
        std::this_thread::sleep_for(milliseconds(5));
    }
    EXPECT_EQ(history, "{}");
    EXPECT_TRUE(server.call("GET", "/system_stats").body.contains(pictures.string()));
    // Once: the next job ends as always.
    EXPECT_TRUE(heard(server.run({.seed = 10}), "execution_success"));
    std::filesystem::remove_all(pictures);
}

TEST(SimulatedComfyUi, a_named_node_can_be_made_to_run_out_of_memory_once) {
    SimulatorOptions options = fast();
    options.faults.oom_at_node = "8";
    const Server server(options);
    EXPECT_TRUE(heard(server.run({}), "torch.OutOfMemoryError"));
    EXPECT_TRUE(heard(server.run({}), "execution_success"));
}

TEST(SimulatedComfyUi, another_program_can_leave_too_little_for_a_job) {
    SimulatorOptions options = fast();
    // Before torch holds anything: what its pool has, another program does not get.
    options.faults.memory = {{.at_seconds = 0, .bytes = 5300LL << 20U}};
    const Server server(options);
    EXPECT_TRUE(heard(server.run({.batch = 16, .seed = 77}), "torch.OutOfMemoryError"));
    EXPECT_GT(server.simulator->card().outside_bytes, 4000LL << 20U);
}

TEST(SimulatedComfyUi, a_node_that_is_not_simulated_says_so_when_it_runs) {
    const Server server(fast());
    Job job;
    job.decoder =
        R"("class_type":"ImageBlur","inputs":{"image":["20",0],"blur_radius":1,"sigma":1.0}},"20":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":0})";
    EXPECT_TRUE(
        heard(server.run(job), "the simulated ComfyUI knows the node ImageBlur but cannot run it"));
}

TEST(SimulatedComfyUi, faults_can_be_set_over_http) {
    const Server server(fast());
    EXPECT_EQ(
        server.call("POST", "/plimsoll/faults", R"({"oom_at_node": "8", "oom_times": 2})").status,
        200);
    EXPECT_TRUE(heard(server.run({}), "torch.OutOfMemoryError"));
    EXPECT_TRUE(heard(server.run({}), "torch.OutOfMemoryError"));
    EXPECT_TRUE(heard(server.run({}), "execution_success"));
    const std::int64_t before = server.simulator->card().outside_bytes;
    EXPECT_EQ(server.call("POST", "/plimsoll/faults", R"({"outside_bytes": 1048576})").status, 200);
    EXPECT_EQ(server.simulator->card().outside_bytes - before, 1 << 20U);
    EXPECT_EQ(server.call("POST", "/plimsoll/faults", "no json").status, 400);
}

TEST(SimulatedComfyUi, a_job_can_be_made_to_drag) {
    const Server server(fast());
    const double before = server.simulator->card().simulated_seconds;
    ASSERT_TRUE(heard(server.run({.seed = 21}), "execution_success"));
    const double usual = server.simulator->card().simulated_seconds - before;
    (void)server.call("POST", "/plimsoll/faults", R"({"drag_at_progress": 1, "drag": 10})");
    ASSERT_TRUE(heard(server.run({.seed = 22}), "execution_success"));
    const double dragged = server.simulator->card().simulated_seconds - before - usual;
    EXPECT_GT(dragged, 3 * usual);
}

TEST(SimulatedComfyUi, a_spill_makes_a_job_crawl_and_fails_nothing) {
    const Server server(fast());
    const double before = server.simulator->card().simulated_seconds;
    ASSERT_TRUE(heard(server.run({.seed = 31}), "execution_success"));
    const double usual = server.simulator->card().simulated_seconds - before;
    (void)server.call("POST", "/plimsoll/faults",
                      R"({"spill_at_progress": 1, "spill_bytes": 5368709120, "drag": 10})");
    ASSERT_TRUE(heard(server.run({.seed = 32}), "execution_success"));
    EXPECT_GT(server.simulator->card().simulated_seconds - before - usual, 3 * usual);
}

TEST(SimulatedComfyUi, a_job_can_be_made_to_take_more_than_it_should) {
    SimulatorOptions options;
    options.speed = 60;
    const Server server(options);
    (void)server.call("POST", "/plimsoll/faults", R"({"drift": 2, "drift_at_node": "3"})");
    // As above, with the activations of the forward twice.
    EXPECT_NEAR(static_cast<double>(watch(server, {}).active) / 1048576, 4378.8 + 2 * 319 + 3 + 8,
                25);
    (void)server.call("POST", "/plimsoll/faults", R"({"drift": 20})");
    EXPECT_TRUE(heard(server.run({.seed = 41}), "torch.OutOfMemoryError"));
    (void)server.call("POST", "/plimsoll/faults", R"({"drift": 20, "drift_at_node": "99"})");
    EXPECT_TRUE(heard(server.run({.seed = 42}), "execution_success"));
}

TEST(SimulatedComfyUi, steps_that_leave_something_behind_do_so_until_it_is_freed) {
    const Server server(fast());
    const auto left_behind = [&] {
        const auto card = parse_python_json(server.call("GET", "/plimsoll/card").body).value();
        return *card.get("left_behind_bytes");
    };
    (void)server.call("POST", "/plimsoll/faults",
                      R"({"creep_at_progress": 3, "creep_bytes": 16777216})");
    ASSERT_TRUE(heard(server.run({.steps = 8, .seed = 51}), "execution_success"));
    constexpr std::int64_t kLeft = 6 * (16LL << 20U);  // by the third step and those after it
    EXPECT_EQ(left_behind(), Value(kLeft));
    // Once: the next job leaves nothing, and does not take away what is there.
    ASSERT_TRUE(heard(server.run({.steps = 8, .seed = 52}), "execution_success"));
    EXPECT_EQ(left_behind(), Value(kLeft));
    EXPECT_GT(server.simulator->card().active_bytes, kLeft);
    ASSERT_EQ(server.call("POST", "/free", R"({"unload_models": true})").status, 200);
    for (int i = 0; i < 400 && server.simulator->card().active_bytes > 0; ++i)
        std::this_thread::sleep_for(milliseconds(5));
    EXPECT_EQ(server.simulator->card().active_bytes, 0);
    // More than there is room for ends as torch ends it.
    (void)server.call("POST", "/plimsoll/faults",
                      R"({"creep_at_progress": 1, "creep_bytes": 1073741824})");
    EXPECT_TRUE(heard(server.run({.steps = 8, .seed = 53}), "torch.OutOfMemoryError"));
}

TEST(SimulatedComfyUi, a_fan_that_stands_still_overheats_the_card_for_one_job) {
    const Server server(fast());
    const Job long_job{.steps = 120, .seed = 61};
    (void)server.call("POST", "/plimsoll/faults", R"({"overheat_at_progress": 20})");
    ASSERT_TRUE(heard(server.run(long_job), "execution_success"));
    const CardReading hot = server.simulator->card();
    EXPECT_GT(hot.temperature_c, hot.slowdown_c);
    EXPECT_LT(hot.temperature_c, hot.shutdown_c);
    ASSERT_TRUE(heard(server.run({.steps = 120, .seed = 62}), "execution_success"));
    EXPECT_LT(server.simulator->card().temperature_c, hot.limit_c);
}

TEST(SimulatedComfyUi, time_can_be_granted_over_http) {
    const Server server(fast());
    ASSERT_EQ(server.call("POST", "/plimsoll/time", R"({"grant_seconds": 0})").status, 200);
    WireSocket socket(server.simulator->port(), "/ws?clientId=test", {});
    ASSERT_EQ(server.call("POST", "/prompt", Job{}.body()).status, 200);
    EXPECT_EQ(server.simulator->card().simulated_seconds, 0);
    ASSERT_EQ(server.call("POST", "/plimsoll/time", R"({"grant_seconds": null})").status, 200);
    EXPECT_TRUE(heard(Server::hear(socket), "execution_success"));
    for (const char* const wrong : {"{}", "no json", R"({"grant_seconds": -1})"})
        EXPECT_EQ(server.call("POST", "/plimsoll/time", wrong).status, 400) << wrong;
}

TEST(SimulatedComfyUi, the_air_can_be_made_hot_and_the_card_tells_its_thresholds) {
    const Server server(fast());
    (void)server.call("POST", "/plimsoll/faults", R"({"ambient_c": 85})");
    ASSERT_TRUE(heard(server.run({.steps = 100}), "execution_success"));
    const CardReading card = server.simulator->card();
    EXPECT_GT(card.temperature_c, card.limit_c);
    EXPECT_LT(card.clock_share, 1);
    EXPECT_LT(card.limit_c, card.slowdown_c);
    EXPECT_LT(card.slowdown_c, card.shutdown_c);
}

TEST(SimulatedComfyUi, a_latent_is_saved_and_read_again_from_the_output_folder) {
    const Server server(fast());
    Job job;
    job.decoder += R"(},"10":{"class_type":"SaveLatent","inputs":{"samples":["3",0],)"
                   R"("filename_prefix":"kept/one"})";
    ASSERT_TRUE(heard(server.run(job), "one_00001_.latent"));
    job.decoder = R"("class_type":"VAEDecode","inputs":{"samples":["10",0],"vae":["4",2]}},)"
                  R"("10":{"class_type":"LoadLatent","inputs":{)"
                  R"("latent":"kept/one_00001_.latent [output]"})";
    job.seed = 99;  // of a sampler that nobody asks any more
    const auto messages = server.run(job);
    EXPECT_TRUE(heard(messages, "execution_success"));
    EXPECT_FALSE(heard(messages, R"("type": "progress", )"));
    job.decoder = R"("class_type":"VAEDecode","inputs":{"samples":["10",0],"vae":["4",2]}},)"
                  R"("10":{"class_type":"LoadLatent","inputs":{"latent":"none.latent"})";
    EXPECT_THAT(server.call("POST", "/prompt", job.body()).body,
                HasSubstr("Invalid latent file: none.latent"));
}

TEST(SimulatedComfyUi, the_card_can_be_asked_over_http) {
    const Server server(fast());
    const auto card = parse_python_json(server.call("GET", "/plimsoll/card").body).value();
    EXPECT_EQ(*card.get("card"), Value("rtx3050-6gb"));
    EXPECT_GT(card.get("temperature_c")->number().value(), 20);
    EXPECT_EQ(server.call("GET", "/api/plimsoll/card").status, 404);
}

}  // namespace
}  // namespace plimsoll::simulator
