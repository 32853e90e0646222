// SPDX-License-Identifier: Apache-2.0
//
// The test double of Upstream: what ComfyUI would answer is written down by the test, what was
// asked of it is kept for the test to look at. Only tests include this.
#pragma once
#include "base/clock.h"
#include "service/comfyui/upstream.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::service {

class ScriptedUpstream final : public Upstream {
  public:
    explicit ScriptedUpstream(ManualClock& clock) : clock(clock) {}

    // One thing that happens on the WebSocket: a message after a wait, or its end.
    struct Frame {
        std::chrono::milliseconds after{0};
        Message message = Ignored{};
        bool drop = false;
    };

    ManualClock& clock;
    std::deque<std::deque<Frame>> sockets;  // one script for each connection; none left: refused
    std::function<Result<JobRecord>()> job = [] { return JobRecord{}; };
    std::function<Result<ServerStats>()> stats = [] { return ServerStats{}; };
    std::string object_info;  // empty: refused
    Result<void> submitted;
    std::function<void()> on_submit;
    std::map<std::string, std::vector<std::string>, std::less<>> models;
    std::map<std::string, std::string, std::less<>> files;  // bytes by file name

    std::vector<std::string> workflows;  // what was submitted
    // What POST /prompt answers to a whole body; the bodies are in `posted`.
    std::function<Result<PromptReply>(std::string_view body)> on_post = [](std::string_view) {
        return PromptReply{.status = 200, .body = "{}"};
    };
    std::vector<std::string> posted;
    int unloads = 0;
    int cancels = 0;
    int frees = 0;
    int open_sockets = 0;
    int most_open_sockets = 0;

    [[nodiscard]] std::string address() const override { return "http://scripted:8188"; }
    [[nodiscard]] Result<ServerStats> read_stats() override { return stats(); }
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view folder) override {
        const auto found = models.find(folder);
        if (found == models.end()) return fail(Errc::NotFound, "no folder " + std::string(folder));
        return found->second;
    }
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view /*class_type*/,
                                                                std::string_view input) override {
        return list_models(input);
    }
    [[nodiscard]] Result<std::string> read_object_info() override {
        if (object_info.empty()) return fail(Errc::Unavailable, "connection refused");
        return object_info;
    }
    [[nodiscard]] Result<void> submit(std::string_view workflow, const std::string& /*prompt_id*/,
                                      const std::string& /*client_id*/) override {
        workflows.emplace_back(workflow);
        if (on_submit) on_submit();
        return submitted;
    }
    [[nodiscard]] Result<PromptReply> post_prompt(std::string_view body) override {
        posted.emplace_back(body);
        return on_post(body);
    }
    [[nodiscard]] Result<std::unique_ptr<EventStream>> open_events(
        const std::string& /*client_id*/, const std::string& /*prompt_id*/) override {
        if (sockets.empty()) return fail(Errc::Unavailable, "connection refused");
        auto script = std::move(sockets.front());
        sockets.pop_front();
        most_open_sockets = std::max(most_open_sockets, ++open_sockets);
        return std::make_unique<Stream>(*this, std::move(script));
    }
    [[nodiscard]] Result<JobRecord> read_job(const std::string& /*prompt_id*/) override {
        return job();
    }
    [[nodiscard]] Result<void> cancel(const std::string& /*prompt_id*/) override {
        ++cancels;
        return {};
    }
    [[nodiscard]] Result<void> free_models() override {
        ++frees;
        return {};
    }
    [[nodiscard]] Result<void> unload_models() override {
        ++unloads;
        return {};
    }
    [[nodiscard]] Result<std::string> download(const ImageRef& image) override {
        const auto found = files.find(image.filename);
        if (found == files.end()) return fail(Errc::NotFound, "no file " + image.filename);
        return found->second;
    }

  private:
    class Stream final : public EventStream {
      public:
        Stream(ScriptedUpstream& owner, std::deque<Frame> frames)
            : owner_(owner), frames_(std::move(frames)) {}
        ~Stream() override { shut(); }
        Stream(const Stream&) = delete;
        Stream& operator=(const Stream&) = delete;

        [[nodiscard]] Result<std::optional<Message>> next(std::chrono::milliseconds wait) override {
            if (frames_.empty() || frames_.front().after > wait) {
                if (!frames_.empty()) frames_.front().after -= wait;
                owner_.clock.advance(wait);
                return std::optional<Message>();
            }
            const Frame frame = std::move(frames_.front());
            frames_.pop_front();
            owner_.clock.advance(frame.after);
            if (frame.drop) return fail(Errc::Unavailable, "connection reset");
            return std::optional<Message>(frame.message);
        }
        void close() override { shut(); }

      private:
        void shut() {
            if (open_) --owner_.open_sockets;
            open_ = false;
        }
        ScriptedUpstream& owner_;
        std::deque<Frame> frames_;
        bool open_ = true;
    };
};

}  // namespace plimsoll::service
