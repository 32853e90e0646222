// SPDX-License-Identifier: Apache-2.0
//
// Reads the directory at the end of a zip archive (zip64 too): what is in it and where. Contents
// are not read. Input is untrusted. Private to this folder.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct ZipEntry {
    std::string name;
    std::uint64_t header_offset = 0;  // of its local header
    std::uint64_t bytes = 0;          // unpacked
    bool is_stored = true;            // not compressed
};

[[nodiscard]] Result<std::vector<ZipEntry>> read_zip_directory(ByteSource& source);

// Where the entry's own bytes begin, checked to end inside the file. Fails with InvalidInput when
// it is compressed.
[[nodiscard]] Result<std::uint64_t> find_zip_content(ByteSource& source, const ZipEntry& entry);

}  // namespace plimsoll::modelfile
