// SPDX-License-Identifier: Apache-2.0
#include "daemon/notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <system_error>

namespace plimsoll::daemon {

Result<void> notify_service_manager(const std::optional<std::string>& socket,
                                    std::string_view state) {
    if (!socket || socket->empty()) return {};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket->size() >= sizeof address.sun_path)
        return fail(Errc::InvalidInput,
                    fmt::format("NOTIFY_SOCKET has {} characters, {} are allowed", socket->size(),
                                sizeof address.sun_path - 1));
    std::ranges::copy(*socket, address.sun_path);
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const auto failed = [] {
        return fail(Errc::Unavailable, fmt::format("the service manager cannot be told: {}",
                                                   std::generic_category().message(errno)));
    };
    const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    if (descriptor < 0) return failed();
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket->size());
    const ssize_t sent = ::sendto(descriptor, state.data(), state.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&address), length);
    if (sent < 0) {
        auto error = failed();
        ::close(descriptor);
        return error;
    }
    ::close(descriptor);
    return {};
}

std::string reloading_state() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t usec =
        static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
    return fmt::format("RELOADING=1\nMONOTONIC_USEC={}", usec);
}

}  // namespace plimsoll::daemon
