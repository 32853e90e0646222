// SPDX-License-Identifier: Apache-2.0
#include "modelfile/read.h"

#include "modelfile/gguf.h"
#include "modelfile/safetensors.h"
#include "modelfile/torch_pickle.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {
namespace {

// First bytes that people meet in files that should be models. As the length of a safetensors
// header all of them would be beyond its limit; a file of which that is not true may be a model
// after all.
struct NotAModel {
    std::string_view start;
    std::string_view what;
};
constexpr NotAModel kNotModels[] = {
    {"version https://git-lfs",
     "this is a Git LFS pointer, not the model; fetch it with git lfs pull"},
    {"<!DOCTYPE", "this is a web page, not a model; the download went wrong"},
    {"<!doctype", "this is a web page, not a model; the download went wrong"},
    {"<html", "this is a web page, not a model; the download went wrong"},
    {"\x80\x02", "this is a Python pickle that torch.save did not write"},
    {"\x80\x03", "this is a Python pickle that torch.save did not write"},
    {"\x80\x04", "this is a Python pickle that torch.save did not write"},
    {"\x80\x05", "this is a Python pickle that torch.save did not write"},
    {"\x1f\x8b", "this is a gzip archive, not a model; unpack it first"},
    {"7z\xbc\xaf", "this is a 7-Zip archive, not a model; unpack it first"},
    {"Rar!", "this is a RAR archive, not a model; unpack it first"},
    {"\x89PNG", "this is a picture, not a model"},
    {"\x89HDF", "this is an HDF5 file (Keras), which is not read"},
    {"{\"error\"", "this is an error message of a server, not a model; the download went wrong"},
};
constexpr std::string_view kLegacyTorch =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46";  // protocol 2 and the magic number's start

Result<TensorTable> read_by_magic(ByteSource& source) {
    std::array<char, 24> magic{};
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(magic.size(), source.size_bytes()));
    TRY_DO(source.read_at(0, std::as_writable_bytes(std::span(magic)).first(length)));
    const std::string_view start(magic.data(), length);
    if (start.starts_with("GGUF")) return read_gguf(source);
    if (start.starts_with("PK\x03\x04") || start.starts_with(kLegacyTorch))
        return read_torch_pickle(source);
    std::uint64_t header_bytes = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(8, length); ++i)
        header_bytes |= std::uint64_t{static_cast<unsigned char>(start[i])} << (8 * i);
    if (header_bytes > kHeaderBytesMax)
        for (const NotAModel& other : kNotModels)
            if (start.starts_with(other.start))
                return fail(Errc::InvalidInput, std::string(other.what));
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
