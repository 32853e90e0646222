// SPDX-License-Identifier: Apache-2.0
// ComfyUI's command line, one argument a line, and a version: never fails on what it does not know.
#include "base/check.h"
#include "base/text.h"
#include "memory/server.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll;  // NOLINT(google-build-using-namespace): a program of one function
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<std::string> argv;
    for (const std::string_view line : split(text, '\n')) argv.emplace_back(line);
    const auto flags = memory::parse_launch_flags(argv);
    CHECK(flags || flags.error().code == Errc::InvalidInput);
    CHECK(!flags || !flags->reserve_vram || flags->reserve_vram->count >= 0);
    const auto version = memory::parse_comfy_version(text);
    CHECK(version || version.error().code == Errc::InvalidInput);
    return 0;
}
