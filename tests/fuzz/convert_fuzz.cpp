// SPDX-License-Identifier: Apache-2.0
// An object_info and a workflow in UI format from any bytes, a zero byte between them: what comes
// out is JSON that the parser of the API format takes, and every link in it leads to a node in it.
#include "base/check.h"
#include "workflow/convert/convert.h"
#include "workflow/parse.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll::workflow;  // NOLINT(google-build-using-namespace): one function
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const std::size_t zero = bytes.find('\0');
    if (zero == std::string_view::npos) return 0;
    const auto info = ObjectInfo::parse(bytes.substr(0, zero));
    if (!info) {
        CHECK(!info.error().message.empty());
        return 0;
    }
    const std::string_view text = bytes.substr(zero + 1);
    for (const FrontEnd front_end : {FrontEnd::V1_27, FrontEnd::V1_58}) {
        const auto converted =
            convert_workflow(text, *info, {.front_end = front_end, .now = LocalTime{}});
        if (!converted) {
            CHECK(!converted.error().message.empty());
            continue;
        }
        CHECK(is_ui_workflow(text) || text.starts_with("\xEF\xBB\xBF"));
        const auto graph = parse_api_workflow(converted->text);
        CHECK(graph.has_value());
        CHECK(graph->nodes.size() == converted->nodes);
        for (const GraphFault& fault : graph->faults)
            CHECK(fault.kind != GraphFault::Kind::DanglingLink);
    }
    return 0;
}
