// SPDX-License-Identifier: Apache-2.0
#include "modelfile/sparse_file.h"

#include "base/json.h"
#include "modelfile/safetensors.h"
#include "modelfile/untrusted.h"

#include <fmt/format.h>

#include <fstream>
#include <system_error>
#include <utility>

namespace plimsoll::modelfile {

Result<std::string> encode_safetensors_header(const TensorTable& table) {
    std::string text = "{";
    if (!table.metadata.empty()) {
        json::object metadata;
        for (const auto& [key, value] : table.metadata) metadata[key] = value;
        text += "\"__metadata__\":" + json::serialize(metadata);
    }
    std::int64_t offset = 0;
    for (const TensorEntry& tensor : table.tensors) {
        const auto dtype = safetensors_dtype_name(tensor.dtype);
        if (!dtype)
            return fail(Errc::InvalidInput,
                        fmt::format("{}: safetensors cannot hold {}", tensor.name,
                                    dtype_traits(tensor.dtype).name));
        if (text.size() > 1) text += ',';
        text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                            json::serialize(tensor.name), *dtype, fmt::join(tensor.shape, ","),
                            offset, offset + tensor.bytes.count);
        offset += tensor.bytes.count;
    }
    text += '}';
    text.append((8 - text.size() % 8) % 8, ' ');
    std::string length(8, '\0');
    for (std::size_t i = 0; i < 8; ++i)
        length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xffU);
    return length + text;
}

Result<void> write_sparse_safetensors(const std::filesystem::path& path, const TensorTable& table) {
    TRY_ASSIGN(const std::string header, encode_safetensors_header(table));
    std::int64_t weights_bytes = 0;
    for (const TensorEntry& tensor : table.tensors) weights_bytes += tensor.bytes.count;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    file.close();
    if (!file) return fail(Errc::Unavailable, fmt::format("{}: cannot write", path.string()));
    std::error_code error;
    std::filesystem::resize_file(path, header.size() + static_cast<std::uint64_t>(weights_bytes),
                                 error);
    if (error)
        return fail(Errc::Unavailable,
                    fmt::format("{}: cannot extend: {}", path.string(), error.message()));
    return {};
}

void add_tensor(TensorTable& table, std::string name, DType dtype, Shape shape) {
    const Bytes bytes = checked_storage_bytes(dtype, shape).value_or(Bytes(0));
    table.tensors.push_back({std::move(name), dtype, std::move(shape), bytes});
}

TensorTable join_tables(const std::vector<TablePart>& parts) {
    TensorTable joined;
    std::int64_t weights_bytes = 0;
    for (const TablePart& part : parts) {
        for (const TensorEntry& tensor : part.table->tensors) {
            joined.tensors.push_back(
                {part.prefix + tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
            weights_bytes += tensor.bytes.count;
        }
    }
    joined.index();
    const Result<std::string> header = encode_safetensors_header(joined);
    joined.file_bytes =
        Bytes(weights_bytes + (header ? static_cast<std::int64_t>(header->size()) : 0));
    return joined;
}

Result<TensorTable> parse_listing(std::string_view json_text) {
    TRY_ASSIGN(const json::value document, parse_json(json_text));
    const json::object* entries = document.if_object();
    if (entries == nullptr) return fail(Errc::Corrupt, "listing is not an object");
    TensorTable table;
    table.format = FileFormat::Catalogue;
    for (const auto& [name, value] : *entries) {
        const json::array* pair = value.if_array();
        const bool is_pair =
            pair != nullptr && pair->size() == 2 && (*pair)[0].is_string() && (*pair)[1].is_array();
        const auto dtype =
            is_pair ? parse_safetensors_dtype((*pair)[0].get_string()) : std::nullopt;
        if (!dtype)
            return fail(Errc::Corrupt,
                        fmt::format("entry of {} is not [dtype, shape]", std::string_view(name)));
        Shape shape;
        for (const json::value& axis : (*pair)[1].get_array()) {
            const std::int64_t* length = axis.if_int64();
            if (length == nullptr)
                return fail(Errc::Corrupt,
                            fmt::format("shape of {} is not of integers", std::string_view(name)));
            shape.push_back(*length);
        }
        if (!checked_storage_bytes(*dtype, shape))
            return fail(Errc::Corrupt,
                        fmt::format("the shape of {} is negative or has more than {} elements",
                                    std::string_view(name), kTensorElementsMax));
        add_tensor(table, std::string(name), *dtype, std::move(shape));
    }
    table.index();
    return table;
}

}  // namespace plimsoll::modelfile
