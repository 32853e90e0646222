// SPDX-License-Identifier: Apache-2.0
//
// Seam: ComfyUI enters through Upstream. ComfyClient (client.h) speaks HTTP and WebSocket;
// ScriptedUpstream is the test double. Every call blocks, with a deadline of its own.
//
// Threads: one Upstream may be used from one thread at a time.
#pragma once
#include "base/error.h"
#include "service/comfyui/answers.h"
#include "service/comfyui/messages.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// The messages of one client id about one prompt.
class EventStream {
  public:
    virtual ~EventStream() = default;
    // The next message, or nullopt when none came in time; a wait of 0 takes what has arrived.
    // Unavailable: the connection is gone.
    [[nodiscard]] virtual Result<std::optional<Message>> next(std::chrono::milliseconds wait) = 0;
    // Closes and waits for the close to finish: ComfyUI drops a new socket of the same client id
    // when the old one closes after it.
    virtual void close() = 0;
};

// An answer to POST /prompt, of any status.
struct PromptReply {
    int status = 0;
    std::string body;
};

// A piece of a file that ComfyUI has.
struct FilePiece {
    std::string bytes;              // fewer than asked for where the file ends
    std::uint64_t whole_bytes = 0;  // of the file
    // Since it was written, by ComfyUI's own clock. Whole seconds: the one moment is rounded down,
    // the other up, so the file is up to kAgeErrorMs older. nullopt: not said.
    std::optional<std::int64_t> age_ms = std::nullopt;
};
inline constexpr std::int64_t kAgeErrorMs = 2000;  // Date rounds down, Last-Modified up

class Upstream {
  public:
    virtual ~Upstream() = default;

    [[nodiscard]] virtual std::string address() const = 0;  // for messages
    [[nodiscard]] virtual Result<ServerStats> read_stats() = 0;
    // File names of a folder such as "checkpoints".
    [[nodiscard]] virtual Result<std::vector<std::string>> list_models(std::string_view folder) = 0;
    // The choices of a node's input; NotFound when ComfyUI lacks the node.
    [[nodiscard]] virtual Result<std::vector<std::string>> list_choices(std::string_view class_type,
                                                                        std::string_view input) = 0;
    // What the server says about all its nodes, as JSON text.
    [[nodiscard]] virtual Result<std::string> read_object_info() = 0;
    // `workflow` is sent byte for byte. InvalidInput: ComfyUI refused it, with its reasons.
    [[nodiscard]] virtual Result<void> submit(std::string_view workflow,
                                              const std::string& prompt_id,
                                              const std::string& client_id) = 0;
    // A whole body of POST /prompt, byte for byte. Unavailable: it may have arrived or not.
    [[nodiscard]] virtual Result<PromptReply> post_prompt(std::string_view body) = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<EventStream>> open_events(
        const std::string& client_id, const std::string& prompt_id) = 0;
    // First the queue, then the history: a job that ends in between is in the latter.
    [[nodiscard]] virtual Result<JobRecord> read_job(const std::string& prompt_id) = 0;
    // Interrupts it when it runs, takes it out of the queue when it waits; no other prompt is
    // touched.
    [[nodiscard]] virtual Result<void> cancel(const std::string& prompt_id) = 0;
    // Takes all models off the card and forgets what was computed.
    [[nodiscard]] virtual Result<void> free_models() = 0;
    // Takes them off the card; what was computed stays in ComfyUI's cache.
    [[nodiscard]] virtual Result<void> unload_models() = 0;
    [[nodiscard]] virtual Result<std::string> download(const ImageRef& image) = 0;
    // The names of the files in ComfyUI's folder "output" itself, newest first; not of those in
    // folders below it. NotFound, as by this default: it does not tell.
    [[nodiscard]] virtual Result<std::vector<std::string>> list_output_files() {
        return fail(Errc::NotFound, "ComfyUI does not tell what it has written");
    }
    // `count` bytes, at least one, from `begin` on. NotFound: no such file, or it ends before.
    [[nodiscard]] virtual Result<FilePiece> read_piece(const ImageRef& /*file*/,
                                                       std::uint64_t /*begin*/,
                                                       std::uint64_t /*count*/) {
        return fail(Errc::NotFound, "ComfyUI does not tell what it has written");
    }
    // Where ComfyUI's folder "output" may lie, in its own file system. Empty: it does not tell.
    [[nodiscard]] virtual Result<std::vector<std::string>> guess_output_folders() {
        return std::vector<std::string>{};
    }
};

}  // namespace plimsoll::service
