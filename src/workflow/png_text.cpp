// SPDX-License-Identifier: Apache-2.0
#include "workflow/png_text.h"

#include "base/say.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr std::array<unsigned char, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::uint32_t kChunkBytesMax = 0x7fffffff;  // PNG specification, 5.3
// Of all texts of ours in a file, before and after decompression. A picture has one of each key; a
// few kilobytes that unpack to the limit again and again would keep us busy for minutes.
constexpr std::size_t kTextBytesMax = kWorkflowBytesMax;
constexpr std::size_t kKeyBytesMax = 79;  // PNG specification, 11.3.4.2
constexpr std::size_t kChunksMax =
    100'000;  // chosen: an 8192 x 8192 picture in 8 KiB IDATs has 25,000

struct Chunk {
    std::string_view type;
    std::string data;
};

std::uint32_t big_endian(const unsigned char* at) {
    return std::uint32_t{at[0]} << 24U | std::uint32_t{at[1]} << 16U | std::uint32_t{at[2]} << 8U |
           at[3];
}

std::unexpected<Error> too_much_text() {
    return fail(Errc::LimitExceeded,
                fmt::format("the texts of this PNG have more than {} bytes", kTextBytesMax));
}

// zlib data to text, at most `bytes_max`.
Result<std::string> inflate_text(std::string_view packed, std::size_t bytes_max) {
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) return fail(Errc::Internal, "zlib cannot start");
    std::string text;
    std::array<char, 16384> block{};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    int status = Z_OK;
    while (status == Z_OK && text.size() <= bytes_max) {
        stream.next_out = reinterpret_cast<Bytef*>(block.data());
        stream.avail_out = static_cast<uInt>(block.size());
        status = inflate(&stream, Z_NO_FLUSH);
        text.append(block.data(), block.size() - stream.avail_out);
    }
    inflateEnd(&stream);
    if (text.size() > bytes_max) return too_much_text();
    if (status != Z_STREAM_END) return fail(Errc::Corrupt, "a compressed text does not unpack");
    return text;
}

// tEXt is Latin-1 by the specification. ComfyUI's JSON escapes everything beyond ASCII; other
// writers put UTF-8 there. So text that is valid UTF-8 is taken as that.
std::string latin1_to_utf8(std::string_view text) {
    if (simdjson::validate_utf8(text.data(), text.size())) return std::string(text);
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out += c;
        } else {
            out += static_cast<char>(0xC0U | (byte >> 6U));
            out += static_cast<char>(0x80U | (byte & 0x3FU));
        }
    }
    return out;
}

Result<std::string> text_of(const Chunk& chunk, std::size_t key_end, std::size_t bytes_max) {
    std::string_view rest = std::string_view(chunk.data).substr(key_end + 1);
    if (chunk.type == "tEXt") return latin1_to_utf8(rest);
    if (chunk.type == "zTXt") {
        if (rest.empty() || rest[0] != 0)
            return fail(Errc::Corrupt, "zTXt has an unknown compression method");
        return inflate_text(rest.substr(1), bytes_max);
    }
    // iTXt: compression flag, method, language, NUL, translated key, NUL, text.
    if (rest.size() < 2) return fail(Errc::Corrupt, "iTXt is too short");
    const bool is_packed = rest[0] != 0;
    if (is_packed && rest[1] != 0)
        return fail(Errc::Corrupt, "iTXt has an unknown compression method");
    rest.remove_prefix(2);
    for (int i = 0; i < 2; ++i) {
        const std::size_t end = rest.find('\0');
        if (end == std::string_view::npos) return fail(Errc::Corrupt, "iTXt is too short");
        rest.remove_prefix(end + 1);
    }
    if (is_packed) return inflate_text(rest, bytes_max);
    return std::string(rest);
}

// The key at the start of a text chunk, without reading the rest.
Result<std::string> read_key(ByteSource& source, std::uint64_t offset, std::string_view type,
                             std::uint32_t length) {
    std::string start(std::min<std::size_t>(length, kKeyBytesMax + 1), '\0');
    TRY_DO(source.read_at(offset, std::as_writable_bytes(std::span(start))));
    const std::size_t end = start.find('\0');
    if (end == std::string::npos) return fail(Errc::Corrupt, fmt::format("{} has no key", type));
    start.resize(end);
    return start;
}

// The text chunks of one file.
class TextReader {
  public:
    explicit TextReader(ByteSource& source) : source_(source) {}

    // Keeps the text of the chunk when its key is one of ours.
    Result<void> read(std::uint64_t offset, std::string_view type, std::uint32_t length) {
        TRY_ASSIGN(const std::string key, read_key(source_, offset, type, length));
        const bool is_prompt = key == "prompt";
        if (!is_prompt && key != "workflow") return {};
        if (length > bytes_left_) return too_much_text();
        TRY_ASSIGN(const Chunk chunk, read_chunk(offset, type, length));
        TRY_ASSIGN(std::string text, text_of(chunk, key.size(), bytes_left_));
        bytes_left_ -= std::min(bytes_left_, std::max<std::size_t>(length, text.size()));
        (is_prompt ? found_.prompt : found_.workflow) = std::move(text);
        return {};
    }

    [[nodiscard]] const EmbeddedWorkflow& found() const { return found_; }

  private:
    Result<Chunk> read_chunk(std::uint64_t offset, std::string_view type, std::uint32_t length) {
        std::string body(std::size_t{length} + 4, '\0');
        TRY_DO(source_.read_at(offset, std::as_writable_bytes(std::span(body))));
        const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
        uLong crc = crc32(0, reinterpret_cast<const Bytef*>(type.data()), 4);
        crc = crc32(crc, bytes, length);
        if (crc != big_endian(bytes + length))
            return fail(Errc::Corrupt, fmt::format("checksum of {} is wrong", type));
        body.resize(length);
        return Chunk{type, std::move(body)};
    }

    ByteSource& source_;
    EmbeddedWorkflow found_;
    std::size_t bytes_left_ = kTextBytesMax;
};

}  // namespace

Result<EmbeddedWorkflow> read_png_workflow(ByteSource& source) {
    const std::uint64_t size = source.size_bytes();
    std::array<unsigned char, 8> signature{};
    if (size < signature.size()) return fail(Errc::Corrupt, fmt::format("no PNG: {} bytes", size));
    TRY_DO(source.read_at(0, std::as_writable_bytes(std::span(signature))));
    if (signature != kSignature) return fail(Errc::Corrupt, say<"error.no_png">());

    TextReader texts(source);
    std::uint64_t offset = signature.size();
    for (std::size_t n = 0; size - offset >= 12; ++n) {
        if (n == kChunksMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("PNG has more than {} chunks", kChunksMax));
        std::array<unsigned char, 8> head{};
        TRY_DO(source.read_at(offset, std::as_writable_bytes(std::span(head))));
        const std::uint32_t length = big_endian(head.data());
        const std::string_view type(reinterpret_cast<const char*>(head.data()) + 4, 4);
        if (length > kChunkBytesMax || std::uint64_t{length} + 12 > size - offset)
            return fail(Errc::Corrupt,
                        fmt::format("a chunk at byte {} claims {} bytes, the file holds {} more",
                                    offset, length, size - offset));
        if (n == 0 && type != "IHDR") return fail(Errc::Corrupt, "PNG does not start with IHDR");
        if (type == "IEND") break;
        if (type == "tEXt" || type == "zTXt" || type == "iTXt")
            TRY_DO(texts.read(offset + 8, type, length));
        offset += std::uint64_t{length} + 12;
    }
    if (!texts.found().prompt && !texts.found().workflow)
        return fail(Errc::NotFound, say<"error.png_bare">());
    return texts.found();
}

}  // namespace plimsoll::workflow
