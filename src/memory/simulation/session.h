// SPDX-License-Identifier: Apache-2.0
//
// What a server keeps between jobs: models that loader nodes made, node outputs in ComfyUI's cache,
// files in the system's memory.
#pragma once
#include "memory/residency/dtypes.h"
#include "memory/residency/policy.h"
#include "memory/simulate.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace plimsoll::memory {

// A model for as long as ComfyUI's cache keeps the output of its loader node.
struct LiveModel {
    ModelHandle handle = 0;
    Types types;
    Placement placement;
};

// Signature of the loader node, and which of its models.
using ModelKey = std::pair<std::uint64_t, std::size_t>;

struct SessionState::Content {
    Server server;  // whose session it is
    Bytes card_total;
    std::unique_ptr<ResidencyPolicy> policy;
    std::map<ModelKey, LiveModel> models;
    std::set<std::uint64_t> cached;      // signatures of nodes whose outputs are kept
    std::set<std::string> files_in_ram;  // read before: the system's page cache has them
};

// "sd_xl_base_1.0.safetensors"; several text encoders joined by " + ".
[[nodiscard]] std::string file_list(const ProgramModel& model);

// The loader's view of a model that is known, in the types that ComfyUI gives it on this card.
[[nodiscard]] std::shared_ptr<LoadableModel> make_loadable(const ProgramModel& model,
                                                           const Server& server,
                                                           const Device& device, Types& types);

}  // namespace plimsoll::memory
