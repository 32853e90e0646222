// SPDX-License-Identifier: Apache-2.0
// A card's name, and a whole catalogue, from any bytes.
#include "timing/cards.h"

#include "base/check.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace plimsoll;  // NOLINT(google-build-using-namespace): a program of one function
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto card = timing::find_card(text);
    CHECK(card ? *card != nullptr : card.error().code == Errc::NotFound);
    const auto near = timing::find_card(text, Bytes(static_cast<std::int64_t>(size) << 30U));
    CHECK(near.has_value() == card.has_value());
    const auto cards = timing::parse_cards(text);
    CHECK(cards || !cards.error().message.empty());
    if (cards)
        for (const timing::Card& one : *cards) CHECK(one.bandwidth_gbs > 0 && one.fp32_tflops > 0);
    return 0;
}
