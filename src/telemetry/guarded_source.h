// SPDX-License-Identifier: Apache-2.0
//
// GuardedSource: a source whose driver may hang (a card that falls off the bus takes the calling
// thread with it, and no signal frees it). Calls run in a thread of its own; one that is late by
// the deadline is answered with an error, and nothing more is asked until it comes back.
//
// Threads: any; calls wait for each other.
#pragma once
#include "telemetry/device_source.h"

#include <chrono>
#include <functional>
#include <memory>

namespace plimsoll::telemetry {

class GuardedSource final : public DeviceSource {
  public:
    // A thousand times the dearest call in its reports (4.5 ms), and less than a person waits.
    static constexpr std::chrono::milliseconds kDeadline{2000};

    explicit GuardedSource(std::unique_ptr<DeviceSource> inner,
                           std::chrono::milliseconds deadline = kDeadline);
    // A hung call keeps its thread and `inner`; neither is waited for.
    ~GuardedSource() override;
    GuardedSource(const GuardedSource&) = delete;
    GuardedSource& operator=(const GuardedSource&) = delete;

    // All fail with Unavailable where the driver does not answer.
    [[nodiscard]] Result<std::vector<Device>> list() override;
    [[nodiscard]] Result<DeviceSample> sample(std::string_view id, Attention attention) override;
    [[nodiscard]] Result<std::vector<Holder>> list_holders(std::string_view id) override;

  private:
    struct Shared;
    template <class T>
    Result<T> ask(std::function<Result<T>(DeviceSource&)> question);

    std::shared_ptr<Shared> shared_;
    std::chrono::milliseconds deadline_;
};

}  // namespace plimsoll::telemetry
