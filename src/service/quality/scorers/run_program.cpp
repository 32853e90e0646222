// SPDX-License-Identifier: Apache-2.0
#include "service/quality/scorers/run_program.h"

#include "base/text.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

namespace plimsoll::service {

namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kLook{50};  // chosen: how soon a stop is noticed
constexpr std::size_t kComplaintBytesMax = std::size_t{16} << 10U;  // the last of standard error
constexpr rlim_t kFileBytesMax = rlim_t{1} << 30U;  // chosen: of any file that it writes
constexpr int kNoProgram = 127;                     // as shells say it

class Handle {
  public:
    explicit Handle(int fd = -1) : fd_(fd) {}
    Handle(Handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Handle& operator=(Handle&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { reset(); }
    void reset() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }
    [[nodiscard]] int get() const { return fd_; }

  private:
    int fd_;
};

std::unexpected<Error> failed(std::string_view what) {
    return fail(Errc::Unavailable, fmt::format("{}: {}", what, std::strerror(errno)));
}

struct Pipe {
    Handle read;
    Handle write;
};
Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("a pipe");
    Pipe out{.read = Handle(ends[0]), .write = Handle(ends[1])};
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return out;
}

// A file in memory instead of a pipe: nobody has to wait for the program to read.
Result<Handle> file_of(std::string_view text) {
    Handle file(::memfd_create("question", MFD_CLOEXEC));
    if (file.get() < 0) return failed("the program's input");
    while (!text.empty()) {
        const ssize_t written = ::write(file.get(), text.data(), text.size());
        if (written <= 0) return failed("the program's input");
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::lseek(file.get(), 0, SEEK_SET) != 0) return failed("the program's input");
    return file;
}

// The daemon's secret is nothing for programs that others wrote.
std::vector<char*> environment_without_secrets() {
    std::vector<char*> out;
    for (char** one = environ; *one != nullptr; ++one)
        if (!std::string_view(*one).starts_with("PLIMSOLL_TOKEN=")) out.push_back(*one);
    out.push_back(nullptr);
    return out;
}

struct Child {
    pid_t pid = -1;
    Handle ended;  // readable once it has
};

struct Prepared {
    std::vector<char*> arguments;
    std::vector<char*> environment;
    std::array<int, 3> streams{};
    rlim_t cpu_seconds = 0;
};

// Between fork and exec in a process with threads: system calls only.
[[noreturn]] void become(const Prepared& prepared) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto limit = [](int what, rlim_t value) {
        const rlimit both{value, value};
        ::setrlimit(static_cast<__rlimit_resource_t>(what), &both);
    };
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, kFileBytesMax);
    limit(RLIMIT_CPU, prepared.cpu_seconds);
    // Whatever this process has open is not for it.
    for (int i = 0; i < 3; ++i) ::dup2(prepared.streams.at(static_cast<std::size_t>(i)), i);
    ::close_range(3, ~0U, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::execvpe(prepared.arguments.front(), prepared.arguments.data(), prepared.environment.data());
    ::_exit(kNoProgram);
}

Result<Child> start(const Prepared& prepared) {
    Child child;
    child.pid = ::fork();
    if (child.pid < 0) return failed("starting the program");
    if (child.pid == 0) become(prepared);
    child.ended = Handle(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0)));
    return child;
}

int reap(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

// What is there now. false: the other end is closed.
bool drain(const Handle& from, std::string& into, std::size_t bytes_max) {
    std::array<char, 4096> bytes{};
    for (;;) {
        const ssize_t count = ::read(from.get(), bytes.data(), bytes.size());
        if (count == 0) return false;
        if (count < 0) return errno == EAGAIN || errno == EINTR;
        into.append(bytes.data(), static_cast<std::size_t>(count));
        if (into.size() > bytes_max) return true;
    }
}

std::string last_line(std::string_view text) {
    text = trim(text);
    return printable(text.substr(text.find_last_of('\n') + 1).substr(0, 200));
}

std::string how_it_ended(int status, std::string_view complaint) {
    std::string out = WIFSIGNALED(status)
                          ? fmt::format("it was ended by signal {}", WTERMSIG(status))
                          : fmt::format("it ended with {}", WEXITSTATUS(status));
    if (const std::string said = last_line(complaint); !said.empty()) out += ": " + said;
    return out;
}

class Watch {
  public:
    Watch(const ProgramRun& run, const Child& child, const Handle& out, const Handle& err)
        : run_(run), child_(child), out_(out), err_(err), until_(Steady::now() + run.deadline) {}

    // Until it has ended by itself.
    Result<void> wait() {
        for (;;) {
            const auto rest = std::chrono::ceil<milliseconds>(until_ - Steady::now());
            if (rest.count() <= 0)
                return fail(Errc::Unavailable,
                            fmt::format("no answer within {:g} s, it was killed",
                                        std::chrono::duration<double>(run_.deadline).count()));
            if (run_.left != nullptr && *run_.left) return fail(Errc::Unavailable, "stopped");
            std::array<pollfd, 3> sources{
                {{.fd = child_.ended.get(), .events = POLLIN, .revents = 0},
                 {.fd = out_open_ ? out_.get() : -1, .events = POLLIN, .revents = 0},
                 {.fd = err_open_ ? err_.get() : -1, .events = POLLIN, .revents = 0}}};
            ::poll(sources.data(), sources.size(), static_cast<int>(std::min(rest, kLook).count()));
            TRY_DO(take());
            if (sources[0].revents != 0) return {};
        }
    }
    Result<void> take() {
        out_open_ = out_open_ && drain(out_, output, run_.output_bytes_max);
        std::string more;
        err_open_ = err_open_ && drain(err_, more, kComplaintBytesMax);
        complaint += more;
        if (complaint.size() > kComplaintBytesMax)
            complaint.erase(0, complaint.size() - kComplaintBytesMax);
        if (output.size() > run_.output_bytes_max)
            return fail(Errc::LimitExceeded,
                        fmt::format("it printed more than {} bytes", run_.output_bytes_max));
        return {};
    }

    std::string output;
    std::string complaint;

  private:
    const ProgramRun& run_;
    const Child& child_;
    const Handle& out_;
    const Handle& err_;
    Steady::time_point until_;
    bool out_open_ = true;
    bool err_open_ = true;
};

}  // namespace

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return out;
}

Result<std::string> run_program(const ProgramRun& run) {
    TRY_ASSIGN(const Handle input, file_of(run.input));
    TRY_ASSIGN(Pipe out, make_pipe());
    TRY_ASSIGN(Pipe err, make_pipe());
    std::vector<std::string> words(run.command.begin(), run.command.end());
    Prepared prepared;
    for (std::string& word : words) prepared.arguments.push_back(word.data());
    prepared.arguments.push_back(nullptr);
    prepared.environment = environment_without_secrets();
    prepared.streams = {input.get(), out.write.get(), err.write.get()};
    // For what leaves its session and so outlives the kill: all cores for twice the deadline.
    const auto cores = std::max<long>(1, ::sysconf(_SC_NPROCESSORS_ONLN));
    prepared.cpu_seconds = static_cast<rlim_t>(
        (2 * std::chrono::ceil<std::chrono::seconds>(run.deadline).count() + 1) * cores);
    TRY_ASSIGN(const Child child, start(prepared));
    out.write.reset();
    err.write.reset();
    Watch watch(run, child, out.read, err.read);
    const Result<void> waited =
        child.ended.get() < 0 ? Result<void>(failed("watching the program")) : watch.wait();
    // Also what it started and left behind. Not reaped yet, so the number is still its own.
    ::kill(-child.pid, SIGKILL);
    ::kill(child.pid, SIGKILL);
    const int status = reap(child.pid);
    if (!waited) return std::unexpected(waited.error());
    TRY_DO(watch.take());
    if (WIFEXITED(status) && WEXITSTATUS(status) == kNoProgram && watch.output.empty() &&
        watch.complaint.empty())
        return fail(Errc::NotFound,
                    fmt::format("there is no program '{}'", printable(words.front())));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return fail(Errc::Unavailable, how_it_ended(status, watch.complaint));
    return std::move(watch.output);
}

}  // namespace plimsoll::service
