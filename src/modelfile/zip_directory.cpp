// SPDX-License-Identifier: Apache-2.0
#include "modelfile/zip_directory.h"

#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>

namespace plimsoll::modelfile {
namespace {

// Signatures and field offsets: PKWARE APPNOTE 6.3.9, 4.3.
constexpr std::uint64_t kEndSignature = 0x06054b50;
constexpr std::uint64_t kEnd64Signature = 0x06064b50;
constexpr std::uint64_t kLocator64Signature = 0x07064b50;
constexpr std::uint64_t kEntrySignature = 0x02014b50;
constexpr std::uint64_t kLocalSignature = 0x04034b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kCommentBytesMax = 65535;
constexpr std::uint64_t kNarrow32 = 0xffffffff;             // "look into the zip64 field"
constexpr std::uint64_t kDirectoryBytesMax = 64ULL << 20U;  // chosen: 500,000 entries of 128 bytes

// Little-endian field of `count` bytes; the caller has checked the length.
std::uint64_t field(std::string_view bytes, std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
        value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    return value;
}

Result<std::string> read_string(ByteSource& source, std::uint64_t offset, std::uint64_t count) {
    if (offset > source.size_bytes() || count > source.size_bytes() - offset)
        return fail(Errc::Corrupt, fmt::format("zip archive points to byte {}, it has {}", offset,
                                               source.size_bytes()));
    std::string bytes(count, '\0');
    TRY_DO(source.read_at(offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
}

struct Directory {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t entries = 0;
};

Result<Directory> find_directory(ByteSource& source) {
    const std::uint64_t size = source.size_bytes();
    const std::uint64_t tail_bytes = std::min<std::uint64_t>(size, kEndBytes + kCommentBytesMax);
    TRY_ASSIGN(const std::string tail, read_string(source, size - tail_bytes, tail_bytes));
    std::optional<std::size_t> end;
    for (std::size_t at = tail.size() < kEndBytes ? 0 : tail.size() - kEndBytes + 1;
         at-- > 0 && !end;)
        if (field(tail, at, 4) == kEndSignature) end = at;
    if (!end) return fail(Errc::Corrupt, "zip archive has no directory at its end; truncated?");
    Directory directory{field(tail, *end + 16, 4), field(tail, *end + 12, 4),
                        field(tail, *end + 10, 2)};

    const std::uint64_t end_offset = size - tail_bytes + *end;
    if (end_offset >= kLocator64Bytes) {
        TRY_ASSIGN(const std::string locator,
                   read_string(source, end_offset - kLocator64Bytes, kLocator64Bytes));
        if (field(locator, 0, 4) == kLocator64Signature) {
            TRY_ASSIGN(const std::string end64,
                       read_string(source, field(locator, 8, 8), kEnd64Bytes));
            if (field(end64, 0, 4) != kEnd64Signature)
                return fail(Errc::Corrupt, "zip64 directory has a wrong signature");
            directory = {field(end64, 48, 8), field(end64, 40, 8), field(end64, 32, 8)};
        }
    }
    if (directory.bytes > kDirectoryBytesMax)
        return fail(Errc::LimitExceeded, fmt::format("zip directory claims {} bytes, limit {}",
                                                     directory.bytes, kDirectoryBytesMax));
    return directory;
}

// Sizes and offset beyond 32 bits stand in the extra field 1, in this order, and only those that
// did not fit.
Result<void> widen(std::string_view extra, ZipEntry& entry, std::uint64_t packed_bytes) {
    const bool is_wide =
        entry.bytes == kNarrow32 || packed_bytes == kNarrow32 || entry.header_offset == kNarrow32;
    while (is_wide && extra.size() >= 4) {
        const std::size_t length = field(extra, 2, 2);
        if (length > extra.size() - 4) break;
        std::string_view body = extra.substr(4, length);
        if (field(extra, 0, 2) == 1) {
            for (std::uint64_t* value : {&entry.bytes, &packed_bytes, &entry.header_offset}) {
                if (*value != kNarrow32) continue;
                if (body.size() < 8) return fail(Errc::Corrupt, "zip64 field is too short");
                *value = field(body, 0, 8);
                body.remove_prefix(8);
            }
            return {};
        }
        extra.remove_prefix(4 + length);
    }
    return {};
}

}  // namespace

Result<std::vector<ZipEntry>> read_zip_directory(ByteSource& source) {
    TRY_ASSIGN(const Directory directory, find_directory(source));
    TRY_ASSIGN(const std::string bytes, read_string(source, directory.offset, directory.bytes));
    std::vector<ZipEntry> entries;
    std::string_view rest = bytes;
    for (std::uint64_t n = 0; n < directory.entries; ++n) {
        if (entries.size() == kTensorsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("zip archive has more than {} entries", kTensorsMax));
        if (rest.size() < kEntryBytes || field(rest, 0, 4) != kEntrySignature)
            return fail(Errc::Corrupt,
                        fmt::format("zip directory breaks off after {} of {} entries", n,
                                    directory.entries));
        const std::size_t name_bytes = field(rest, 28, 2);
        const std::size_t extra_bytes = field(rest, 30, 2);
        const std::size_t whole = kEntryBytes + name_bytes + extra_bytes + field(rest, 32, 2);
        if (whole > rest.size())
            return fail(Errc::Corrupt, "zip directory entry reaches beyond the directory");
        ZipEntry entry{std::string(rest.substr(kEntryBytes, name_bytes)), field(rest, 42, 4),
                       field(rest, 24, 4), field(rest, 10, 2) == 0};
        TRY_DO(
            widen(rest.substr(kEntryBytes + name_bytes, extra_bytes), entry, field(rest, 20, 4)));
        entries.push_back(std::move(entry));
        rest.remove_prefix(whole);
    }
    return entries;
}

Result<std::uint64_t> find_zip_content(ByteSource& source, const ZipEntry& entry) {
    if (!entry.is_stored)
        return fail(
            Errc::InvalidInput,
            fmt::format("{} is compressed; torch.save stores its entries", shown_name(entry.name)));
    TRY_ASSIGN(const std::string local, read_string(source, entry.header_offset, kLocalBytes));
    if (field(local, 0, 4) != kLocalSignature)
        return fail(Errc::Corrupt, fmt::format("{} has no local header", shown_name(entry.name)));
    const std::uint64_t begin =
        entry.header_offset + kLocalBytes + field(local, 26, 2) + field(local, 28, 2);
    if (begin > source.size_bytes() || entry.bytes > source.size_bytes() - begin)
        return fail(Errc::Corrupt, fmt::format("{} claims {} bytes, which reach beyond the file",
                                               shown_name(entry.name), entry.bytes));
    return begin;
}

}  // namespace plimsoll::modelfile
