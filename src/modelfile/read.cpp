// SPDX-License-Identifier: Apache-2.0
#include "modelfile/read.h"

#include "modelfile/safetensors.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

namespace plimsoll::modelfile {
namespace {

Result<TensorTable> read_by_magic(ByteSource& source) {
    std::array<char, 8> magic{};
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(magic.size(), source.size_bytes()));
    TRY_DO(source.read_at(0, std::as_writable_bytes(std::span(magic)).first(length)));
    const std::string_view start(magic.data(), length);
    if (start.starts_with("GGUF")) return fail(Errc::InvalidInput, "GGUF files are not read yet");
    if (start.starts_with("PK\x03\x04"))
        return fail(Errc::InvalidInput, "torch archives are not read yet");
    return read_safetensors(source);
}

}  // namespace

Result<TensorTable> read_model(ByteSource& source) {
    Result<TensorTable> table = read_by_magic(source);
    // Sources name themselves in their own errors.
    if (!table && !table.error().message.starts_with(source.name()))
        return fail_at(source.name(), table.error());
    return table;
}

Result<TensorTable> read_model_file(const std::filesystem::path& path) {
    TRY_ASSIGN(const std::unique_ptr<ByteSource> source, open_file(path));
    return read_model(*source);
}

}  // namespace plimsoll::modelfile
