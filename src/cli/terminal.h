// SPDX-License-Identifier: Apache-2.0
//
// A terminal that one command has to itself: another screen than the shell's, keys one by one, the
// size as it changes. However the process ends, short of SIGKILL, the terminal is given back as it
// was: also by a signal, and while it is stopped (Ctrl-Z).
//
// Enters through: a terminal.   Leaves through: the same.   Threads: one Terminal in a process, one
// thread.
#pragma once
#include "base/error.h"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::cli {

struct FrameSize {
    std::size_t columns = 80;
    std::size_t rows = 24;
    bool operator==(const FrameSize&) const = default;
};

enum class Key : std::uint8_t { Quit, Up, Down, PageUp, PageDown, Home, Help, Escape, Stop, Other };

// The first key in `bytes`, taken off; nullopt where there is only the beginning of one.
[[nodiscard]] std::optional<Key> take_key(std::string& bytes);

class Terminal {
  public:
    // InvalidInput where `in` or `out` is no terminal.
    [[nodiscard]] static Result<std::unique_ptr<Terminal>> open(std::FILE* in, std::FILE* out);
    ~Terminal();
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    // As the window is now.
    [[nodiscard]] FrameSize size() const;
    // A signal asked the process to end.
    [[nodiscard]] bool is_ending() const;
    // A key, or nullopt when none came in time. Returns early when the window changes.
    [[nodiscard]] std::optional<Key> read_key(std::chrono::milliseconds wait);
    // Only rows that changed are written. Unavailable once nobody is there to see them.
    [[nodiscard]] Result<void> show(const std::vector<std::string>& rows);
    // Gives the terminal back and stops as the shell expects it; returns once it goes on.
    void stop();

  private:
    Terminal(int in, int out) : in_(in), out_(out) {}
    Result<void> write_all(const std::string& bytes);

    int in_;
    int out_;
    std::string keys_;                // bytes that are no whole key yet
    bool gone_ = false;               // the other side was closed
    std::vector<std::string> shown_;  // rows on the screen
    FrameSize shown_size_{0, 0};
};

}  // namespace plimsoll::cli
