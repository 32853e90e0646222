// SPDX-License-Identifier: Apache-2.0
#include "workflow/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

namespace plimsoll::workflow {
namespace {

constexpr std::size_t kChunkBytes = 1ULL << 16U;
constexpr int kGzipWindow = MAX_WBITS + 16;  // zlib's way to say: a gzip header

// zlib's stream, closed at the end.
class Inflater {
  public:
    Inflater() : is_open_(inflateInit2(&stream_, kGzipWindow) == Z_OK) {}
    ~Inflater() {
        if (is_open_) inflateEnd(&stream_);
    }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;
    [[nodiscard]] bool is_open() const { return is_open_; }
    z_stream& stream() { return stream_; }

  private:
    z_stream stream_{};
    bool is_open_;
};

}  // namespace

bool is_gzip(std::string_view bytes) {
    return bytes.starts_with("\x1F\x8B");
}

Result<std::string> inflate_gzip(std::string_view bytes, std::size_t bytes_max) {
    Inflater inflater;
    if (!inflater.is_open()) return fail(Errc::Internal, "zlib cannot be started");
    z_stream& stream = inflater.stream();
    std::array<char, kChunkBytes> chunk{};
    std::string out;
    while (true) {
        if (stream.avail_in == 0) {
            const std::size_t count =
                std::min<std::size_t>(bytes.size(), std::numeric_limits<uInt>::max());
            // zlib only reads from it.
            stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
            stream.avail_in = static_cast<uInt>(count);
            bytes.remove_prefix(count);
        }
        stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
        stream.avail_out = static_cast<uInt>(chunk.size());
        const int state = inflate(&stream, Z_NO_FLUSH);
        out.append(chunk.data(), chunk.size() - stream.avail_out);
        if (out.size() > bytes_max)
            return fail(Errc::LimitExceeded,
                        fmt::format("more than {} bytes once decompressed", bytes_max));
        if (state == Z_STREAM_END) return out;
        if (state != Z_OK || (stream.avail_in == 0 && bytes.empty() && stream.avail_out > 0))
            return fail(Errc::Corrupt, "the gzip data are broken or end early");
    }
}

}  // namespace plimsoll::workflow
