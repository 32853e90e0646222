// SPDX-License-Identifier: Apache-2.0
#include "telemetry/guarded_source.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace plimsoll::telemetry {

// What the caller and the driver's thread share. The thread owns it too, so that one that hangs for
// ever touches nothing that is gone.
struct GuardedSource::Shared {
    explicit Shared(std::unique_ptr<DeviceSource> source) : inner(std::move(source)) {}

    std::unique_ptr<DeviceSource> inner;  // used by the thread alone
    std::mutex callers;                   // one question at a time
    std::mutex mutex;                     // guards what follows
    std::condition_variable changed;
    std::function<void(DeviceSource&)> question;
    bool busy = false;  // from the question until its answer, in time or not
    bool stopping = false;

    static void run(const std::shared_ptr<Shared>& shared) {
        std::unique_lock lock(shared->mutex);
        while (true) {
            shared->changed.wait(lock, [&] { return shared->stopping || shared->question; });
            if (shared->stopping) return;
            const auto question = std::exchange(shared->question, nullptr);
            lock.unlock();
            question(*shared->inner);
            lock.lock();
            shared->busy = false;
            shared->changed.notify_all();
        }
    }
};

GuardedSource::GuardedSource(std::unique_ptr<DeviceSource> inner,
                             std::chrono::milliseconds deadline)
    : shared_(std::make_shared<Shared>(std::move(inner))), deadline_(deadline) {
    // Detached: one that hangs in the driver cannot be joined.
    std::thread([shared = shared_] { Shared::run(shared); }).detach();
}

GuardedSource::~GuardedSource() {
    std::unique_lock lock(shared_->mutex);
    shared_->stopping = true;
    shared_->changed.notify_all();
}

template <class T>
Result<T> GuardedSource::ask(std::function<Result<T>(DeviceSource&)> question) {
    const std::lock_guard one(shared_->callers);
    auto answer = std::make_shared<std::optional<Result<T>>>();
    std::unique_lock lock(shared_->mutex);
    const auto late = [&] {
        return fail(Errc::Unavailable,
                    fmt::format("the graphics driver has not answered for {} ms; the card may have "
                                "fallen off the bus",
                                deadline_.count()));
    };
    if (shared_->busy) return late();  // still in an earlier call
    shared_->busy = true;
    shared_->question = [answer, question = std::move(question)](DeviceSource& source) {
        answer->emplace(question(source));
    };
    shared_->changed.notify_all();
    if (!shared_->changed.wait_for(lock, deadline_, [&] { return !shared_->busy; })) return late();
    return std::move(**answer);
}

Result<std::vector<Device>> GuardedSource::list() {
    return ask<std::vector<Device>>([](DeviceSource& source) { return source.list(); });
}

Result<DeviceSample> GuardedSource::sample(std::string_view id, Attention attention) {
    return ask<DeviceSample>([id = std::string(id), attention](DeviceSource& source) {
        return source.sample(id, attention);
    });
}

Result<std::vector<Holder>> GuardedSource::list_holders(std::string_view id) {
    return ask<std::vector<Holder>>(
        [id = std::string(id)](DeviceSource& source) { return source.list_holders(id); });
}

}  // namespace plimsoll::telemetry
