// SPDX-License-Identifier: Apache-2.0
//
// The recorded conversions of tests/data/convert. Only tests and fuzz targets include this.
#pragma once
#include "base/byte_source.h"
#include "workflow/convert/object_info.h"
#include "workflow/gzip.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace plimsoll::workflow {

inline constexpr std::size_t kRecordedBytesMax = 64ULL << 20U;

// The file is part of the repository: without it there is no test.
inline std::string read_recorded(std::string_view name) {
    const auto path = std::filesystem::path(PLIMSOLL_TEST_DATA) / "convert" / name;
    return inflate_gzip(read_text_file(path, kRecordedBytesMax).value(), kRecordedBytesMax).value();
}

inline ObjectInfo recorded_object_info(std::string_view server) {
    return ObjectInfo::parse(read_recorded("object_info_" + std::string(server) + ".json.gz"))
        .value();
}

}  // namespace plimsoll::workflow
