// SPDX-License-Identifier: Apache-2.0
// The lists of a run as the history file keeps them, from any bytes: what is read is written back
// and read again the same.
#include "base/check.h"
#include "history/run_json.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::history;  // NOLINT(google-build-using-namespace): one function
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto phases = parse_phases(text)) {
        const std::string written = phases_to_text(*phases);
        const auto again = parse_phases(written);
        CHECK(again && phases_to_text(*again) == written);
    }
    if (const auto changes = parse_changes(text)) {
        const std::string written = changes_to_text(*changes);
        const auto again = parse_changes(written);
        CHECK(again && changes_to_text(*again) == written);
    }
    if (const auto images = parse_images(text)) {
        const auto again = parse_images(images_to_text(*images));
        CHECK(again && *again == *images);
    }
    return 0;
}
