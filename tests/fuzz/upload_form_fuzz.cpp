// SPDX-License-Identifier: Apache-2.0
// An upload's form and the picture in it, from any bytes.
#include "simulator/picture/pixels.h"
#include "simulator/server/multipart.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto parts = plimsoll::simulator::parse_form("multipart/form-data; boundary=B", bytes);
    if (!parts) return 0;
    for (const auto& part : *parts) (void)plimsoll::simulator::decode_picture(part.body);
    return 0;
}
