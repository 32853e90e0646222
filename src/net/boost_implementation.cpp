// SPDX-License-Identifier: Apache-2.0
//
// The bodies of Boost.Asio and Boost.Beast, compiled once for the whole program
// (BOOST_ASIO_SEPARATE_COMPILATION): no other file may include these two.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
