// SPDX-License-Identifier: Apache-2.0
#include "modelfile/torch_rebuild.h"

#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace plimsoll::modelfile {
namespace {

using Kind = PickleValue::Kind;

struct NamedType {
    std::string_view global;
    DType dtype;
};
constexpr std::array kStorageTypes = {
    NamedType{"torch DoubleStorage", DType::Float64},
    NamedType{"torch FloatStorage", DType::Float32},
    NamedType{"torch HalfStorage", DType::Float16},
    NamedType{"torch BFloat16Storage", DType::BFloat16},
    NamedType{"torch LongStorage", DType::Int64},
    NamedType{"torch IntStorage", DType::Int32},
    NamedType{"torch ShortStorage", DType::Int16},
    NamedType{"torch CharStorage", DType::Int8},
    NamedType{"torch ByteStorage", DType::UInt8},
    NamedType{"torch BoolStorage", DType::Bool},
    NamedType{"torch ComplexFloatStorage", DType::Complex64},
    NamedType{"torch.storage UntypedStorage", DType::UInt8},  // its type comes with the tensor
    NamedType{"torch UntypedStorage", DType::UInt8},
};
constexpr std::array kTensorTypes = {
    NamedType{"torch float64", DType::Float64},
    NamedType{"torch float32", DType::Float32},
    NamedType{"torch float16", DType::Float16},
    NamedType{"torch bfloat16", DType::BFloat16},
    NamedType{"torch float8_e4m3fn", DType::Float8E4M3},
    NamedType{"torch float8_e5m2", DType::Float8E5M2},
    NamedType{"torch float8_e8m0fnu", DType::Float8E8M0},
    NamedType{"torch int64", DType::Int64},
    NamedType{"torch int32", DType::Int32},
    NamedType{"torch int16", DType::Int16},
    NamedType{"torch int8", DType::Int8},
    NamedType{"torch uint8", DType::UInt8},
    NamedType{"torch uint16", DType::UInt16},
    NamedType{"torch uint32", DType::UInt32},
    NamedType{"torch uint64", DType::UInt64},
    NamedType{"torch bool", DType::Bool},
};
constexpr std::size_t kStorageKeyBytesMax =
    64;  // chosen: keys are small numbers, addresses in old files
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor";
constexpr std::string_view kRebuildTensorV2 = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildTensorV3 = "torch._utils _rebuild_tensor_v3";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";
constexpr std::string_view kOrderedDict = "collections OrderedDict";
constexpr std::string_view kSize = "torch Size";

template <std::size_t N>
std::optional<DType> type_named(const std::array<NamedType, N>& types, std::string_view global) {
    const auto at = std::ranges::find(types, global, &NamedType::global);
    return at == types.end() ? std::nullopt : std::optional(at->dtype);
}

std::unexpected<Error> malformed(std::string_view what) {
    return fail(Errc::Corrupt, fmt::format("pickle rebuilds a tensor with {}", what));
}

Result<Shape> integers_of(const PickleValue& tuple, const Pickle& pickle) {
    if (tuple.kind != Kind::Tuple && tuple.kind != Kind::List)
        return malformed("a size that is no tuple");
    if (tuple.items.size() > kRankMax)
        return fail(Errc::LimitExceeded, fmt::format("a tensor has more than {} axes", kRankMax));
    Shape numbers;
    for (const ValueId id : tuple.items) {
        if (pickle.at(id).kind != Kind::Integer || pickle.at(id).number < 0)
            return malformed("an axis that is no length");
        numbers.push_back(pickle.at(id).number);
    }
    return numbers;
}

// Elements of the storage from its first to the last one that the view touches; nullopt on
// overflow.
std::optional<std::int64_t> reach_of(std::int64_t offset, const Shape& shape,
                                     const Shape& strides) {
    std::int64_t last = offset;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == 0) return 0;
        std::int64_t step = 0;
        if (__builtin_mul_overflow(shape[i] - 1, strides[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return std::nullopt;
    }
    if (last == INT64_MAX) return std::nullopt;
    return last + 1;
}

// (storage, offset, size, stride, ...); version 3 names the element type behind them.
Result<PickleValue> rebuild_tensor(const Pickle& pickle, const std::vector<ValueId>& arguments,
                                   bool is_v3) {
    if (arguments.size() < (is_v3 ? 7U : 4U)) return malformed("too few arguments");
    const PickleValue& storage = pickle.at(arguments[0]);
    const PickleValue& offset = pickle.at(arguments[1]);
    if (storage.kind != Kind::Storage || offset.kind != Kind::Integer || offset.number < 0)
        return malformed("no storage");
    TRY_ASSIGN(Shape shape, integers_of(pickle.at(arguments[2]), pickle));
    TRY_ASSIGN(const Shape strides, integers_of(pickle.at(arguments[3]), pickle));
    if (strides.size() != shape.size()) return malformed("as many strides as axes missing");

    DType dtype = storage.dtype;
    std::int64_t storage_elements = storage.number;
    if (is_v3) {
        const std::optional<DType> named = type_named(kTensorTypes, pickle.at(arguments[6]).text);
        if (!named) return malformed("an unknown element type");
        dtype = *named;
        storage_elements /= dtype_traits(dtype).block_bytes;
    }
    const std::optional<std::int64_t> reach = reach_of(offset.number, shape, strides);
    if (!checked_storage_bytes(dtype, shape) || !reach)
        return malformed("a shape or strides beyond what any file could hold");
    if (*reach > storage_elements)
        return malformed(
            fmt::format("a view of {} elements on a storage of {}", *reach, storage_elements));
    PickleValue tensor(Kind::Tensor);
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    return tensor;
}

// OrderedDict() or OrderedDict([(key, value), ...]).
PickleValue rebuild_dict(const Pickle& pickle, const std::vector<ValueId>& arguments) {
    PickleValue dict(Kind::Dict);
    if (arguments.empty()) return dict;
    for (const ValueId id : pickle.at(arguments[0]).items) {
        const PickleValue& pair = pickle.at(id);
        if (pair.items.size() == 2)
            dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
    }
    return dict;
}

}  // namespace

bool is_known_global(std::string_view global) {
    return type_named(kStorageTypes, global) || type_named(kTensorTypes, global) ||
           global == kRebuildTensor || global == kRebuildTensorV2 || global == kRebuildTensorV3 ||
           global == kRebuildParameter || global == kOrderedDict || global == kSize;
}

Result<Rebuilt> rebuild_call(const Pickle& pickle, ValueId callee, ValueId arguments) {
    const PickleValue& function = pickle.at(callee);
    const PickleValue& tuple = pickle.at(arguments);
    if (function.kind != Kind::Global || tuple.kind != Kind::Tuple)
        return PickleValue(Kind::Opaque);
    const bool is_v3 = function.text == kRebuildTensorV3;
    if (is_v3 || function.text == kRebuildTensor || function.text == kRebuildTensorV2) {
        TRY_ASSIGN(PickleValue tensor, rebuild_tensor(pickle, tuple.items, is_v3));
        return tensor;
    }
    if (function.text == kOrderedDict) return rebuild_dict(pickle, tuple.items);
    // A parameter is its tensor, a size its tuple.
    if ((function.text == kRebuildParameter || function.text == kSize) && !tuple.items.empty())
        return tuple.items[0];
    return PickleValue(Kind::Opaque);
}

Result<PickleValue> rebuild_storage(const Pickle& pickle, ValueId id) {
    const PickleValue& tuple = pickle.at(id);
    if (tuple.kind != Kind::Tuple || tuple.items.size() < 5 ||
        pickle.at(tuple.items[0]).text != "storage")
        return PickleValue(Kind::Opaque);
    const PickleValue& type = pickle.at(tuple.items[1]);
    const PickleValue& key = pickle.at(tuple.items[2]);
    const PickleValue& elements = pickle.at(tuple.items[4]);
    const std::optional<DType> dtype = type_named(kStorageTypes, type.text);
    if (type.kind != Kind::Global || !dtype)
        return fail(Errc::InvalidInput,
                    fmt::format("storage of the unknown type {}", shown_name(type.text)));
    if (key.kind != Kind::Text || key.text.size() > kStorageKeyBytesMax ||
        elements.kind != Kind::Integer || elements.number < 0)
        return fail(Errc::Corrupt, "pickle names a storage without a proper key or length");
    PickleValue storage(Kind::Storage, elements.number);
    storage.dtype = *dtype;
    storage.text = key.text;
    return storage;
}

}  // namespace plimsoll::modelfile
