// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/loadable_model.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace plimsoll::memory {

namespace {

void sort_units(LoadableModel& model) {
    std::sort(model.units.begin(), model.units.end(), [](const LoadUnit& a, const LoadUnit& b) {
        if (a.bytes != b.bytes) return a.bytes > b.bytes;
        if (a.prefix != b.prefix) return a.full_path() > b.full_path();
        return *a.path > *b.path;
    });
}

}  // namespace

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
    sort_units(*model);
    return model;
}

bool unpacks_to_run(const modelfile::PartWeights& weights) {
    return weights.linear_millibits > 0 && weights.dtype != modelfile::DType::Int8;
}

bool is_packed_matrix(const ModuleEntry& module) {
    if (module.class_name != "Linear" || module.storage != ModuleStorage::AsNetwork) return false;
    const auto inside = [&](std::string_view part) {
        return module.path.find(part) != std::string::npos;
    };
    return inside("layers.") || inside("block.") || inside("blocks.");
}

void pack_matrices(LoadableModel& model, std::span<const ModuleEntry> modules, int millibits) {
    constexpr std::int64_t kMillibitsOfByte = 8000;
    std::unordered_map<const std::string*, const ModuleEntry*> packed;
    for (const ModuleEntry& module : modules)
        if (is_packed_matrix(module)) packed.emplace(&module.path, &module);
    for (LoadUnit& unit : model.units) {
        if (!packed.contains(unit.path)) continue;
        // Width by width is far below what 64 bits hold.
        const std::int64_t bytes = unit.elements * millibits / kMillibitsOfByte;
        model.size_bytes += bytes - unit.bytes;
        unit.bytes = bytes;
        unit.needs_cast = true;
        unit.packed = true;
    }
    model.placement_bytes = model.size_bytes;
    sort_units(model);
}

}  // namespace plimsoll::memory
