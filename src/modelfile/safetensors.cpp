// SPDX-License-Identifier: Apache-2.0
#include "modelfile/safetensors.h"

#include "modelfile/untrusted.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::modelfile {
namespace {

constexpr std::size_t kMetadataValueBytesMax =
    65536;  // chosen: training notes run to megabytes and nobody asks for them

constexpr std::array<std::pair<std::string_view, DType>, 18> kDTypeNames = {{
    {"F64", DType::Float64},
    {"F32", DType::Float32},
    {"F16", DType::Float16},
    {"BF16", DType::BFloat16},
    {"F8_E4M3", DType::Float8E4M3},
    {"F8_E5M2", DType::Float8E5M2},
    {"F8_E8M0", DType::Float8E8M0},
    {"I64", DType::Int64},
    {"I32", DType::Int32},
    {"I16", DType::Int16},
    {"I8", DType::Int8},
    {"U8", DType::UInt8},
    {"U16", DType::UInt16},
    {"U32", DType::UInt32},
    {"U64", DType::UInt64},
    {"BOOL", DType::Bool},
    {"F4", DType::Float4E2M1},
    {"C64", DType::Complex64},
}};

namespace json = simdjson::ondemand;

struct Placed {
    TensorEntry entry;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

std::unexpected<Error> not_json(simdjson::error_code error) {
    return fail(Errc::Corrupt,
                fmt::format("header is not JSON: {}", simdjson::error_message(error)));
}

// Calls `on_member(name, value)` for each member of an object, in order.
template <class OnMember>
Result<void> for_each_member(json::object& object, OnMember on_member) {
    for (simdjson::simdjson_result<json::field> member : object) {
        if (member.error() != simdjson::SUCCESS) return not_json(member.error());
        std::string_view name;
        if (const auto error = member.unescaped_key().get(name); error != simdjson::SUCCESS)
            return not_json(error);
        TRY_DO(on_member(name, member.value().value_unsafe()));
    }
    return {};
}

Result<Shape> parse_shape(std::string_view name, json::value value) {
    json::array axes;
    if (value.get_array().get(axes) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("shape of {} is not a list", shown_name(name)));
    Shape shape;
    for (simdjson::simdjson_result<json::value> axis : axes) {
        std::int64_t length = 0;
        if (axis.get_int64().get(length) != simdjson::SUCCESS || length < 0)
            return fail(Errc::Corrupt,
                        fmt::format("shape of {} has an axis that is no length", shown_name(name)));
        if (shape.size() == kRankMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("{} has more than {} axes", shown_name(name), kRankMax));
        shape.push_back(length);
    }
    return shape;
}

// [begin, end), both in bytes of the data section.
std::optional<std::pair<std::uint64_t, std::uint64_t>> parse_offsets(json::value value) {
    json::array items;
    if (value.get_array().get(items) != simdjson::SUCCESS) return std::nullopt;
    std::array<std::uint64_t, 2> offsets{};
    std::size_t count = 0;
    for (simdjson::simdjson_result<json::value> item : items) {
        if (count == 2 || item.get_uint64().get(offsets.at(count)) != simdjson::SUCCESS)
            return std::nullopt;
        ++count;
    }
    if (count != 2 || offsets[1] < offsets[0]) return std::nullopt;
    return std::pair(offsets[0], offsets[1]);
}

Result<Placed> parse_entry(std::string_view name, json::value value) {
    if (name.size() > kTensorNameBytesMax)
        return fail(Errc::LimitExceeded, fmt::format("a tensor name has {} bytes, limit {}",
                                                     name.size(), kTensorNameBytesMax));
    json::object fields;
    if (value.get_object().get(fields) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("entry of {} is not an object", shown_name(name)));
    std::optional<DType> dtype;
    std::optional<Shape> shape;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> offsets;
    const auto twice = [&](std::string_view field) {
        return fail(Errc::Corrupt, fmt::format("{} has two {}", shown_name(name), field));
    };
    TRY_DO(for_each_member(fields, [&](std::string_view field, json::value held) -> Result<void> {
        if (field == "dtype") {
            if (dtype) return twice("dtypes");
            std::string_view text;
            if (held.get_string().get(text) != simdjson::SUCCESS)
                return fail(Errc::Corrupt, fmt::format("{} has no dtype", shown_name(name)));
            dtype = parse_safetensors_dtype(text);
            if (!dtype)
                return fail(Errc::Corrupt, fmt::format("{} has the unknown dtype {}",
                                                       shown_name(name), shown_name(text)));
        } else if (field == "shape") {
            if (shape) return twice("shapes");
            TRY_ASSIGN(shape, parse_shape(name, held));
        } else if (field == "data_offsets") {
            if (offsets) return twice("data_offsets");
            offsets = parse_offsets(held);
            if (!offsets)
                return fail(Errc::Corrupt,
                            fmt::format("{} has no valid data_offsets", shown_name(name)));
        }
        return {};
    }));
    if (!dtype || !shape || !offsets)
        return fail(Errc::Corrupt, fmt::format("{} has no {}", shown_name(name),
                                               !dtype   ? "dtype"
                                               : !shape ? "shape"
                                                        : "data_offsets"));

    const std::optional<Bytes> bytes = checked_storage_bytes(*dtype, *shape);
    if (!bytes)
        return fail(Errc::Corrupt, fmt::format("the shape of {} has more than {} elements",
                                               shown_name(name), kTensorElementsMax));
    const auto [begin, end] = *offsets;
    if (static_cast<std::uint64_t>(bytes->count) != end - begin)
        return fail(Errc::Corrupt,
                    fmt::format("{} needs {} bytes by dtype and shape, its offsets span {}",
                                shown_name(name), bytes->count, end - begin));
    return Placed{{std::string(name), *dtype, *std::move(shape), *bytes}, begin, end};
}

// Tensors must tile the data section: no overlap, no gap, nothing outside, nothing left over.
Result<void> check_layout(std::vector<Placed>& placed, std::uint64_t data_bytes) {
    std::ranges::stable_sort(placed, {}, [](const Placed& p) { return std::pair(p.begin, p.end); });
    std::uint64_t next = 0;
    for (const Placed& tensor : placed) {
        if (tensor.end > data_bytes)
            return fail(Errc::Corrupt,
                        fmt::format("{} ends at byte {} of {}; the file is truncated or lies",
                                    shown_name(tensor.entry.name), tensor.end, data_bytes));
        if (tensor.begin != next)
            return fail(Errc::Corrupt, fmt::format("{} starts at byte {}, {} was expected ({})",
                                                   shown_name(tensor.entry.name), tensor.begin,
                                                   next, tensor.begin < next ? "overlap" : "gap"));
        next = tensor.end;
    }
    if (next != data_bytes)
        return fail(Errc::Corrupt,
                    fmt::format("tensors cover {} bytes, the file holds {}", next, data_bytes));
    return {};
}

Result<void> keep_metadata(json::value value, TensorTable& table) {
    json::object fields;
    if (value.get_object().get(fields) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, "__metadata__ is not an object");
    std::size_t count = 0;
    return for_each_member(fields, [&](std::string_view key, json::value held) -> Result<void> {
        std::string_view text;
        if (held.get_string().get(text) != simdjson::SUCCESS)
            return fail(Errc::Corrupt, fmt::format("__metadata__ {} is not text", shown_name(key)));
        if (++count > kMetadataPairsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("__metadata__ has more than {} entries", kMetadataPairsMax));
        if (text.size() <= kMetadataValueBytesMax)
            table.metadata.insert_or_assign(std::string(key), std::string(text));
        return {};
    });
}

Result<TensorTable> parse_header(simdjson::padded_string_view text, std::uint64_t data_bytes) {
    // On demand, so that a hostile header costs five times its size and not fourteen, and stops at
    // its first fault. All that is read is checked; values under names that the format does not
    // define are passed over, as the reference implementation does.
    json::parser parser;
    json::document document;
    if (const auto error = parser.iterate(text).get(document); error != simdjson::SUCCESS)
        return error == simdjson::MEMALLOC
                   ? fail(Errc::LimitExceeded,
                          fmt::format("no memory for a header of {} bytes", text.size()))
                   : not_json(error);
    json::object entries;
    if (const auto error = document.get_object().get(entries); error != simdjson::SUCCESS)
        return not_json(error);

    TensorTable table;
    std::vector<Placed> placed;
    bool has_metadata = false;
    TRY_DO(for_each_member(entries, [&](std::string_view name, json::value held) -> Result<void> {
        if (name == "__metadata__") {
            if (std::exchange(has_metadata, true))
                return fail(Errc::Corrupt, "__metadata__ is listed twice");
            return keep_metadata(held, table);
        }
        if (placed.size() == kTensorsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("header names more than {} tensors", kTensorsMax));
        TRY_ASSIGN(Placed tensor, parse_entry(name, held));
        placed.push_back(std::move(tensor));
        return {};
    }));
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
        return fail(Errc::Corrupt, "header is not JSON: more text behind it");
    TRY_DO(check_layout(placed, data_bytes));
    table.tensors.reserve(placed.size());
    for (Placed& tensor : placed) table.tensors.push_back(std::move(tensor.entry));
    table.index();
    if (const TensorEntry* twice = table.first_duplicate(); twice != nullptr)
        return fail(Errc::Corrupt, fmt::format("{} is listed twice", shown_name(twice->name)));
    return table;
}

}  // namespace

std::optional<std::string_view> safetensors_dtype_name(DType dtype) {
    const auto at =
        std::ranges::find(kDTypeNames, dtype, &std::pair<std::string_view, DType>::second);
    return at == kDTypeNames.end() ? std::nullopt : std::optional(at->first);
}

std::optional<DType> parse_safetensors_dtype(std::string_view name) {
    const auto at =
        std::ranges::find(kDTypeNames, name, &std::pair<std::string_view, DType>::first);
    return at == kDTypeNames.end() ? std::nullopt : std::optional(at->second);
}

Result<TensorTable> read_safetensors(ByteSource& source) {
    const std::uint64_t size = source.size_bytes();
    if (size < 8)
        return fail(Errc::Corrupt,
                    fmt::format("file has {} bytes, a header length alone takes 8", size));
    std::array<std::byte, 8> prefix{};
    TRY_DO(source.read_at(0, prefix));
    std::uint64_t header_bytes = 0;
    for (std::size_t i = 0; i < 8; ++i)
        header_bytes |= std::to_integer<std::uint64_t>(prefix[i]) << (8 * i);
    if (header_bytes > kHeaderBytesMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("header claims {} bytes, limit {}", header_bytes, kHeaderBytesMax));
    if (header_bytes > size - 8)
        return fail(
            Errc::Corrupt,
            fmt::format("header claims {} bytes, the file holds {} after its length; truncated?",
                        header_bytes, size - 8));
    if (header_bytes < 2) return fail(Errc::Corrupt, "header is empty");

    std::vector<std::byte> text(header_bytes + simdjson::SIMDJSON_PADDING);
    TRY_DO(source.read_at(8, std::span(text).first(header_bytes)));
    if (static_cast<char>(text.front()) != '{')
        return fail(Errc::Corrupt, "header does not start with a brace");
    const simdjson::padded_string_view view(reinterpret_cast<const char*>(text.data()),
                                            header_bytes, text.size());
    TRY_ASSIGN(TensorTable table, parse_header(view, size - 8 - header_bytes));
    table.format = FileFormat::Safetensors;
    table.file_bytes = Bytes(static_cast<std::int64_t>(size));
    return table;
}

}  // namespace plimsoll::modelfile
