// SPDX-License-Identifier: Apache-2.0
// ComfyUI's answers and messages from any bytes; the first byte says which.
#include "base/check.h"
#include "service/comfyui/answers.h"
#include "service/comfyui/messages.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace {

using namespace plimsoll;  // NOLINT(google-build-using-namespace): a program of one function

template <class T>
void check(const Result<T>& result) {
    CHECK(result.has_value() || !result.error().message.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 8) {
        case 0:
            check(service::parse_system_stats(body));
            break;
        case 1:
            check(service::parse_names(body, "models"));
            break;
        case 2:
            check(service::parse_choices(body, "KSampler", "sampler_name"));
            break;
        case 3:
            check(service::parse_history(body, "id"));
            break;
        case 4:
            check(service::parse_queue(body, "id"));
            break;
        case 5:
            CHECK(!service::parse_refusal(400, body).message.empty());
            break;
        case 6:
            static_cast<void>(service::parse_message(body, "id"));
            break;
        default:
            static_cast<void>(
                service::parse_binary_message(std::as_bytes(std::span(data + 1, size - 1))));
    }
    return 0;
}
