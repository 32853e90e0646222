// SPDX-License-Identifier: Apache-2.0
#include "simulator/server/inflate.h"

#include "base/text.h"

#include <fmt/format.h>
#include <zlib.h>

#include <array>

namespace plimsoll::simulator {

Result<std::string> inflate_body(std::string_view packed, std::string_view encoding,
                                 std::uint64_t bytes_max) {
    const std::string name = to_lower_ascii(trim(encoding));
    if (name == "identity") return std::string(packed);
    if (name != "gzip" && name != "deflate")
        return fail(Errc::InvalidInput, fmt::format("content encoding '{}' is not known", name));
    z_stream stream{};
    // 32: zlib and gzip headers are told apart by themselves.
    if (inflateInit2(&stream, 32 + MAX_WBITS) != Z_OK) return fail(Errc::Internal, "no memory");
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    std::string text;
    std::array<char, 16 << 10> piece{};
    int state = Z_OK;
    while (state == Z_OK && text.size() <= bytes_max) {
        stream.next_out = reinterpret_cast<Bytef*>(piece.data());
        stream.avail_out = static_cast<uInt>(piece.size());
        state = inflate(&stream, Z_NO_FLUSH);
        text.append(piece.data(), piece.size() - stream.avail_out);
    }
    inflateEnd(&stream);
    if (text.size() > bytes_max)
        return fail(Errc::LimitExceeded, fmt::format("body over the limit of {} bytes", bytes_max));
    if (state != Z_STREAM_END) return fail(Errc::Corrupt, "the compressed body is broken");
    return text;
}

}  // namespace plimsoll::simulator
