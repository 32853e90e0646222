// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/registry.h"

namespace plimsoll::memory {

Module Registry::path(std::string_view parent, std::string_view name) {
    std::string& path = paths_.emplace_back();
    path.reserve(parent.size() + 1 + name.size());
    path.append(parent);
    if (!parent.empty() && !name.empty()) path.append(1, '.');
    path.append(name);
    return &path;
}

void Registry::add(Module path, std::string_view class_name, std::int64_t parameters,
                   ModuleStorage storage) {
    const bool linear = class_name == "Linear";
    const bool in_16_bit = in_16_bit_ || (scales_linears_ && !linear);
    if (in_16_bit && storage == ModuleStorage::AsNetwork) storage = ModuleStorage::Float16;
    modules_.push_back({.path = *path,
                        .class_name = class_name,
                        .elements = parameters,
                        .castable = castable_,
                        .storage = storage,
                        .scales = scales_linears_ && linear ? 1 : 0});
}

void Registry::pack_matrix(std::int64_t elements) {
    constexpr std::int64_t kMillibitsOfByte = 8000;
    modules_.back().packed_elements = elements;
    // Width by width is far below what 64 bits hold (kWidthMax).
    modules_.back().packed_bytes = elements * linear_millibits_ / kMillibitsOfByte;
}

void Registry::add_int8_linear(Module path, std::int64_t in, std::int64_t out, Bias bias) {
    add(path, "Linear", in * out, ModuleStorage::Int8);
    constexpr std::int64_t kHalfBytes = 2;  // of the bias
    ModuleEntry& layer = modules_.back();
    layer.scales = out;
    if (bias == Bias::No) return;
    layer.elements += out;
    layer.whole_numbers = out;
    layer.whole_bytes = out * kHalfBytes;
}

void Registry::add_plain(Module path, std::string_view class_name, std::int64_t parameters,
                         ModuleStorage storage) {
    add(path, class_name, parameters, storage);
    modules_.back().castable = false;
}

void Registry::add_own_parameters(Module path, std::string_view class_name, std::int64_t parameters,
                                  ModuleStorage storage, std::int64_t unsaved) {
    modules_.push_back({.path = *path,
                        .class_name = class_name,
                        .elements = parameters,
                        .castable = false,
                        .storage = storage,
                        .leaf = false,
                        .unsaved_elements = unsaved});
}

void Registry::add_computed(Module path, std::string_view class_name, std::int64_t parameters,
                            ModuleStorage storage) {
    add_own_parameters(path, class_name, parameters, storage);
    modules_.back().unsaved_elements = parameters;
}

void Registry::add_buffer(Module path, std::string_view class_name, std::int64_t elements,
                          ModuleStorage storage, Saved saved) {
    add_own_parameters(path, class_name, elements, storage);
    modules_.back().buffer_elements = elements;
    if (saved == Saved::No) modules_.back().unsaved_elements = elements;
}

void Registry::add_tables(Module path, std::string_view class_name, std::int64_t elements,
                          const WholeNumbers& whole, Saved saved) {
    add_buffer(path, class_name, elements + whole.count, ModuleStorage::AsNetwork, saved);
    modules_.back().leaf = true;
    modules_.back().whole_numbers = whole.count;
    modules_.back().whole_bytes = whole.bytes;
}

std::int64_t Registry::params() const {
    std::int64_t sum = 0;
    for (const ModuleEntry& module : modules_)
        sum += module.elements + module.scales - module.buffer_elements;
    return sum;
}

Bytes Registry::weights(ComputeType storage) const {
    Bytes sum;
    for (const ModuleEntry& module : modules_) sum += module.weights(storage);
    return sum;
}

}  // namespace plimsoll::memory
