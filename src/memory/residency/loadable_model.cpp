// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/loadable_model.h"

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

std::shared_ptr<LoadableModel> make_loadable(std::string name, std::span<const LoadablePart> parts,
                                             ComputeType compute) {
    auto model = std::make_shared<LoadableModel>();
    model->name = std::move(name);
    model->compute_element_bytes = bytes_per_element(compute);
    std::size_t count = 0;
    for (const LoadablePart& part : parts) count += part.modules.size();
    model->units.reserve(count);
    for (const LoadablePart& part : parts) {
        for (const ModuleEntry& module : part.modules) {
            const std::int64_t bytes = module.weights(part.storage).count;
            const std::int64_t unsaved =
                module.elements == 0 ? 0 : bytes / module.elements * module.unsaved_elements;
            model->size_bytes += bytes - unsaved;
            if (!module.leaf) {
                model->attached_bytes += bytes - unsaved;
                model->unsaved_bytes += unsaved;
                continue;
            }
            model->units.push_back({.prefix = part.prefix,
                                    .path = &module.path,
                                    .bytes = bytes,
                                    .elements = module.elements,
                                    .streamable = module.castable,
                                    .needs_cast = part.storage != compute,
                                    .packed = module.packed_elements > 0});
        }
    }
    model->placement_bytes = model->size_bytes;
    std::sort(model->units.begin(), model->units.end(), [](const LoadUnit& a, const LoadUnit& b) {
        if (a.bytes != b.bytes) return a.bytes > b.bytes;
        if (a.prefix != b.prefix) return a.full_path() > b.full_path();
        return *a.path > *b.path;
    });
    return model;
}

}  // namespace plimsoll::memory
