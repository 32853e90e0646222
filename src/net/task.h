// SPDX-License-Identifier: Apache-2.0
//
// Task<T>: a coroutine of the network folder. It runs on the strand of the connection that it
// serves, takes its parameters by value (or from an object that outlives it), and holds no lock
// while it waits.
#pragma once
#include <boost/asio/awaitable.hpp>

namespace plimsoll::net {

template <class T>
using Task = boost::asio::awaitable<T>;

}  // namespace plimsoll::net
