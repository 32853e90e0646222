// SPDX-License-Identifier: Apache-2.0
//
// Bytes and Millis: quantities that must not be mixed up. Text says MiB or GiB, always by 1024
// (ComfyUI prints "MB" and means MiB). Plain values, no shared state.
#pragma once
#include <compare>
#include <cstdint>
#include <string>

namespace plimsoll {

// A number of bytes, signed so that differences are values too. Never overflows on real memory
// sizes.
struct Bytes {
    std::int64_t count = 0;

    constexpr Bytes() = default;
    constexpr explicit Bytes(std::int64_t n) : count(n) {}

    static constexpr Bytes from_mib(double mib) {
        return Bytes(static_cast<std::int64_t>(mib * 1048576.0));
    }
    static constexpr Bytes from_gib(double gib) { return from_mib(gib * 1024.0); }

    [[nodiscard]] constexpr double mib() const { return static_cast<double>(count) / 1048576.0; }
    [[nodiscard]] constexpr double gib() const { return static_cast<double>(count) / 1073741824.0; }

    constexpr auto operator<=>(const Bytes&) const = default;
    constexpr Bytes& operator+=(Bytes other) {
        count += other.count;
        return *this;
    }
    constexpr Bytes& operator-=(Bytes other) {
        count -= other.count;
        return *this;
    }
    friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.count + b.count); }
    friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.count - b.count); }
    friend constexpr Bytes operator*(Bytes a, std::int64_t k) { return Bytes(a.count * k); }
    friend constexpr Bytes operator*(std::int64_t k, Bytes a) { return a * k; }
};

// A duration in milliseconds as configuration and wire formats carry it.
struct Millis {
    std::int64_t count = 0;
    constexpr Millis() = default;
    constexpr explicit Millis(std::int64_t n) : count(n) {}
    constexpr auto operator<=>(const Millis&) const = default;
    [[nodiscard]] constexpr double seconds() const { return static_cast<double>(count) / 1000.0; }
};

// "4352 MiB", one form everywhere. One decimal below 100 MiB ("3.1 MiB").
[[nodiscard]] std::string to_text(Bytes bytes);
// "1.25 GiB", two decimals, for prices of changes.
[[nodiscard]] std::string to_gib_text(Bytes bytes);
// "0.42 s", "18.3 s", "4 min 05 s".
[[nodiscard]] std::string seconds_text(double seconds);

}  // namespace plimsoll
