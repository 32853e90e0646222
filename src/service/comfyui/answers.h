// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's HTTP answers as values. Input is untrusted: a field that is missing or of another type
// is left at its default, an answer that is no JSON (a proxy's HTML page) is an error that says so.
//
// Enters through: bytes.   Leaves through: the structs below.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "base/units.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

struct DeviceStats {
    std::string name;  // "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync"
    std::string type;  // "cuda", "cpu", "mps", "xpu"
    Bytes vram_total;
    Bytes vram_free;    // the driver's free bytes plus what torch holds unused
    Bytes torch_total;  // reserved by torch
    Bytes torch_free;   // of these unused
    [[nodiscard]] Bytes allocated() const { return torch_total - torch_free; }
    // As the driver sees it: torch's cache is in use.
    [[nodiscard]] Bytes driver_free() const { return vram_free - torch_free; }
    [[nodiscard]] Bytes used() const { return vram_total - driver_free(); }
};

struct ServerStats {
    std::string comfyui_version;  // empty on servers older than 0.3.10 or so
    std::string pytorch_version;
    std::string python_version;
    std::string os;  // "posix", "nt", "linux", ...
    Bytes ram_total;
    Bytes ram_free;
    std::vector<std::string> argv;
    std::vector<DeviceStats> devices;  // primary first
};

struct ImageRef {
    std::string filename;
    std::string subfolder;
    std::string type;  // "output", "temp"
    friend bool operator==(const ImageRef&, const ImageRef&) = default;
};

// Why a node failed.
struct NodeError {
    std::string node_id;
    std::string node_type;
    std::string message;  // first line: the rest are tips
    std::string exception_type;
    [[nodiscard]] bool out_of_memory() const;
};

enum class JobState : std::uint8_t { Unknown, Pending, Running, Succeeded, Failed, Interrupted };

// What /queue and /history say about a prompt. Unknown: in neither.
struct JobRecord {
    JobState state = JobState::Unknown;
    std::vector<ImageRef> images;
    std::optional<NodeError> error;
};

// As ComfyUI and torch word it, in all versions and back ends (exception_type, exception_message).
[[nodiscard]] bool is_out_of_memory(std::string_view exception_type, std::string_view message);

// Python's json.dumps writes NaN and Infinity; here they become null. `what` names the answer in
// errors: HTML and empty bodies are told apart.
[[nodiscard]] Result<json::value> parse_answer(std::string_view body, std::string_view what);

[[nodiscard]] Result<ServerStats> parse_system_stats(std::string_view body);
[[nodiscard]] Result<std::vector<std::string>> parse_names(std::string_view body,
                                                           std::string_view what);
// The choices of an input of /object_info/{class}, in both spellings of a combo; empty when it has
// none.
[[nodiscard]] Result<std::vector<std::string>> parse_choices(std::string_view body,
                                                             std::string_view class_type,
                                                             std::string_view input);
// The entry of a prompt in /history/{id}; Unknown for `{}`.
[[nodiscard]] Result<JobRecord> parse_history(std::string_view body, std::string_view prompt_id);
// Pending, Running or Unknown.
[[nodiscard]] Result<JobState> parse_queue(std::string_view body, std::string_view prompt_id);

// An answer to POST /prompt that was not 200, as one error for people: ComfyUI's reasons by node.
[[nodiscard]] Error parse_refusal(int status, std::string_view body);

// The images of a node's `output` object.
void collect_images(const json::value& output, std::vector<ImageRef>& into);
[[nodiscard]] NodeError node_error_of(const json::value& data);

}  // namespace plimsoll::service
