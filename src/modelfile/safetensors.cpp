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

constexpr std::size_t kJsonDepthMax = 64;  // chosen: a header is four deep
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

struct Placed {
    TensorEntry entry;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

Result<Shape> parse_shape(std::string_view name, simdjson::dom::element value) {
    simdjson::dom::array axes;
    if (value.get_array().get(axes) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("shape of {} is not a list", shown_name(name)));
    Shape shape;
    for (const simdjson::dom::element axis : axes) {
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

Result<Placed> parse_entry(std::string_view name, simdjson::dom::element value) {
    if (name.size() > kTensorNameBytesMax)
        return fail(Errc::LimitExceeded, fmt::format("a tensor name has {} bytes, limit {}",
                                                     name.size(), kTensorNameBytesMax));
    simdjson::dom::object fields;
    if (value.get_object().get(fields) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("entry of {} is not an object", shown_name(name)));
    std::string_view dtype_name;
    if (fields["dtype"].get_string().get(dtype_name) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("{} has no dtype", shown_name(name)));
    const std::optional<DType> dtype = parse_safetensors_dtype(dtype_name);
    if (!dtype)
        return fail(Errc::Corrupt, fmt::format("{} has the unknown dtype {}", shown_name(name),
                                               shown_name(dtype_name)));
    simdjson::dom::element shape_value;
    if (fields["shape"].get(shape_value) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, fmt::format("{} has no shape", shown_name(name)));
    TRY_ASSIGN(Shape shape, parse_shape(name, shape_value));

    simdjson::dom::array offsets;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    if (fields["data_offsets"].get_array().get(offsets) != simdjson::SUCCESS ||
        offsets.size() != 2 || offsets.at(0).get_uint64().get(begin) != simdjson::SUCCESS ||
        offsets.at(1).get_uint64().get(end) != simdjson::SUCCESS || end < begin)
        return fail(Errc::Corrupt, fmt::format("{} has no valid data_offsets", shown_name(name)));

    const std::optional<Bytes> bytes = checked_storage_bytes(*dtype, shape);
    if (!bytes)
        return fail(Errc::Corrupt,
                    fmt::format("the shape of {} overflows 63 bits", shown_name(name)));
    if (static_cast<std::uint64_t>(bytes->count) != end - begin)
        return fail(Errc::Corrupt,
                    fmt::format("{} needs {} bytes by dtype and shape, its offsets span {}",
                                shown_name(name), bytes->count, end - begin));
    return Placed{{std::string(name), *dtype, std::move(shape), *bytes}, begin, end};
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

Result<void> keep_metadata(simdjson::dom::element value, TensorTable& table) {
    simdjson::dom::object fields;
    if (value.get_object().get(fields) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, "__metadata__ is not an object");
    for (const auto& [key, text_value] : fields) {
        std::string_view text;
        if (text_value.get_string().get(text) != simdjson::SUCCESS)
            return fail(Errc::Corrupt, fmt::format("__metadata__ {} is not text", shown_name(key)));
        if (text.size() <= kMetadataValueBytesMax)
            table.metadata.insert_or_assign(std::string(key), std::string(text));
    }
    return {};
}

Result<TensorTable> parse_header(simdjson::padded_string_view text, std::uint64_t data_bytes) {
    // The DOM parser checks every byte of the document, which the faster on-demand parser does not.
    simdjson::dom::parser parser;
    if (parser.allocate(text.size(), kJsonDepthMax) != simdjson::SUCCESS)
        return fail(Errc::LimitExceeded,
                    fmt::format("no memory for a header of {} bytes", text.size()));
    simdjson::dom::element document;
    if (const auto error = parser.parse(text.data(), text.size(), false).get(document);
        error != simdjson::SUCCESS) {
        const Errc code = error == simdjson::DEPTH_ERROR ? Errc::LimitExceeded : Errc::Corrupt;
        return fail(code, fmt::format("header is not JSON: {}", simdjson::error_message(error)));
    }
    simdjson::dom::object entries;
    if (document.get_object().get(entries) != simdjson::SUCCESS)
        return fail(Errc::Corrupt, "header is not a JSON object");

    TensorTable table;
    std::vector<Placed> placed;
    for (const auto& [name, value] : entries) {
        if (name == "__metadata__") {
            TRY_DO(keep_metadata(value, table));
            continue;
        }
        if (placed.size() == kTensorsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("header names more than {} tensors", kTensorsMax));
        TRY_ASSIGN(Placed tensor, parse_entry(name, value));
        placed.push_back(std::move(tensor));
    }
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
