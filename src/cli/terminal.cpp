// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>

namespace plimsoll::cli {

namespace {

// Another screen, no cursor, no line breaks of its own; and back.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J\x1b[H";
constexpr std::string_view kLeave = "\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l";

// What signal handlers need. One Terminal in a process.
struct Shared {
    int in = -1;
    int out = -1;
    termios before{};
    volatile std::sig_atomic_t entered = 0;
    volatile std::sig_atomic_t ending = 0;
};
Shared shared;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): handlers see no other

// Only calls that a signal handler may make.
void leave() {
    if (shared.entered == 0) return;
    shared.entered = 0;
    (void)!::write(shared.out, kLeave.data(), kLeave.size());
    ::tcsetattr(shared.in, TCSADRAIN, &shared.before);
}

void note_end(int signal) {
    if (shared.ending != 0) {  // the second one: at once
        leave();
        std::signal(signal, SIG_DFL);
        std::raise(signal);
        return;
    }
    shared.ending = 1;
}

void die_restored(int signal) {
    leave();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

void note_nothing(int /*signal*/) {}

constexpr std::array kEndings{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
constexpr std::array kCrashes{SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

void on(int signal, void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;  // NOLINT(cppcoreguidelines-pro-type-union-access)
    sigemptyset(&action.sa_mask);
    action.sa_flags = 0;  // no SA_RESTART: a wait returns
    ::sigaction(signal, &action, nullptr);
}

void enter() {
    termios raw = shared.before;
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | ISIG | IEXTEN);
    raw.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    shared.entered = 1;
    ::tcsetattr(shared.in, TCSADRAIN, &raw);
    (void)!::write(shared.out, kEnter.data(), kEnter.size());
}

struct Sequence {
    std::string_view bytes;
    Key key;
};
constexpr std::array kSequences{
    Sequence{"\x1b[A", Key::Up},      Sequence{"\x1b[B", Key::Down},
    Sequence{"\x1bOA", Key::Up},      Sequence{"\x1bOB", Key::Down},
    Sequence{"\x1b[5~", Key::PageUp}, Sequence{"\x1b[6~", Key::PageDown},
    Sequence{"\x1b[H", Key::Home},    Sequence{"\x1b[1~", Key::Home},
    Sequence{"\x1bOH", Key::Home},    Sequence{"k", Key::Up},
    Sequence{"j", Key::Down},         Sequence{"q", Key::Quit},
    Sequence{"Q", Key::Quit},         Sequence{"\x03", Key::Quit},  // Ctrl-C
    Sequence{"h", Key::Help},         Sequence{"?", Key::Help},
    Sequence{"\x1a", Key::Stop},  // Ctrl-Z
};

// Bytes of a control sequence that nobody knows here; 0 while it is not whole.
std::size_t sequence_bytes(std::string_view bytes) {
    if (bytes.size() < 2) return 0;
    if (bytes[1] == 'O') return bytes.size() < 3 ? 0 : 3;
    if (bytes[1] != '[') return 1;  // Escape, and another key
    for (std::size_t i = 2; i < bytes.size(); ++i)
        if (bytes[i] >= 0x40 && bytes[i] <= 0x7E) return i + 1;
    return 0;
}

}  // namespace

std::optional<Key> take_key(std::string& bytes) {
    if (bytes.empty()) return std::nullopt;
    for (const Sequence& one : kSequences)
        if (bytes.starts_with(one.bytes)) {
            bytes.erase(0, one.bytes.size());
            return one.key;
        }
    if (bytes.front() != '\x1b') {
        bytes.erase(0, 1);
        return Key::Other;
    }
    const std::size_t whole = sequence_bytes(bytes);
    if (whole == 0) return std::nullopt;
    bytes.erase(0, whole);
    return whole == 1 ? Key::Escape : Key::Other;
}

Result<std::unique_ptr<Terminal>> Terminal::open(std::FILE* in, std::FILE* out) {
    const int in_fd = ::fileno(in);
    const int out_fd = ::fileno(out);
    if (::isatty(in_fd) != 1 || ::isatty(out_fd) != 1 || ::tcgetattr(in_fd, &shared.before) != 0)
        return fail(Errc::InvalidInput, "there is no terminal to draw on");
    shared.in = in_fd;
    shared.out = out_fd;
    shared.ending = 0;
    for (const int signal : kEndings) on(signal, note_end);
    for (const int signal : kCrashes) on(signal, die_restored);
    on(SIGWINCH, note_nothing);  // so that it ends a wait
    std::unique_ptr<Terminal> terminal(new Terminal(in_fd, out_fd));
    enter();
    return terminal;
}

Terminal::~Terminal() {
    leave();
    for (const int signal : kEndings) std::signal(signal, SIG_DFL);
    for (const int signal : kCrashes) std::signal(signal, SIG_DFL);
    std::signal(SIGWINCH, SIG_DFL);
}

FrameSize Terminal::size() const {
    winsize size{};
    if (::ioctl(out_, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
    return {size.ws_col, size.ws_row};
}

bool Terminal::is_ending() const {
    return gone_ || shared.ending != 0;
}

std::optional<Key> Terminal::read_key(std::chrono::milliseconds wait) {
    if (auto key = take_key(keys_)) return key;
    pollfd look{.fd = in_, .events = POLLIN, .revents = 0};
    if (::poll(&look, 1, static_cast<int>(wait.count())) <= 0) {
        // An Escape that nothing follows is the key itself.
        const bool is_escape = keys_ == "\x1b";
        keys_.clear();
        return is_escape ? std::optional(Key::Escape) : std::nullopt;
    }
    std::array<char, 256> bytes{};
    const ssize_t count = ::read(in_, bytes.data(), bytes.size());
    if (count > 0)
        keys_.append(bytes.data(), static_cast<std::size_t>(count));
    else if (count == 0 || errno != EINTR)
        gone_ = true;
    return take_key(keys_);
}

Result<void> Terminal::write_all(const std::string& bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count = ::write(out_, bytes.data() + done, bytes.size() - done);
        if (count > 0) {
            done += static_cast<std::size_t>(count);
        } else if (errno != EINTR && errno != EAGAIN) {
            gone_ = true;
            return fail(Errc::Unavailable, fmt::format("the terminal is gone: {}",
                                                       std::generic_category().message(errno)));
        }
    }
    return {};
}

Result<void> Terminal::show(const std::vector<std::string>& rows) {
    const FrameSize now = size();
    const bool anew = now != shown_size_;
    // As one picture, where the terminal knows how (synchronized output).
    std::string bytes = "\x1b[?2026h";
    if (anew) bytes += "\x1b[0m\x1b[2J";
    const std::size_t count = std::min(rows.size(), now.rows);
    for (std::size_t i = 0; i < count; ++i) {
        if (!anew && i < shown_.size() && shown_[i] == rows[i]) continue;
        bytes += fmt::format("\x1b[{};1H{}\x1b[0m\x1b[K", i + 1, rows[i]);
    }
    if (!anew && count < shown_.size()) bytes += fmt::format("\x1b[{};1H\x1b[J", count + 1);
    bytes += "\x1b[?2026l";
    TRY_DO(write_all(bytes));
    shown_.assign(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count));
    shown_size_ = now;
    return {};
}

void Terminal::stop() {
    leave();
    std::raise(SIGSTOP);
    shown_size_ = {0, 0};  // everything is drawn again
    enter();
}

}  // namespace plimsoll::cli
