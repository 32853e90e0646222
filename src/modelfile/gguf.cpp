// SPDX-License-Identifier: Apache-2.0
#include "modelfile/gguf.h"

#include "modelfile/byte_reader.h"
#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::modelfile {
namespace {

// Format: ggml's docs/gguf.md. Numbers of its enums stand in the tables below.
constexpr std::uint64_t kHeaderBytesLimit = 256ULL
                                            << 20U;  // chosen: the largest vocabularies take 20 MB
constexpr std::uint64_t kKeptTextBytesMax =
    65536;                               // chosen: longer values (chat templates) are passed over
constexpr int kArrayDepthMax = 4;        // chosen: no writer nests arrays at all
constexpr std::uint32_t kRankLimit = 8;  // ggml itself has 4
constexpr std::uint64_t kAlignmentDefault = 32;
constexpr std::uint64_t kAlignmentMax = 1ULL << 20U;  // chosen: far above any page
constexpr std::string_view kOriginalShapeKey = "comfy.gguf.orig_shape.";

enum class ValueType : std::uint32_t {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64
};

// Bytes of a value of fixed size, 0 for strings, arrays and what does not exist.
std::uint64_t fixed_bytes(ValueType type) {
    constexpr std::array<std::uint64_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto at = static_cast<std::size_t>(type);
    return at < kBytes.size() ? kBytes.at(at) : 0;
}

std::optional<DType> dtype_of(std::uint32_t ggml_type) {
    static constexpr std::array<std::pair<std::uint32_t, DType>, 32> kTypes = {{
        {0, DType::Float32},   {1, DType::Float16}, {2, DType::Q4_0},     {3, DType::Q4_1},
        {6, DType::Q5_0},      {7, DType::Q5_1},    {8, DType::Q8_0},     {9, DType::Q8_1},
        {10, DType::Q2_K},     {11, DType::Q3_K},   {12, DType::Q4_K},    {13, DType::Q5_K},
        {14, DType::Q6_K},     {15, DType::Q8_K},   {16, DType::IQ2_XXS}, {17, DType::IQ2_XS},
        {18, DType::IQ3_XXS},  {19, DType::IQ1_S},  {20, DType::IQ4_NL},  {21, DType::IQ3_S},
        {22, DType::IQ2_S},    {23, DType::IQ4_XS}, {24, DType::Int8},    {25, DType::Int16},
        {26, DType::Int32},    {27, DType::Int64},  {28, DType::Float64}, {29, DType::IQ1_M},
        {30, DType::BFloat16}, {34, DType::TQ1_0},  {35, DType::TQ2_0},   {39, DType::MXFP4},
    }};
    const auto at = std::ranges::find(kTypes, ggml_type, &std::pair<std::uint32_t, DType>::first);
    return at == kTypes.end() ? std::nullopt : std::optional(at->second);
}

struct Placed {
    std::size_t tensor = 0;
    std::uint64_t begin = 0;
    std::uint64_t bytes = 0;
};

class GgufReader {
  public:
    explicit GgufReader(ByteSource& source)
        : reader_(source, 0, source.size_bytes(), kHeaderBytesLimit),
          file_bytes_(source.size_bytes()) {}

    Result<TensorTable> read() {
        TRY_DO(reader_.skip(4));  // "GGUF", which the caller has seen
        TRY_ASSIGN(const auto version, reader_.take_integer<std::uint32_t>());
        if (std::byteswap(version) <= 0xff && version > 0xff)
            return fail(Errc::InvalidInput, "this GGUF file is big-endian, which is not read");
        if (version != 2 && version != 3)
            return fail(Errc::InvalidInput,
                        fmt::format("GGUF version {}, only 2 and 3 are read", version));
        TRY_ASSIGN(const auto tensors, reader_.take_integer<std::uint64_t>());
        TRY_ASSIGN(const auto pairs, reader_.take_integer<std::uint64_t>());
        if (tensors > kTensorsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("header claims {} tensors, limit {}", tensors, kTensorsMax));
        if (pairs > kMetadataPairsMax)
            return fail(Errc::LimitExceeded, fmt::format("header claims {} key values, limit {}",
                                                         pairs, kMetadataPairsMax));
        for (std::uint64_t i = 0; i < pairs; ++i) TRY_DO(read_pair());
        for (std::uint64_t i = 0; i < tensors; ++i) TRY_DO(read_tensor());
        TRY_DO(check_layout());
        table_.format = FileFormat::Gguf;
        table_.file_bytes = Bytes(static_cast<std::int64_t>(file_bytes_));
        table_.index();
        if (const TensorEntry* twice = table_.first_duplicate(); twice != nullptr)
            return fail(Errc::Corrupt, fmt::format("{} is listed twice", shown_name(twice->name)));
        return std::move(table_);
    }

  private:
    Result<std::string> take_text(std::uint64_t limit) {
        TRY_ASSIGN(const auto length, reader_.take_integer<std::uint64_t>());
        if (length > limit)
            return fail(Errc::LimitExceeded,
                        fmt::format("a text claims {} bytes, limit {}", length, limit));
        TRY_ASSIGN(const std::string_view bytes, reader_.take(length));
        return std::string(bytes);
    }

    Result<std::uint64_t> take_unsigned(ValueType type) {
        TRY_ASSIGN(const std::string_view bytes, reader_.take(fixed_bytes(type)));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes.size(); ++i)
            value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        return value;
    }

    Result<void> read_pair() {
        TRY_ASSIGN(const std::string key, take_text(kTensorNameBytesMax));
        TRY_ASSIGN(const auto raw_type, reader_.take_integer<std::uint32_t>());
        const auto type = static_cast<ValueType>(raw_type);
        if (type == ValueType::Array) return read_array(key, 0);
        if (type == ValueType::String) {
            TRY_ASSIGN(const auto length, reader_.take_integer<std::uint64_t>());
            if (length > kKeptTextBytesMax) return reader_.skip(length);
            TRY_ASSIGN(const std::string_view text, reader_.take(length));
            table_.metadata.insert_or_assign(key, std::string(text));
            return {};
        }
        if (fixed_bytes(type) == 0)
            return fail(Errc::Corrupt,
                        fmt::format("{} has the unknown type {}", shown_name(key), raw_type));
        const bool is_real = type == ValueType::F32 || type == ValueType::F64;
        if (is_real) return reader_.skip(fixed_bytes(type));
        TRY_ASSIGN(const std::uint64_t value, take_unsigned(type));
        table_.metadata.insert_or_assign(key, std::to_string(value));
        if (key == "general.alignment") {
            if (value == 0 || value > kAlignmentMax || !std::has_single_bit(value))
                return fail(Errc::Corrupt, fmt::format("alignment {} is no power of two up to {}",
                                                       value, kAlignmentMax));
            alignment_ = value;
        }
        return {};
    }

    // Passed over, but for the original shapes of tensors that ComfyUI-GGUF flattened.
    Result<void> read_array(const std::string& key, int depth) {
        if (depth == kArrayDepthMax)
            return fail(Errc::LimitExceeded, fmt::format("{} nests arrays deeper than {}",
                                                         shown_name(key), kArrayDepthMax));
        TRY_ASSIGN(const auto raw_type, reader_.take_integer<std::uint32_t>());
        TRY_ASSIGN(const auto count, reader_.take_integer<std::uint64_t>());
        const auto type = static_cast<ValueType>(raw_type);
        if (count > kHeaderBytesLimit)
            return fail(Errc::LimitExceeded,
                        fmt::format("{} claims {} elements", shown_name(key), count));
        const bool is_shape = key.starts_with(kOriginalShapeKey) && count <= kRankMax &&
                              (type == ValueType::I32 || type == ValueType::U32 ||
                               type == ValueType::I64 || type == ValueType::U64);
        if (is_shape) {
            Shape shape;
            for (std::uint64_t i = 0; i < count; ++i) {
                TRY_ASSIGN(const std::uint64_t axis, take_unsigned(type));
                shape.push_back(static_cast<std::int64_t>(axis));
            }
            original_shapes_.insert_or_assign(key.substr(kOriginalShapeKey.size()),
                                              std::move(shape));
            return {};
        }
        if (fixed_bytes(type) != 0) return reader_.skip(count * fixed_bytes(type));
        for (std::uint64_t i = 0; i < count; ++i) {
            if (type == ValueType::String) {
                TRY_ASSIGN(const auto length, reader_.take_integer<std::uint64_t>());
                TRY_DO(reader_.skip(length));
            } else if (type == ValueType::Array) {
                TRY_DO(read_array(key, depth + 1));
            } else {
                return fail(Errc::Corrupt, fmt::format("{} has elements of the unknown type {}",
                                                       shown_name(key), raw_type));
            }
        }
        return {};
    }

    Result<void> read_tensor() {
        TRY_ASSIGN(std::string name, take_text(kTensorNameBytesMax));
        TRY_ASSIGN(const auto rank, reader_.take_integer<std::uint32_t>());
        if (rank > kRankLimit)
            return fail(Errc::LimitExceeded, fmt::format("{} has {} axes", shown_name(name), rank));
        Shape shape(rank);
        for (auto axis = shape.rbegin(); axis != shape.rend(); ++axis) {
            TRY_ASSIGN(*axis, reader_.take_integer<std::int64_t>());
        }
        TRY_ASSIGN(const auto ggml_type, reader_.take_integer<std::uint32_t>());
        TRY_ASSIGN(const auto offset, reader_.take_integer<std::uint64_t>());
        const std::optional<DType> dtype = dtype_of(ggml_type);
        if (!dtype)
            return fail(Errc::Corrupt,
                        fmt::format("{} has the unknown type {}", shown_name(name), ggml_type));
        const std::optional<Bytes> bytes = checked_storage_bytes(*dtype, shape);
        if (!bytes)
            return fail(Errc::Corrupt,
                        fmt::format("the shape of {} is negative or has more than {} elements",
                                    shown_name(name), kTensorElementsMax));
        const int block = dtype_traits(*dtype).block_elements;
        if (!shape.empty() && shape.back() % block != 0)
            return fail(Errc::Corrupt,
                        fmt::format("rows of {} have {} elements, no multiple of the block of {}",
                                    shown_name(name), shape.back(), block));
        placed_.push_back(
            {table_.tensors.size(), offset, static_cast<std::uint64_t>(bytes->count)});
        table_.tensors.push_back({std::move(name), *dtype, std::move(shape), *bytes});
        return {};
    }

    // Padding between tensors is normal; overlaps and tensors outside the file are not. Also puts
    // the original shapes in.
    Result<void> check_layout() {
        const std::uint64_t data_begin =
            (reader_.position() + alignment_ - 1) / alignment_ * alignment_;
        const std::uint64_t data_bytes = file_bytes_ > data_begin ? file_bytes_ - data_begin : 0;
        std::ranges::sort(placed_, {}, [](const Placed& tensor) {
            return std::pair(tensor.begin, tensor.bytes);
        });
        std::uint64_t next = 0;
        std::size_t wrong_shapes = 0;
        for (const Placed& tensor : placed_) {
            TensorEntry& entry = table_.tensors[tensor.tensor];
            if (tensor.begin > data_bytes || tensor.bytes > data_bytes - tensor.begin)
                return fail(
                    Errc::Corrupt,
                    fmt::format(
                        "{} ends beyond the {} bytes of data; the file is truncated or lies",
                        shown_name(entry.name), data_bytes));
            if (tensor.begin % alignment_ != 0)
                return fail(Errc::Corrupt, fmt::format("{} is not aligned to {}",
                                                       shown_name(entry.name), alignment_));
            if (tensor.begin < next)
                return fail(Errc::Corrupt,
                            fmt::format("{} overlaps another tensor", shown_name(entry.name)));
            next = tensor.begin + tensor.bytes;
            const auto original = original_shapes_.find(entry.name);
            if (original == original_shapes_.end()) continue;
            const bool is_same_size = checked_storage_bytes(DType::Int8, original->second) &&
                                      element_count(original->second) == element_count(entry.shape);
            if (is_same_size)
                entry.shape = original->second;
            else
                ++wrong_shapes;
        }
        if (wrong_shapes > 0)
            table_.notes.push_back(fmt::format(
                "original shapes of {} tensors have another size, ignored", wrong_shapes));
        return {};
    }

    ByteReader reader_;
    std::uint64_t file_bytes_;
    std::uint64_t alignment_ = kAlignmentDefault;
    TensorTable table_;
    std::vector<Placed> placed_;
    std::map<std::string, Shape> original_shapes_;
};

}  // namespace

Result<TensorTable> read_gguf(ByteSource& source) {
    return GgufReader(source).read();
}

}  // namespace plimsoll::modelfile
