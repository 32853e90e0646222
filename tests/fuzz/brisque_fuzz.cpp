// SPDX-License-Identifier: Apache-2.0
// OpenCV's two BRISQUE files from any bytes: the model, a zero byte, the range.
#include "base/check.h"
#include "quality/natural/brisque.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::size_t middle = text.find('\0');
    const auto model = plimsoll::quality::parse_brisque_model(
        text.substr(0, middle),
        middle == std::string_view::npos ? std::string_view{} : text.substr(middle + 1));
    if (model)
        CHECK(model->support_vectors.size() == model->weights.size());
    else
        CHECK(!model.error().message.empty());
    return 0;
}
