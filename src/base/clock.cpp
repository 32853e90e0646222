// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

namespace plimsoll {
namespace {

class SystemClock final : public Clock {
  public:
    [[nodiscard]] std::chrono::nanoseconds steady() const override {
        return std::chrono::steady_clock::now().time_since_epoch();
    }
    [[nodiscard]] std::int64_t unix_ms() const override {
        using std::chrono::milliseconds;
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        return std::chrono::duration_cast<milliseconds>(now).count();
    }
};

}  // namespace

const Clock& system_clock() {
    static const SystemClock clock;
    return clock;
}

}  // namespace plimsoll
