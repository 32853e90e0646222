// SPDX-License-Identifier: Apache-2.0
//
// Whether a job that ComfyUI forgot has left its pictures already: killed between a file and its
// message, ComfyUI knows nothing of either, and sending the job again would draw the same picture
// twice. Asked are the files themselves: those that the job's SaveImage nodes name, that are newer
// than its sending, whole, not another job's, and that carry the very prompt that was sent.
//
// Only SaveImage is understood. What a job puts out otherwise (videos, sounds, pictures over the
// WebSocket) or where metadata is switched off cannot be told, and the job is drawn again. Previews
// (PreviewImage) lie in a folder that ComfyUI empties when it starts: they count for nothing, and a
// job of previews alone is drawn again.
//
// Enters through: the prompt that was sent, memory::Program, service::Upstream.   Leaves through:
// WrittenWork.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "guard/node_files.h"
#include "memory/program.h"
#include "service/comfyui/upstream.h"
#include "workflow/graph.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// A SaveImage node.
struct Saver {
    std::string node_id;
    std::string subfolder;
    std::string stem;      // may hold "%width%", "%year%"... which ComfyUI fills with digits
    std::size_t pictures;  // that it writes in one run
};

// The nodes whose pictures are to be found, in the order in which they run, without those that
// were heard to be done. nullopt: files cannot tell whether this job is done. `targets`: the only
// outputs that the client asked for; empty: all.
[[nodiscard]] std::optional<std::vector<Saver>> savers_of(const workflow::Graph& graph,
                                                          const memory::Program& program,
                                                          const NodeFiles& heard,
                                                          const std::set<std::string>& targets);
// The number in a name that the node gives its files: 7 of "ComfyUI_00007_.png".
[[nodiscard]] std::optional<std::int64_t> number_of(const Saver& saver, std::string_view filename);
// Whether ComfyUI writes that prompt into a picture where it was sent the other: it turns values
// into what their inputs take (8 into 8.0, "20" into 20) and changes nothing else.
[[nodiscard]] bool is_same_prompt(std::string_view sent, std::string_view written);

// Files that are some job's, so that a job of the same prompt does not take them for its own.
class ClaimedFiles {
  public:
    void add(const NodeFiles& files);
    void add(const std::vector<service::ImageRef>& files);
    [[nodiscard]] bool contains(const service::ImageRef& file) const;

  private:
    std::set<std::string> names_;
    std::deque<std::string> oldest_first_;
};
inline constexpr std::size_t kClaimedMax = 20'000;  // chosen: a week of a card's pictures

struct WrittenQuery {
    std::string_view prompt;  // as sent
    std::vector<Saver> savers;
    std::int64_t sent_ms = 0;
    std::int64_t now_ms = 0;
    // Other jobs' files are not known (an earlier process sent it): a file that may be older than
    // the sending, by as little as clocks are exact to, is not taken.
    bool strict = false;
};
struct WrittenWork {
    bool whole = false;    // every picture is there: the job is done
    NodeFiles files = {};  // where it is: by node
    // Where it is not: what is there, and will be there twice when the job is drawn again.
    std::vector<service::ImageRef> pieces = {};
};
// Asks ComfyUI. Unavailable: it is gone (again).
[[nodiscard]] Result<WrittenWork> find_written_work(service::Upstream& comfyui,
                                                    const WrittenQuery& query,
                                                    const ClaimedFiles& claimed);

}  // namespace plimsoll::guard
