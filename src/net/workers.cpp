// SPDX-License-Identifier: Apache-2.0
#include "net/workers.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <utility>

namespace plimsoll::net {

namespace {

namespace asio = boost::asio;

class PoolWorkers final : public Workers {
  public:
    PoolWorkers(int threads, std::size_t waiting_max)
        : most_(waiting_max + static_cast<std::size_t>(threads)),
          pool_(static_cast<std::size_t>(threads)) {}
    ~PoolWorkers() override { pool_.join(); }
    PoolWorkers(const PoolWorkers&) = delete;
    PoolWorkers& operator=(const PoolWorkers&) = delete;

    Task<bool> run(std::function<void()> work) override {
        if (in_hand_.fetch_add(1) >= most_) {
            in_hand_.fetch_sub(1);
            co_return false;
        }
        co_await asio::async_initiate<decltype(asio::use_awaitable), void()>(
            [this](auto handler, std::function<void()> what) {
                asio::post(pool_,
                           [this, what = std::move(what), handler = std::move(handler)]() mutable {
                               what();
                               in_hand_.fetch_sub(1);
                               auto executor = asio::get_associated_executor(handler);
                               asio::post(executor, std::move(handler));
                           });
            },
            asio::use_awaitable, std::move(work));
        co_return true;
    }

  private:
    std::size_t most_;
    std::atomic<std::size_t> in_hand_ = 0;
    asio::thread_pool pool_;
};

}  // namespace

std::unique_ptr<Workers> Workers::create(int threads, std::size_t waiting_max) {
    return std::make_unique<PoolWorkers>(threads, waiting_max);
}

}  // namespace plimsoll::net
