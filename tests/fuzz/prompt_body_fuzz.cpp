// SPDX-License-Identifier: Apache-2.0
// The body of POST /prompt, ComfyUI's messages and a request's target from any bytes; what an edit
// leaves must be of the same form.
#include "base/check.h"
#include "gateway/comfyui_text.h"
#include "gateway/prompt_body.h"
#include "gateway/route.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace plimsoll;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (const auto body = gateway::parse_prompt_body(bytes)) {
        CHECK(body->whole.end <= bytes.size() && bytes[body->whole.begin] == '{');
        // A member's value is JSON by itself.
        if (body->prompt) {
            const std::string one =
                "{\"prompt\":" +
                std::string(
                    bytes.substr(body->prompt->begin, body->prompt->end - body->prompt->begin)) +
                "}";
            CHECK(gateway::parse_prompt_body(one).has_value());
        }
    }
    if (const auto raised = gateway::raise_queue_remaining(bytes, 7)) {
        (void)gateway::raise_queue_remaining(*raised, -7);
        (void)gateway::sid_of_status(*raised);
    }
    (void)gateway::with_node_errors(bytes, R"({"1": {}})");
    const std::string quoted = gateway::quote_json(bytes);
    CHECK(gateway::parse_prompt_body("{" + quoted + ": 1}").has_value());
    (void)gateway::match_route("GET", bytes);
    (void)gateway::match_route("POST", bytes);
    return 0;
}
