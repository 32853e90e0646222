// SPDX-License-Identifier: Apache-2.0
#include "modelfile/byte_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace plimsoll::modelfile {

Result<void> ByteReader::check(std::uint64_t count) const {
    if (count > left())
        return fail(Errc::Corrupt, fmt::format("header ends at byte {}, {} more were expected",
                                               end_, count - left()));
    if (count > limit_bytes_ - (at_ - begin_))
        return fail(Errc::LimitExceeded,
                    fmt::format("header is longer than {} bytes", limit_bytes_));
    return {};
}

Result<std::string_view> ByteReader::take(std::uint64_t count) {
    TRY_DO(check(count));
    const bool is_inside = at_ >= block_at_ && at_ + count <= block_at_ + block_.size();
    if (!is_inside) {
        block_.resize(std::min(std::max(count, kBlockBytes), left()));
        block_at_ = at_;
        if (Result<void> read = source_.read_at(at_, block_); !read) {
            block_.clear();
            return std::unexpected(read.error());
        }
    }
    const auto* bytes = reinterpret_cast<const char*>(block_.data()) + (at_ - block_at_);
    at_ += count;
    return std::string_view(bytes, count);
}

Result<void> ByteReader::skip(std::uint64_t count) {
    TRY_DO(check(count));
    at_ += count;
    return {};
}

Result<std::string> ByteReader::take_line(std::uint64_t count_max) {
    std::string line;
    for (;;) {
        TRY_ASSIGN(const std::string_view byte, take(1));
        if (byte[0] == '\n') return line;
        if (line.size() == count_max)
            return fail(Errc::LimitExceeded,
                        fmt::format("a line is longer than {} bytes", count_max));
        line += byte[0];
    }
}

}  // namespace plimsoll::modelfile
