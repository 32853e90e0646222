// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/checkpoints.h"

#include "base/say.h"
#include "base/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace plimsoll::service {

Result<std::string> name_on_server(Upstream& upstream, const std::string& checkpoint) {
    auto names = upstream.list_models("checkpoints");
    if (!names) names = upstream.list_choices("CheckpointLoaderSimple", "ckpt_name");
    if (!names) return std::unexpected(names.error());
    if (std::ranges::find(*names, checkpoint) != names->end()) return checkpoint;
    // ComfyUI lists files of subfolders with the folder in front, in the separator of its own
    // system.
    const auto found = std::ranges::find_if(*names, [&](const std::string& name) {
        return name.ends_with("/" + checkpoint) || name.ends_with("\\" + checkpoint);
    });
    if (found != names->end()) return *found;
    if (names->empty())
        return fail(Errc::NotFound, say<"error.no_checkpoint">(upstream.address(), checkpoint));
    return fail(Errc::NotFound,
                say<"error.checkpoint">(
                    upstream.address(), checkpoint, names->size(),
                    fmt::format("{}", fmt::join(nearest_names(checkpoint, *names, 3), ", "))));
}

}  // namespace plimsoll::service
