// SPDX-License-Identifier: Apache-2.0
//
// Seam: bytes of files enter through ByteSource. Tests use MemorySource, and FailingSource for the
// seam sweep (fail the Nth read for every N until success).
#pragma once
#include "base/error.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace plimsoll {

class ByteSource {
  public:
    virtual ~ByteSource() = default;
    [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
    // Fills all of `into` from `offset`, or fails: Corrupt when the source ends before, Unavailable
    // when reading fails.
    [[nodiscard]] virtual Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) = 0;
    // For messages: the path or a name.
    [[nodiscard]] virtual std::string name() const = 0;
};

// A file on disk, opened for reading. Reads only what is asked for (pread), so the cost does not
// grow with the file.
[[nodiscard]] Result<std::unique_ptr<ByteSource>> open_file(const std::filesystem::path& path);

// Bytes in memory; does not own them.
class MemorySource final : public ByteSource {
  public:
    explicit MemorySource(std::span<const std::byte> bytes, std::string name = "memory")
        : bytes_(bytes), name_(std::move(name)) {}
    [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
    [[nodiscard]] Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) override;
    [[nodiscard]] std::string name() const override { return name_; }

  private:
    std::span<const std::byte> bytes_;
    std::string name_;
};

// Passes reads on to `inner` and fails the Nth (counted from 0) with Unavailable.
class FailingSource final : public ByteSource {
  public:
    FailingSource(ByteSource& inner, int fail_at) : inner_(inner), fail_at_(fail_at) {}
    [[nodiscard]] std::uint64_t size_bytes() const override { return inner_.size_bytes(); }
    [[nodiscard]] Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) override;
    [[nodiscard]] std::string name() const override { return inner_.name(); }
    [[nodiscard]] bool has_failed() const { return reads_ > fail_at_; }

  private:
    ByteSource& inner_;
    int fail_at_;
    int reads_ = 0;
};

// The whole of a small file as text. Fails with LimitExceeded above `limit_bytes`.
[[nodiscard]] Result<std::string> read_text_file(const std::filesystem::path& path,
                                                 std::uint64_t limit_bytes);

// Writes through a temporary file in the same folder, fsync and rename: after a failure (disk full,
// read-only) the old content is still there and no half file is left.
[[nodiscard]] Result<void> write_file_atomically(const std::filesystem::path& path,
                                                 std::span<const std::byte> bytes);

}  // namespace plimsoll
