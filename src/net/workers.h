// SPDX-License-Identifier: Apache-2.0
//
// Threads for work that a connection must not wait in: files, databases, calls of other servers. A
// handler awaits it and goes on on its own strand.
//
// Threads: any. What is passed to `run` runs on one of the workers.
#pragma once
#include "net/task.h"

#include <cstddef>
#include <functional>
#include <memory>

namespace plimsoll::net {

class Workers {
  public:
    // `waiting_max`: jobs that may wait for a free thread.
    [[nodiscard]] static std::unique_ptr<Workers> create(int threads, std::size_t waiting_max);
    // Lets what runs end, drops what waits. Not from a worker.
    virtual ~Workers() = default;

    // False, with nothing run, when too many wait already or the workers stop. `work` must not
    // throw; what it refers to stays until the task is done.
    [[nodiscard]] virtual Task<bool> run(std::function<void()> work) = 0;
};

}  // namespace plimsoll::net
