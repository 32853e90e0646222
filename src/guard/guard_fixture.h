// SPDX-License-Identifier: Apache-2.0
//
// For tests of Guard: a ComfyUI that is a list of prompts, the advisor's law instead of the
// forecaster, a store that outlives the guard (as after kill -9), time that the test moves.
#pragma once
#include "advisor/loader_law.h"
#include "advisor/text_to_image.h"
#include "guard/guard.h"
#include "history/sqlite_store.h"
#include "service/comfyui/scripted_upstream.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::guard {

using gateway::ClientRequest;
using gateway::Route;
using service::JobState;
using std::chrono::milliseconds;

// A PNG as ComfyUI writes it, but for its pixels: with the prompt in a text chunk.
inline std::string png_with(std::string_view prompt) {
    const auto big_endian = [](std::uint32_t value) {
        std::string bytes;
        for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes += static_cast<char>(value >> shift);
        return bytes;
    };
    const auto chunk = [&](const std::string& type, const std::string& data) {
        std::uint32_t crc = 0xffffffff;  // PNG specification, annex D
        for (const char c : type + data) {
            crc ^= static_cast<unsigned char>(c);
            for (int bit = 0; bit < 8; ++bit)
                crc = (crc & 1U) != 0 ? 0xedb88320U ^ (crc >> 1U) : crc >> 1U;
        }
        return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + big_endian(~crc);
    };
    return "\x89PNG\r\n\x1a\n" + chunk("IHDR", std::string(13, 'x')) +
           chunk("tEXt", "prompt" + std::string(1, '\0') + std::string(prompt)) +
           chunk("IDAT", std::string(100'000, 'p')) + chunk("IEND", "");
}

// What ComfyUI has in its queue and its history, and has written.
struct FakeComfyUi {
    struct Written {
        service::ImageRef file;
        std::string bytes;
        std::int64_t at_ms = 0;
    };
    std::vector<Written> output;              // oldest first
    std::vector<std::string> output_folders;  // that it may write to
    bool lists_output = true;
    int pieces_until_gone = -1;  // that are read until it goes down; -1: never
    std::function<std::int64_t()> now_ms = [] { return std::int64_t{0}; };

    void write(const std::string& name, std::string_view prompt,
               const std::string& subfolder = "") {
        output.push_back({{.filename = name, .subfolder = subfolder, .type = "output"},
                          png_with(prompt),
                          now_ms()});
    }

    std::vector<std::string> posted;  // ids, in order
    std::vector<std::string> bodies;
    std::map<std::string, service::JobRecord> jobs;
    bool is_there = true;
    int refuse_with = 0;
    bool loses_answers = false;  // takes the prompt, and the connection breaks
    int unloads = 0;
    int frees = 0;
    int cancels = 0;
    bool obeys = true;  // an interrupt ends the job
    Bytes allocated;

    void finish(const std::string& id, JobState state) { jobs[id].state = state; }
    void fail(const std::string& id, std::string type, std::string message) {
        jobs[id] = {.state = JobState::Failed,
                    .images = {},
                    .error = service::NodeError{.node_id = "8",
                                                .node_type = "VAEDecode",
                                                .message = std::move(message),
                                                .exception_type = std::move(type)}};
    }
    void restart() { jobs.clear(); }
};

class FakeUpstream final : public service::Upstream {
  public:
    explicit FakeUpstream(FakeComfyUi& comfyui) : comfyui_(comfyui) {}
    [[nodiscard]] std::string address() const override { return "http://fake"; }
    [[nodiscard]] Result<service::ServerStats> read_stats() override {
        TRY_DO(there());
        service::ServerStats stats;
        stats.devices.push_back({.name = "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync",
                                 .type = "cuda",
                                 .vram_total = Bytes::from_mib(5898),
                                 .vram_free = Bytes::from_mib(5500) - comfyui_.allocated,
                                 .torch_total = comfyui_.allocated,
                                 .torch_free = Bytes(0)});
        return stats;
    }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view) override {
        return std::vector<std::string>{};
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view,
                                                                std::string_view) override {
        return std::vector<std::string>{};
    }
    [[nodiscard]] Result<std::string> read_object_info() override { return std::string("{}"); }
    [[nodiscard]] Result<void> submit(std::string_view, const std::string&,
                                      const std::string&) override {
        return {};
    }
    [[nodiscard]] Result<service::PromptReply> post_prompt(std::string_view body) override {
        TRY_DO(there());
        const auto fields = gateway::parse_prompt_body(body).value();
        if (comfyui_.refuse_with != 0)
            return service::PromptReply{
                .status = comfyui_.refuse_with,
                .body = R"({"error": {"type": "prompt_outputs_failed_validation", "message": )"
                        R"("Prompt outputs failed validation", "details": "", "extra_info": {}}, )"
                        R"("node_errors": {"4": {"errors": [{"type": "value_not_in_list", )"
                        R"("message": "Value not in list", "details": "ckpt_name"}], )"
                        R"("dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"}}})"};
        comfyui_.posted.push_back(*fields.prompt_id);
        comfyui_.bodies.emplace_back(body);
        comfyui_.jobs[*fields.prompt_id].state = JobState::Running;
        if (comfyui_.loses_answers) return fail(Errc::Unavailable, "connection reset");
        return service::PromptReply{
            .status = 200,
            .body = fmt::format(R"({{"prompt_id": "{}", "number": 1, "node_errors": {{}}}})",
                                *fields.prompt_id)};
    }
    [[nodiscard]] Result<std::unique_ptr<service::EventStream>> open_events(
        const std::string&, const std::string&) override {
        return fail(Errc::Unavailable, "none");
    }
    [[nodiscard]] Result<service::JobRecord> read_job(const std::string& id) override {
        TRY_DO(there());
        const auto found = comfyui_.jobs.find(id);
        return found == comfyui_.jobs.end() ? service::JobRecord{} : found->second;
    }
    [[nodiscard]] Result<void> cancel(const std::string& id) override {
        ++comfyui_.cancels;
        if (comfyui_.obeys) comfyui_.jobs[id].state = JobState::Interrupted;
        return {};
    }
    [[nodiscard]] Result<void> free_models() override {
        ++comfyui_.frees;
        comfyui_.allocated = Bytes(0);
        return {};
    }
    [[nodiscard]] Result<void> unload_models() override {
        ++comfyui_.unloads;
        comfyui_.allocated = Bytes(0);
        return {};
    }
    [[nodiscard]] Result<std::string> download(const service::ImageRef&) override {
        return fail(Errc::NotFound, "none");
    }
    [[nodiscard]] Result<std::vector<std::string>> list_output_files() override {
        TRY_DO(there());
        if (!comfyui_.lists_output) return fail(Errc::NotFound, "404");
        std::vector<std::string> names;
        for (const auto& one : std::views::reverse(comfyui_.output))
            if (one.file.subfolder.empty()) names.push_back(one.file.filename);
        return names;
    }
    [[nodiscard]] Result<service::FilePiece> read_piece(const service::ImageRef& file,
                                                        std::uint64_t begin,
                                                        std::uint64_t count) override {
        TRY_DO(there());
        if (comfyui_.pieces_until_gone == 0) comfyui_.is_there = false;
        TRY_DO(there());
        if (comfyui_.pieces_until_gone > 0) --comfyui_.pieces_until_gone;
        const auto found = std::ranges::find(comfyui_.output, file, &FakeComfyUi::Written::file);
        if (found == comfyui_.output.end() || begin >= found->bytes.size())
            return fail(Errc::NotFound, "404");
        // Down and up, as in its headers.
        const std::int64_t written = (found->at_ms + 999) / 1000;
        return service::FilePiece{.bytes = found->bytes.substr(begin, count),
                                  .whole_bytes = found->bytes.size(),
                                  .age_ms = (comfyui_.now_ms() / 1000 - written) * 1000};
    }
    [[nodiscard]] Result<std::vector<std::string>> guess_output_folders() override {
        TRY_DO(there());
        return comfyui_.output_folders;
    }

  private:
    [[nodiscard]] Result<void> there() const {
        if (comfyui_.is_there) return {};
        return fail(Errc::Unavailable, "connection refused");
    }
    FakeComfyUi& comfyui_;
};

class FakeAtHand final : public service::ComfyAtHand {
  public:
    explicit FakeAtHand(FakeComfyUi& comfyui) : comfyui_(comfyui) {}
    [[nodiscard]] Result<std::unique_ptr<service::Upstream>> reach() override {
        return std::make_unique<FakeUpstream>(comfyui_);
    }
    [[nodiscard]] service::CardLook look_at_card(const service::DeviceStats&,
                                                 telemetry::Attention) override {
        return {};
    }
    [[nodiscard]] std::string address() const override { return "fake"; }

  private:
    FakeComfyUi& comfyui_;
};

class FakeDoor final : public gateway::HookDoor {
  public:
    void broadcast(std::string text) override { broadcasts.push_back(std::move(text)); }
    void send_to(const std::string& client, std::string text) override {
        sent[client].push_back(std::move(text));
    }
    [[nodiscard]] std::vector<std::string> client_ids() const override { return {}; }
    [[nodiscard]] std::string upstream_url() const override { return "http://fake"; }
    std::vector<std::string> broadcasts;
    std::map<std::string, std::vector<std::string>> sent;
};

inline std::string prompt_text(int width = 1024, int height = 1024, int batch = 1,
                               std::uint64_t seed = 12345678901234567890ULL) {
    return advisor::build_text_to_image({.model = "sdxl-base",
                                         .width = width,
                                         .height = height,
                                         .steps = 20,
                                         .batch = batch,
                                         .seed = seed},
                                        "sd_xl_base_1.0.safetensors", "a dragon", "");
}

class Guarding : public testing::Test {
  protected:
    void SetUp() override {
        auto place = std::make_shared<service::Place>();
        place->budget = advisor::make_budget(5120, 0.15, 30).value();
        place->config.card.value = "rtx3050-6gb";
        comfyui_.now_ms = [this] { return clock_.unix_ms(); };
        place_ = place;
        open();
    }
    // A process begins (after the earlier one was killed).
    void open(GuardOptions options = {}) {
        guard_.reset();
        guard_ = std::make_unique<Guard>(
            Guard::Parts{.place = [this] { return place_; },
                         .comfyui = at_hand_,
                         // It outlives the process, as a file does.
                         .open_store = [this]() -> Result<std::shared_ptr<history::Store>> {
                             if (disk_is_full_) return fail(Errc::Unavailable, "no space left");
                             return std::shared_ptr<history::Store>(&store_,
                                                                    [](history::Store*) {});
                         },
                         .clock = clock_,
                         .seed = ++seed_,
                         .options = std::move(options),
                         .restart_comfyui = [this]() -> Result<void> {
                             ++restarts_;
                             return {};
                         },
                         .forecaster =
                             [this](const service::Place&, std::string_view,
                                    const std::vector<SharedProgram>&) {
                                 return advisor::Forecaster(law_);
                             }},
            Guard::Callbacks{
                .on_job = [](const HeldView&) {},
                .on_warning =
                    [this](std::string_view code, const std::string&, const std::string& text) {
                        warnings_.push_back(fmt::format("{}: {}", code, text));
                    },
                .on_busy = [this](bool busy) { busy_ = busy; }});
        guard_->restore();
        guard_->attach(door_);
    }
    gateway::PromptDecision post(const std::string& prompt, const std::string& id = "",
                                 net::Headers headers = {}, const std::string& more = "") {
        ClientRequest request;
        request.number = ++requests_;
        request.route = Route::PostPrompt;
        request.headers = std::move(headers);
        request.body =
            fmt::format(R"({{"prompt": {}, "client_id": "krita"{}{}}})", prompt,
                        id.empty() ? "" : fmt::format(R"(, "prompt_id": "{}")", id), more);
        gateway::PromptCall call(std::move(request));
        return guard_->decide(call);
    }
    // ComfyUI answers the request that the gateway forwarded.
    void arrive(const std::string& id) {
        comfyui_.posted.push_back(id);
        comfyui_.jobs[id].state = JobState::Running;
        guard_->on_prompt_answered(requests_, 200,
                                   fmt::format(R"({{"prompt_id": "{}", "number": 1}})", id));
    }
    void turn(int times = 1, std::int64_t ms = 300) {
        for (int i = 0; i < times; ++i) {
            clock_.advance(milliseconds(ms));
            guard_->turn();
        }
    }
    std::string queue() {
        ClientRequest request;
        request.route = Route::GetQueue;
        const auto amended = guard_->amend(request, {.status = 200,
                                                     .headers = {},
                                                     .body = R"({"queue_running": [], )"
                                                             R"("queue_pending": []})"});
        return amended ? amended->body : "";
    }
    HeldView view(const std::string& id) { return guard_->find(id).value(); }

    ManualClock clock_;
    FakeComfyUi comfyui_;
    FakeAtHand at_hand_{comfyui_};
    FakeDoor door_;
    history::MemoryStore store_;
    std::shared_ptr<const service::Place> place_;
    advisor::LoaderLaw law_;
    std::vector<std::string> warnings_;
    std::unique_ptr<Guard> guard_;
    std::uint64_t seed_ = 0;
    std::uint64_t requests_ = 0;
    int restarts_ = 0;
    bool busy_ = false;
    bool disk_is_full_ = false;  // before the process opens its store
};

// What the gateway asks about a text before it passes.
class Telling : public Guarding {
  protected:
    bool withheld(std::string_view type, const std::string& more = "") {
        return guard_->withholds(
            fmt::format(R"({{"type": "{}", "data": {{"prompt_id": "job-a"{}}}}})", type, more));
    }
    static std::string out_of_memory() {
        return R"(, "node_id": "8", "node_type": "VAEDecode", "exception_type": )"
               R"("torch.OutOfMemoryError", "exception_message": "Allocation on device ")";
    }
    std::string history(const std::string& upstream) {
        ClientRequest request;
        request.route = Route::HistoryItem;
        request.argument = "job-a";
        if (const auto own = guard_->answer(request)) return own->body;
        const auto amended =
            guard_->amend(request, {.status = 200, .headers = {}, .body = upstream});
        return amended ? amended->body : upstream;
    }
    const std::string failed_ =
        R"({"job-a": {"prompt": [], "outputs": {}, "status": {"status_str": "error", )"
        R"("completed": false, "messages": [["execution_error", {"prompt_id": "job-a", )"
        R"("node_id": "8", "node_type": "VAEDecode", "exception_type": )"
        R"("torch.OutOfMemoryError", "exception_message": "Allocation on device "}]]}}})";
};

}  // namespace plimsoll::guard
