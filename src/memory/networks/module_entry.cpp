// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/module_entry.h"

namespace plimsoll::memory {

Bytes ModuleEntry::weights(ComputeType network_storage) const {
    constexpr std::int64_t kInt64Bytes = 8;
    if (storage == ModuleStorage::Int64) return Bytes(elements * kInt64Bytes);
    const ComputeType type = storage == ModuleStorage::Float32   ? ComputeType::Float32
                             : storage == ModuleStorage::Float16 ? ComputeType::Float16
                             : storage == ModuleStorage::Int8    ? ComputeType::Int8
                                                                 : network_storage;
    return Bytes((elements - whole_numbers - packed_elements) * bytes_per_element(type) +
                 whole_bytes + packed_bytes + scales * bytes_per_element(ComputeType::Float32));
}

}  // namespace plimsoll::memory
