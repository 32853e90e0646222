// SPDX-License-Identifier: Apache-2.0
// Goal: torch files give their tensors without any of their code running, and hostile ones an
// error. Method: files made as torch.save makes them; pickles assembled opcode by opcode in
// archives made by hand.
#include "modelfile/torch_pickle.h"

#include "modelfile/listing_fixture.h"
#include "modelfile/read.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <ostream>

namespace plimsoll::modelfile {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;

Result<TensorTable> read_fixture(std::string_view name) {
    return read_model_file(std::string(PLIMSOLL_TEST_DATA) + "/modelfile/torch/" +
                           std::string(name));
}

std::string le(std::uint64_t value, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += static_cast<char>(value & 0xffU);
        value >>= 8U;
    }
    return out;
}

enum class Zip64 : bool { No, Yes };

// A stored archive. Checksums are zero: nothing here checks contents.
std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files,
                   Zip64 is_wide = Zip64::No) {
    const bool wide = is_wide == Zip64::Yes;
    std::string out;
    std::string directory;
    for (const auto& [name, content] : files) {
        const std::string bytes = le(content.size(), 8);
        std::string extra = le(1, 2);
        for (const std::string& field : {le(24, 2), bytes, bytes, le(out.size(), 8)})
            extra += field;
        if (!wide) extra.clear();
        const std::string narrow_bytes = wide ? "\xff\xff\xff\xff" : bytes.substr(0, 4);
        for (const std::string& field :
             {"PK\x01\x02"s, le(0, 16), narrow_bytes, narrow_bytes, le(name.size(), 2),
              le(extra.size(), 2), le(0, 10), le(wide ? 0xffffffff : out.size(), 4), name, extra})
            directory += field;
        for (const std::string& field :
             {"PK\x03\x04"s, le(0, 22), le(name.size(), 2), le(0, 2), name, content})
            out += field;
    }
    const std::size_t begin = out.size();
    out += directory;
    if (wide) {
        const std::size_t end64 = out.size();
        out += "PK\x06\x06"s + le(44, 8) + le(0, 12) + le(files.size(), 8) + le(files.size(), 8) +
               le(directory.size(), 8) + le(begin, 8);
        out += "PK\x06\x07"s + le(0, 4) + le(end64, 8) + le(1, 4);
        return out + "PK\x05\x06"s + le(0, 4) + le(0xffff, 2) + le(0xffff, 2) + le(0xffffffff, 4) +
               le(0xffffffff, 4) + le(0, 2);
    }
    return out + "PK\x05\x06"s + le(0, 4) + le(files.size(), 2) + le(files.size(), 2) +
           le(directory.size(), 4) + le(begin, 4) + le(0, 2);
}

Result<TensorTable> read_bytes(const std::string& bytes) {
    MemorySource source(std::as_bytes(std::span(bytes)), "model.pt");
    return read_model(source);
}

std::string text_op(const std::string& text) {
    return "X" + le(text.size(), 4) + text;
}
std::string int_op(std::int64_t number) {
    return "\x8a\x08"s + le(static_cast<std::uint64_t>(number), 8);
}
std::string tuple_op(const std::vector<std::string>& items) {
    std::string out = "(";
    for (const std::string& item : items) out += item;
    return out + "t";
}
std::string storage_op(const std::string& type, std::int64_t elements) {
    return tuple_op({text_op("storage"), "ctorch\n" + type + "\n", text_op("0"), text_op("cpu"),
                     int_op(elements)}) +
           "Q";
}
std::string tensor_op(const std::string& storage, std::int64_t offset,
                      const std::vector<std::int64_t>& size,
                      const std::vector<std::int64_t>& stride) {
    std::vector<std::string> sizes(size.size());
    std::vector<std::string> strides(stride.size());
    std::ranges::transform(size, sizes.begin(), int_op);
    std::ranges::transform(stride, strides.begin(), int_op);
    return "ctorch._utils\n_rebuild_tensor_v2\n" +
           tuple_op({storage, int_op(offset), tuple_op(sizes), tuple_op(strides), "\x89", "}"}) +
           "R";
}
// {"w": value} of a two-byte-element storage "0" with `bytes` bytes in the archive.
std::string archive_with(const std::string& value, std::size_t bytes = 16,
                         Zip64 is_wide = Zip64::No) {
    return zip_of({{"archive/data.pkl", "\x80\x02}" + text_op("w") + value + "s."},
                   {"archive/data/0", std::string(bytes, '\0')}},
                  is_wide);
}

// Offsets in an entry of the directory (APPNOTE 4.3.12), and of the wide size behind the name
// "archive/data/0".
constexpr std::size_t kMethodAt = 10;
constexpr std::size_t kBytesAt = 24;
constexpr std::size_t kWideBytesAt = 46 + 14 + 4;

// The archive with a field of its last entry, the storage's, changed.
std::string patched(std::string archive, std::size_t at, std::uint64_t value, int count) {
    const std::size_t entry = archive.rfind("PK\x01\x02");
    return archive.replace(entry + at, static_cast<std::size_t>(count), le(value, count));
}
// The archive with a field of its zip64 directory's end changed (APPNOTE 4.3.14).
std::string wide_end(std::string archive, std::size_t at, std::uint64_t value) {
    return archive.replace(archive.rfind("PK\x06\x06") + at, 8, le(value, 8));
}
// Two storages of 400 bytes, both said to lie where the second one does, in a file that could hold
// one of them.
std::string overlapping_storages() {
    const auto storage = [](const std::string& key) {
        return tuple_op({text_op("storage"), "ctorch\nHalfStorage\n", text_op(key), text_op("cpu"),
                         int_op(200)}) +
               "Q";
    };
    const std::string pickle = "\x80\x02}" + text_op("v") + tensor_op(storage("0"), 0, {200}, {1}) +
                               "s" + text_op("w") + tensor_op(storage("1"), 0, {200}, {1}) + "s.";
    std::string archive = zip_of({{"a/data.pkl", pickle}, {"a/data/0", ""}, {"a/data/1", ""}});
    for (std::size_t at = archive.find("a/data/0", archive.find("PK\x01\x02"));
         at != std::string::npos; at = archive.find("a/data/", at + 1))
        archive.replace(at - 46 + kBytesAt, 4, le(400, 4));
    return archive;
}

void expect_state(const TensorTable& table) {
    ASSERT_EQ(table.tensors.size(), 7U);
    EXPECT_EQ(table.format, FileFormat::TorchPickle);
    EXPECT_EQ(table.tensors[0].name, "proj.weight");
    EXPECT_EQ(table.tensors[0].dtype, DType::Float16);
    EXPECT_THAT(table.tensors[0].shape, ElementsAre(3, 2));
    EXPECT_EQ(table.tensors[0].bytes, Bytes(12));
    EXPECT_EQ(table.find("scale")->bytes, Bytes(4));
    EXPECT_TRUE(table.find("scale")->shape.empty());
    EXPECT_EQ(table.find("ids")->dtype, DType::Int64);
    EXPECT_THAT(table.find("right")->shape, ElementsAre(2, 6));
    EXPECT_THAT(table.find("learned")->shape, ElementsAre(5));
}

TEST(ReadTorchPickle, reads_what_torch_saves) {
    const Result<TensorTable> table = read_fixture("state_dict.pt");
    ASSERT_TRUE(table) << table.error().message;
    expect_state(*table);
    EXPECT_TRUE(table->notes.empty());
}

TEST(ReadTorchPickle, reads_files_from_before_zip) {
    const Result<TensorTable> table = read_fixture("legacy.pt");
    ASSERT_TRUE(table) << table.error().message;
    expect_state(*table);
}

TEST(ReadTorchPickle, enters_a_training_checkpoint_and_notes_foreign_globals) {
    const Result<TensorTable> table = read_fixture("lightning.ckpt");
    ASSERT_TRUE(table) << table.error().message;
    expect_state(*table);
    EXPECT_THAT(table->notes,
                testing::Contains(HasSubstr("pytorch_lightning.callbacks.ModelCheckpoint")));
}

TEST(ReadTorchPickle, refuses_compressed_archives_clearly) {
    const Result<TensorTable> table = read_fixture("compressed.pt");
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().code, Errc::InvalidInput);
    EXPECT_THAT(table.error().message, HasSubstr("compressed"));
}

TEST(ReadTorchPickle, runs_nothing) {
    // The classic attack: os.system("touch FILE") beside a tensor.
    const TemporaryFolder folder;
    const auto witness = folder / "executed";
    const std::string attack =
        "cposix\nsystem\n" + tuple_op({text_op("touch " + witness.string())}) + "R";
    const std::string pickle = "\x80\x02}" + text_op("w") +
                               tensor_op(storage_op("HalfStorage", 8), 0, {2, 4}, {4, 1}) + "s" +
                               text_op("bad") + attack + "s.";
    const Result<TensorTable> table = read_bytes(
        zip_of({{"archive/data.pkl", pickle}, {"archive/data/0", std::string(16, '\0')}}));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->tensors.size(), 1U);
    EXPECT_FALSE(std::filesystem::exists(witness));
    EXPECT_THAT(table->notes, testing::Contains(HasSubstr("posix.system")));
}

TEST(ReadTorchPickle, reads_zip64_directories) {
    const Result<TensorTable> table = read_bytes(
        archive_with(tensor_op(storage_op("HalfStorage", 8), 0, {2, 4}, {4, 1}), 16, Zip64::Yes));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_THAT(table->find("w")->shape, ElementsAre(2, 4));
}

TEST(ReadTorchPickle, knows_types_that_come_with_the_tensor) {
    const std::string tensor =
        "ctorch._utils\n_rebuild_tensor_v3\n" +
        tuple_op({tuple_op({text_op("storage"), "ctorch.storage\nUntypedStorage\n", text_op("0"),
                            text_op("cpu"), int_op(8)}) +
                      "Q",
                  int_op(0), tuple_op({int_op(8)}), tuple_op({int_op(1)}), "\x89", "}",
                  "ctorch\nfloat8_e4m3fn\n", "}"}) +
        "R";
    const Result<TensorTable> table = read_bytes(archive_with(tensor));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->find("w")->dtype, DType::Float8E4M3);
    EXPECT_EQ(table->find("w")->bytes, Bytes(8));
}

struct Hostile {
    std::string name;
    std::string bytes;
    Errc code;
    std::string says;

    // For the list of tests; else gtest shows bytes.
    friend void PrintTo(const Hostile& shown, std::ostream* out) { *out << shown.name; }
};
class RefuseTorchPickle : public testing::TestWithParam<Hostile> {};

TEST_P(RefuseTorchPickle, that_holds) {
    const Result<TensorTable> table = read_bytes(GetParam().bytes);
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().code, GetParam().code) << table.error().message;
    EXPECT_THAT(table.error().message, HasSubstr(GetParam().says));
}

std::vector<Hostile> hostile_files() {
    const auto pickle = [](const std::string& opcodes) {
        return zip_of({{"archive/data.pkl", opcodes}});
    };
    const std::string half8 = storage_op("HalfStorage", 8);
    const std::string fine = archive_with(tensor_op(half8, 0, {8}, {1}));
    const std::string fine_wide = archive_with(tensor_op(half8, 0, {8}, {1}), 16, Zip64::Yes);
    std::string many_marks(1'000'001, '(');
    std::string values = "\x80\x02";
    for (int i = 0; i < 2'000'001; ++i) values += "N0";
    std::string memos = "\x80\x02N";
    for (std::uint64_t i = 0; i < 2'000'001; ++i) memos += "r" + le(i, 4);
    return {
        {"half_an_archive", fine.substr(0, fine.size() / 2), Errc::Corrupt, "truncated"},
        {"no_pickle", zip_of({{"word/document.xml", "x"}}), Errc::InvalidInput, "no data.pkl"},
        {"an_empty_pickle", pickle(""), Errc::Corrupt, "ends"},
        {"no_stop", pickle("\x80\x02}"), Errc::Corrupt, "ends"},
        {"an_unknown_opcode", pickle("\x80\x02\xff"), Errc::Corrupt, "0xff"},
        {"a_future_protocol", pickle("\x80\x09."), Errc::Corrupt, "protocol"},
        {"an_underflow", pickle("."), Errc::Corrupt, "empty stack"},
        {"a_pop_below_the_mark", pickle("N(\x85."), Errc::Corrupt, "empty stack"},
        {"a_missing_mark", pickle("Nt."), Errc::Corrupt, "mark"},
        {"an_unknown_memo", pickle("h\x07."), Errc::Corrupt, "recalls 7"},
        {"a_text_longer_than_the_file", pickle("X\xff\xff\xff\x7f"), Errc::Corrupt,
         "more were expected"},
        {"an_odd_dictionary", pickle("(Nd."), Errc::Corrupt, "key without a value"},
        {"items_for_a_number", pickle("K\x01(NNu."), Errc::Corrupt, "cannot hold"},
        {"a_list", pickle("]."), Errc::InvalidInput, "no dictionary"},
        {"a_dictionary_without_tensors", pickle("}."), Errc::InvalidInput, "no tensors"},
        {"too_many_marks", pickle(many_marks), Errc::LimitExceeded, "marks"},
        {"too_many_values", pickle(values), Errc::LimitExceeded, "2000000"},
        {"a_view_beyond_its_storage", archive_with(tensor_op(half8, 1, {8}, {1})), Errc::Corrupt,
         "a view of 9 elements on a storage of 8"},
        {"a_negative_axis", archive_with(tensor_op(half8, 0, {-8}, {1})), Errc::Corrupt,
         "no length"},
        {"strides_that_are_missing", archive_with(tensor_op(half8, 0, {2, 4}, {1})), Errc::Corrupt,
         "strides"},
        {"a_shape_that_overflows",
         archive_with(tensor_op(half8, 0, {INT64_MAX, INT64_MAX}, {0, 0})), Errc::Corrupt,
         "beyond"},
        {"strides_that_overflow", archive_with(tensor_op(half8, 0, {8, 8}, {INT64_MAX, INT64_MAX})),
         Errc::Corrupt, "beyond"},
        {"a_storage_that_overflows",
         archive_with(tensor_op(storage_op("HalfStorage", INT64_MAX), 0, {8}, {1})), Errc::Corrupt,
         "claims 9223372036854775807 elements"},
        {"more_memos_than_values", pickle(memos), Errc::LimitExceeded, "stores more than 2000000"},
        {"a_number_with_a_tail", pickle("I12x\n."), Errc::Corrupt, "number that is none"},
        {"a_deep_stack", pickle(std::string(1'000'001, 'N')), Errc::LimitExceeded,
         "stack of more than 1000000"},
        {"a_compressed_storage", patched(fine, kMethodAt, 8, 2), Errc::InvalidInput,
         "\"0\" is compressed"},
        {"a_storage_larger_than_the_file",
         patched(archive_with(tensor_op(storage_op("HalfStorage", 1 << 20), 0, {8}, {1})), kBytesAt,
                 2 << 20, 4),
         Errc::Corrupt, "beyond the file"},
        {"a_storage_of_2_to_the_62_bytes",
         patched(archive_with(tensor_op(storage_op("HalfStorage", 1LL << 40), 0, {8}, {1}), 16,
                              Zip64::Yes),
                 kWideBytesAt, 1ULL << 62U, 8),
         Errc::Corrupt, "beyond the file"},
        {"storages_in_the_same_place", overlapping_storages(), Errc::Corrupt, "overlaps another"},
        {"a_directory_of_2_to_the_62_entries", wide_end(fine_wide, 32, 1ULL << 62U), Errc::Corrupt,
         "breaks off after 2"},
        {"a_directory_of_2_to_the_62_bytes", wide_end(fine_wide, 40, 1ULL << 62U),
         Errc::LimitExceeded, "4611686018427387904"},
        {"a_directory_outside_the_file", wide_end(fine_wide, 48, 1ULL << 62U), Errc::Corrupt,
         "points to byte 4611686018427387904"},
        {"an_unknown_storage_type",
         archive_with(tensor_op(storage_op("QInt8Storage", 8), 0, {8}, {1})), Errc::InvalidInput,
         "QInt8Storage"},
        {"a_storage_that_is_not_there",
         zip_of({{"archive/data.pkl",
                  "\x80\x02}" + text_op("w") + tensor_op(half8, 0, {8}, {1}) + "s."}}),
         Errc::Corrupt, "not in the archive"},
        {"a_storage_that_is_too_short", archive_with(tensor_op(half8, 0, {8}, {1}), 15),
         Errc::Corrupt, "needs 16 bytes"},
        {"a_legacy_file_cut_short", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
         Errc::Corrupt, "ends"},
    };
}

INSTANTIATE_TEST_SUITE_P(Hostile, RefuseTorchPickle, testing::ValuesIn(hostile_files()),
                         [](const auto& test) { return test.param.name; });

TEST(ReadTorchPickle, keeps_going_behind_numbers_beyond_63_bits) {
    const std::string value = tensor_op(storage_op("HalfStorage", 8), 0, {8}, {1});
    const std::string pickle = "\x80\x02}" + text_op("seed") + "L18446744073709551615L\ns" +
                               text_op("big") + "\x8b" + le(1000, 4) + std::string(1000, '\x7f') +
                               "s" + text_op("w") + value + "s.";
    const Result<TensorTable> table = read_bytes(
        zip_of({{"archive/data.pkl", pickle}, {"archive/data/0", std::string(16, '\0')}}));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->tensors.size(), 1U);
}

TEST(ReadTorchPickle, survives_a_list_that_contains_itself) {
    const std::string value = tensor_op(storage_op("HalfStorage", 8), 0, {8}, {1});
    const std::string pickle =
        "\x80\x02}" + text_op("w") + value + "s" + text_op("loop") + "]q\x01h\x01" + "as.";
    EXPECT_TRUE(read_bytes(
        zip_of({{"archive/data.pkl", pickle}, {"archive/data/0", std::string(16, '\0')}})));
}

TEST(ReadTorchPickle, passes_on_every_failed_read) {
    const std::string bytes = archive_with(tensor_op(storage_op("HalfStorage", 8), 0, {8}, {1}));
    MemorySource inner(std::as_bytes(std::span(bytes)));
    for (int n = 0;; ++n) {
        FailingSource source(inner, n);
        const Result<TensorTable> table = read_torch_pickle(source);
        if (!source.has_failed()) {
            EXPECT_TRUE(table);
            EXPECT_GT(n, 3);
            break;
        }
        ASSERT_FALSE(table);
        EXPECT_EQ(table.error().code, Errc::Unavailable);
    }
}

}  // namespace
}  // namespace plimsoll::modelfile
