// SPDX-License-Identifier: Apache-2.0
//
// ComfyClient: an unchanged ComfyUI (0.3.64 and later) over HTTP and WebSocket.
//
// Enters through: net::call_http, net::ClientSocket.   Leaves through: Upstream.   Threads: as
// Upstream.
#pragma once
#include "base/error.h"
#include "net/blocking_client.h"
#include "service/comfyui/upstream.h"
#include "service/config.h"

#include <memory>
#include <string>

namespace plimsoll::service {

class ComfyClient final : public Upstream {
  public:
    // Connects to nothing yet. InvalidInput when the address is none.
    [[nodiscard]] static Result<std::unique_ptr<ComfyClient>> create(const Config& config);

    [[nodiscard]] std::string address() const override { return endpoint_.text(); }
    [[nodiscard]] Result<ServerStats> read_stats() override;
    [[nodiscard]] Result<std::vector<std::string>> list_models(std::string_view folder) override;
    [[nodiscard]] Result<std::vector<std::string>> list_choices(std::string_view class_type,
                                                                std::string_view input) override;
    [[nodiscard]] Result<std::string> read_object_info() override;
    [[nodiscard]] Result<void> submit(std::string_view workflow, const std::string& prompt_id,
                                      const std::string& client_id) override;
    [[nodiscard]] Result<PromptReply> post_prompt(std::string_view body) override;
    [[nodiscard]] Result<std::unique_ptr<EventStream>> open_events(
        const std::string& client_id, const std::string& prompt_id) override;
    [[nodiscard]] Result<JobRecord> read_job(const std::string& prompt_id) override;
    [[nodiscard]] Result<void> cancel(const std::string& prompt_id) override;
    [[nodiscard]] Result<void> free_models() override;
    [[nodiscard]] Result<void> unload_models() override;
    [[nodiscard]] Result<std::string> download(const ImageRef& image) override;
    [[nodiscard]] Result<std::vector<std::string>> list_output_files() override;
    [[nodiscard]] Result<FilePiece> read_piece(const ImageRef& file, std::uint64_t begin,
                                               std::uint64_t count) override;
    [[nodiscard]] Result<std::vector<std::string>> guess_output_folders() override;

  private:
    explicit ComfyClient(net::Endpoint endpoint) : endpoint_(std::move(endpoint)) {}
    [[nodiscard]] Result<std::string> get(const std::string& target,
                                          const net::Patience& patience = {});
    [[nodiscard]] Result<void> post(const std::string& target, std::string body,
                                    const net::Patience& patience = {});

    net::Endpoint endpoint_;
};

}  // namespace plimsoll::service
