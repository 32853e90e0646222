// SPDX-License-Identifier: Apache-2.0
#include "modelfile/torch_pickle.h"

#include "modelfile/pickle.h"
#include "modelfile/untrusted.h"
#include "modelfile/zip_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace plimsoll::modelfile {
namespace {

using Kind = PickleValue::Kind;

constexpr int kLegacyPicklesBeforeModel = 3;  // magic number, protocol version, system facts

// The dictionary that holds the tensors: a training checkpoint keeps it under "state_dict", some
// files under their only key.
ValueId find_state_dict(const Pickle& pickle) {
    const PickleValue& top = pickle.at(pickle.top);
    for (std::size_t i = 0; i + 1 < top.items.size(); i += 2) {
        const bool is_named = pickle.at(top.items[i]).kind == Kind::Text &&
                              pickle.at(top.items[i]).text == "state_dict";
        if ((is_named || top.items.size() == 2) && pickle.at(top.items[i + 1]).kind == Kind::Dict)
            return top.items[i + 1];
    }
    return pickle.top;
}

Result<TensorTable> tabulate(const Pickle& pickle) {
    TensorTable table;
    table.format = FileFormat::TorchPickle;
    if (pickle.at(pickle.top).kind != Kind::Dict)
        return fail(
            Errc::InvalidInput,
            "this torch file holds no dictionary of tensors (a whole pickled module, perhaps)");
    const PickleValue& state = pickle.at(find_state_dict(pickle));
    std::unordered_map<std::string, std::size_t> place_of;
    std::size_t others = 0;
    for (std::size_t i = 0; i + 1 < state.items.size(); i += 2) {
        const PickleValue& key = pickle.at(state.items[i]);
        const PickleValue& tensor = pickle.at(state.items[i + 1]);
        if (key.kind != Kind::Text || tensor.kind != Kind::Tensor) {
            ++others;
            continue;
        }
        if (key.text.size() > kTensorNameBytesMax)
            return fail(Errc::LimitExceeded, fmt::format("a tensor name has {} bytes, limit {}",
                                                         key.text.size(), kTensorNameBytesMax));
        TensorEntry entry{key.text, tensor.dtype, tensor.shape,
                          storage_bytes(tensor.dtype, element_count(tensor.shape))};
        const auto [at, is_new] = place_of.emplace(key.text, table.tensors.size());
        if (is_new && table.tensors.size() == kTensorsMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("file names more than {} tensors", kTensorsMax));
        if (is_new)
            table.tensors.push_back(std::move(entry));
        else
            table.tensors[at->second] = std::move(entry);  // as a Python dictionary would
    }
    if (table.tensors.empty())
        return fail(Errc::InvalidInput, "this torch file holds no tensors by name");
    if (others > 0)
        table.notes.push_back(
            fmt::format("{} entries beside the tensors were passed over", others));
    for (const std::string& name : pickle.foreign_globals)
        table.notes.push_back(
            fmt::format("the pickle names {}; nothing of it was executed", shown_name(name)));
    table.index();
    return table;
}

// Bytes of every storage that the pickle names, by key; Corrupt where one key has two lengths.
Result<std::map<std::string, std::uint64_t>> storage_sizes(const Pickle& pickle) {
    std::map<std::string, std::uint64_t> sizes;
    for (const PickleValue& value : pickle.values) {
        if (value.kind != Kind::Storage) continue;
        const std::optional<Bytes> bytes = checked_storage_bytes(value.dtype, {value.number});
        if (!bytes)
            return fail(Errc::Corrupt, fmt::format("storage {} claims {} elements",
                                                   shown_name(value.text), value.number));
        const auto [at, is_new] =
            sizes.emplace(value.text, static_cast<std::uint64_t>(bytes->count));
        if (!is_new && at->second != static_cast<std::uint64_t>(bytes->count))
            return fail(Errc::Corrupt,
                        fmt::format("storage {} has two lengths", shown_name(value.text)));
    }
    return sizes;
}

Result<TensorTable> read_zip(ByteSource& source) {
    TRY_ASSIGN(const std::vector<ZipEntry> entries, read_zip_directory(source));
    constexpr std::string_view kPickleName = "/data.pkl";
    const auto pickle_entry = std::ranges::find_if(entries, [&](const ZipEntry& entry) {
        return entry.name.ends_with(kPickleName) &&
               entry.name.find('/') == entry.name.size() - kPickleName.size();
    });
    if (pickle_entry == entries.end())
        return fail(Errc::InvalidInput, "this zip archive is no torch file: it has no data.pkl");
    TRY_ASSIGN(const std::uint64_t begin, find_zip_content(source, *pickle_entry));
    ByteReader reader(source, begin, begin + pickle_entry->bytes, kPickleBytesMax);
    TRY_ASSIGN(const Pickle pickle, scan_pickle(reader));

    const std::string data_folder =
        pickle_entry->name.substr(0, pickle_entry->name.find('/')) + "/data/";
    std::unordered_map<std::string_view, const ZipEntry*> by_name;
    for (const ZipEntry& entry : entries) by_name[entry.name] = &entry;
    TRY_ASSIGN(const auto sizes, storage_sizes(pickle));
    // Entries that overlap would let a small file claim any weight; a file holds each byte once.
    std::uint64_t left = source.size_bytes();
    for (const auto& [key, bytes] : sizes) {
        const auto at = by_name.find(data_folder + key);
        if (at == by_name.end())
            return fail(Errc::Corrupt,
                        fmt::format("storage {} is not in the archive", shown_name(key)));
        const ZipEntry& entry = *at->second;
        if (!entry.is_stored)
            return fail(Errc::InvalidInput,
                        fmt::format("storage {} is compressed; torch.save stores its entries",
                                    shown_name(key)));
        if (entry.bytes < bytes)
            return fail(Errc::Corrupt,
                        fmt::format("storage {} needs {} bytes, the archive holds {}",
                                    shown_name(key), bytes, entry.bytes));
        if (entry.header_offset > source.size_bytes() || bytes > left)
            return fail(Errc::Corrupt,
                        fmt::format("storage {} reaches beyond the file, or overlaps another",
                                    shown_name(key)));
        left -= bytes;
    }
    return tabulate(pickle);
}

// Before torch 1.6: pickles one after the other (magic number, version, system facts, the model,
// the keys), then the storages.
Result<TensorTable> read_legacy(ByteSource& source) {
    ByteReader reader(source, 0, source.size_bytes(), kPickleBytesMax);
    for (int i = 0; i < kLegacyPicklesBeforeModel; ++i) TRY_DO(scan_pickle(reader));
    TRY_ASSIGN(const Pickle pickle, scan_pickle(reader));
    TRY_ASSIGN(const auto sizes, storage_sizes(pickle));
    std::uint64_t left = reader.left();
    for (const auto& [key, bytes] : sizes) {
        if (bytes > left)
            return fail(Errc::Corrupt, "storages need more bytes than the file holds; truncated?");
        left -= bytes;
    }
    return tabulate(pickle);
}

}  // namespace

Result<TensorTable> read_torch_pickle(ByteSource& source) {
    std::string magic(std::min<std::uint64_t>(4, source.size_bytes()), '\0');
    TRY_DO(source.read_at(0, std::as_writable_bytes(std::span(magic))));
    TRY_ASSIGN(TensorTable table, magic == "PK\x03\x04" ? read_zip(source) : read_legacy(source));
    table.file_bytes = Bytes(static_cast<std::int64_t>(source.size_bytes()));
    return table;
}

}  // namespace plimsoll::modelfile
