// SPDX-License-Identifier: Apache-2.0
//
// ByteReader: a forward cursor over a part of a ByteSource that reads ahead in blocks, so that a
// header in front of gigabytes of weights costs a few blocks. Private to this folder.
#pragma once
#include "base/byte_source.h"
#include "base/error.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

class ByteReader {
  public:
    // Reads [begin, end) of the source; `limit_bytes` is how many bytes may be taken at all.
    ByteReader(ByteSource& source, std::uint64_t begin, std::uint64_t end,
               std::uint64_t limit_bytes)
        : source_(source), begin_(begin), at_(begin), end_(end), limit_bytes_(limit_bytes) {}

    [[nodiscard]] std::uint64_t position() const { return at_; }
    [[nodiscard]] std::uint64_t left() const { return end_ - at_; }

    // The next `count` bytes; the view holds until the next call. Corrupt at the end, LimitExceeded
    // beyond the limit.
    [[nodiscard]] Result<std::string_view> take(std::uint64_t count);
    // Passes over bytes without reading them; they count towards the limit.
    [[nodiscard]] Result<void> skip(std::uint64_t count);
    // Up to and without the next '\n', which is passed. At most `count_max` bytes.
    [[nodiscard]] Result<std::string> take_line(std::uint64_t count_max);

    // Little-endian.
    template <class Integer>
    [[nodiscard]] Result<Integer> take_integer() {
        TRY_ASSIGN(const std::string_view bytes, take(sizeof(Integer)));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(Integer); ++i)
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        return static_cast<Integer>(value);
    }

  private:
    static constexpr std::uint64_t kBlockBytes = 256ULL << 10U;  // chosen: one disk read-ahead

    [[nodiscard]] Result<void> check(std::uint64_t count) const;

    ByteSource& source_;
    std::uint64_t begin_;
    std::uint64_t at_;
    std::uint64_t end_;
    std::uint64_t limit_bytes_;
    std::vector<std::byte> block_;
    std::uint64_t block_at_ = 0;  // of block_'s first byte in the source
};

}  // namespace plimsoll::modelfile
