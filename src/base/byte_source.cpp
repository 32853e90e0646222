// SPDX-License-Identifier: Apache-2.0
#include "base/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace plimsoll {
namespace {

std::string errno_text(int error) {
    return std::generic_category().message(error);
}

// Owns a file descriptor.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }

  private:
    int fd_;
};

class FileSource final : public ByteSource {
  public:
    FileSource(Descriptor fd, std::uint64_t size, std::string name)
        : fd_(std::move(fd)), size_(size), name_(std::move(name)) {}

    [[nodiscard]] std::uint64_t size_bytes() const override { return size_; }
    [[nodiscard]] std::string name() const override { return name_; }

    [[nodiscard]] Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            const ssize_t got =
                ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
            if (got < 0) {
                if (errno == EINTR) continue;
                return fail(Errc::Unavailable,
                            fmt::format("{}: cannot read: {}", name_, errno_text(errno)));
            }
            if (got == 0)
                return fail(Errc::Corrupt, fmt::format("{}: ends at byte {}, {} more were expected",
                                                       name_, offset, into.size()));
            offset += static_cast<std::uint64_t>(got);
            into = into.subspan(static_cast<std::size_t>(got));
        }
        return {};
    }

  private:
    Descriptor fd_;
    std::uint64_t size_;
    std::string name_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_file(const std::filesystem::path& path) {
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd.get() < 0) {
        const Errc code = errno == ENOENT ? Errc::NotFound : Errc::Unavailable;
        return fail(code, fmt::format("{}: cannot open: {}", path.string(), errno_text(errno)));
    }
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0)
        return fail(Errc::Unavailable,
                    fmt::format("{}: cannot stat: {}", path.string(), errno_text(errno)));
    if (!S_ISREG(status.st_mode))
        return fail(Errc::InvalidInput, fmt::format("{}: is not a regular file", path.string()));
    return std::make_unique<FileSource>(std::move(fd), static_cast<std::uint64_t>(status.st_size),
                                        path.string());
}

Result<void> MemorySource::read_at(std::uint64_t offset, std::span<std::byte> into) {
    if (offset > bytes_.size() || into.size() > bytes_.size() - offset)
        return fail(Errc::Corrupt, fmt::format("{}: ends at byte {}, a read wants {} bytes at {}",
                                               name_, bytes_.size(), into.size(), offset));
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
    return {};
}

Result<void> FailingSource::read_at(std::uint64_t offset, std::span<std::byte> into) {
    if (reads_++ == fail_at_)
        return fail(Errc::Unavailable,
                    fmt::format("{}: read {} failed by design", name(), fail_at_));
    return inner_.read_at(offset, into);
}

Result<std::string> read_text_file(const std::filesystem::path& path, std::uint64_t limit_bytes) {
    TRY_ASSIGN(const auto source, open_file(path));
    if (source->size_bytes() > limit_bytes)
        return fail(Errc::LimitExceeded, fmt::format("{}: has {} bytes, limit {}", path.string(),
                                                     source->size_bytes(), limit_bytes));
    std::string text(source->size_bytes(), '\0');
    TRY_DO(source->read_at(0, std::as_writable_bytes(std::span(text))));
    return text;
}

Result<void> write_file_atomically(const std::filesystem::path& path,
                                   std::span<const std::byte> bytes) {
    std::string temporary = path.string() + ".XXXXXX";
    const Descriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (fd.get() < 0)
        return fail(Errc::Unavailable, fmt::format("{}: cannot create a file beside it: {}",
                                                   path.string(), errno_text(errno)));
    const auto give_up = [&](const char* doing) {
        const int error = errno;
        ::unlink(temporary.c_str());
        return fail(Errc::Unavailable,
                    fmt::format("{}: cannot {}: {} (the previous content is kept)", path.string(),
                                doing, errno_text(error)));
    };
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            return give_up("write");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    if (::fchmod(fd.get(), 0644) != 0) return give_up("set its mode");
    if (::fsync(fd.get()) != 0) return give_up("flush");
    if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up("rename into place");
    return {};
}

}  // namespace plimsoll
