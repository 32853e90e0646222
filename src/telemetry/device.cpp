// SPDX-License-Identifier: Apache-2.0
#include "telemetry/device.h"

#include "base/text.h"

#include <fmt/format.h>

#include <charconv>

namespace plimsoll::telemetry {

namespace {

std::optional<std::uint32_t> parse_hex(std::string_view text, std::size_t digits_max) {
    if (text.empty() || text.size() > digits_max) return std::nullopt;
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

std::string PciAddress::text() const {
    return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function);
}

std::optional<PciAddress> PciAddress::parse(std::string_view text) {
    const std::vector<std::string_view> parts = split(text, ':');
    if (parts.size() != 3) return std::nullopt;
    const std::vector<std::string_view> last = split(parts[2], '.');
    if (last.size() != 2) return std::nullopt;
    const auto domain = parse_hex(parts[0], 8);
    const auto bus = parse_hex(parts[1], 2);
    const auto device = parse_hex(last[0], 2);
    const auto function = parse_hex(last[1], 1);
    if (!domain || !bus || !device || !function || *device > 0x1f || *function > 7)
        return std::nullopt;
    return PciAddress{.domain = *domain,
                      .bus = static_cast<std::uint8_t>(*bus),
                      .device = static_cast<std::uint8_t>(*device),
                      .function = static_cast<std::uint8_t>(*function)};
}

}  // namespace plimsoll::telemetry
