// SPDX-License-Identifier: Apache-2.0
#include "daemon/restart_command.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace plimsoll::daemon {

std::function<Result<void>()> restart_by_command(std::string command) {
    if (command.empty()) return nullptr;
    return [command = std::move(command)]() -> Result<void> {
        // The shell that is waited for only starts the one that stays: nothing is left to reap.
        std::string script = "/bin/sh -c \"$0\" </dev/null &";
        std::string shell = "/bin/sh";
        std::string flag = "-c";
        std::string own = command;
        std::array<char*, 5> arguments{shell.data(), flag.data(), script.data(), own.data(),
                                       nullptr};
        posix_spawnattr_t attributes{};
        ::posix_spawnattr_init(&attributes);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
        pid_t child = 0;
        const int error =
            ::posix_spawn(&child, shell.c_str(), nullptr, &attributes, arguments.data(), environ);
        ::posix_spawnattr_destroy(&attributes);
        if (error != 0)
            return fail(Errc::Unavailable, fmt::format("comfyui_restart: /bin/sh cannot be run: {}",
                                                       std::strerror(error)));
        int status = 0;
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        return {};
    };
}

}  // namespace plimsoll::daemon
