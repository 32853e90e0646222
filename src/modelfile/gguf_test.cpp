// SPDX-License-Identifier: Apache-2.0
// Goal: GGUF headers give tensors in PyTorch's order of axes, or an error. Method: headers
// assembled by hand.
#include "modelfile/gguf.h"

#include "modelfile/detect.h"
#include "modelfile/listing_fixture.h"
#include "modelfile/read.h"

#include <gmock/gmock.h>

namespace plimsoll::modelfile {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;

std::string le(std::uint64_t value, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += static_cast<char>(value & 0xffU);
        value >>= 8U;
    }
    return out;
}
std::string text(const std::string& value) {
    return le(value.size(), 8) + value;
}
std::string head(std::uint64_t tensors, std::uint64_t pairs, std::uint32_t version = 3) {
    return "GGUF" + le(version, 4) + le(tensors, 8) + le(pairs, 8);
}
// Axes innermost first, as GGUF has them.
std::string tensor(const std::string& name, const std::vector<std::uint64_t>& axes,
                   std::uint32_t type, std::uint64_t offset) {
    std::string out = text(name) + le(axes.size(), 4);
    for (const std::uint64_t axis : axes) out += le(axis, 8);
    return out + le(type, 4) + le(offset, 8);
}
std::string padded(std::string header, std::size_t data_bytes) {
    header.append((32 - header.size() % 32) % 32, '\0');
    return header + std::string(data_bytes, '\0');
}
Result<TensorTable> read_bytes(const std::string& bytes) {
    MemorySource source(std::as_bytes(std::span(bytes)), "model.gguf");
    return read_model(source);
}

TEST(ReadGguf, reads_tensors_key_values_and_original_shapes) {
    const std::string header =
        head(3, 5) + text("general.architecture") + le(8, 4) + text("sdxl") +
        text("general.alignment") + le(4, 4) + le(32, 4) + text("tokens") + le(9, 4) + le(8, 4) +
        le(2, 8) + text("a") + text("bc") + text("scores") + le(9, 4) + le(6, 4) + le(3, 8) +
        le(0, 12) + text("comfy.gguf.orig_shape.conv") + le(9, 4) + le(5, 4) + le(4, 8) + le(4, 4) +
        le(8, 4) + le(2, 4) + le(4, 4) + tensor("linear", {256, 3}, 12, 0) +
        tensor("conv", {64, 4}, 1, 448) + tensor("norm", {7}, 0, 960);
    const Result<TensorTable> table = read_bytes(padded(header, 1000));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table->format, FileFormat::Gguf);
    EXPECT_EQ(table->metadata.at("general.architecture"), "sdxl");
    EXPECT_EQ(table->find("linear")->dtype, DType::Q4_K);
    EXPECT_THAT(table->find("linear")->shape, ElementsAre(3, 256));
    EXPECT_EQ(table->find("linear")->bytes, Bytes(3 * 144));
    EXPECT_THAT(table->find("conv")->shape, ElementsAre(4, 8, 2, 4));
    EXPECT_EQ(table->find("norm")->bytes, Bytes(28));
}

TEST(ReadGguf, gives_the_same_network_as_its_safetensors_file) {
    const TensorTable network = listed_network("sdxl");
    std::string header = head(network.tensors.size(), 0, 2);
    std::uint64_t offset = 0;
    for (const TensorEntry& entry : network.tensors) {
        std::vector<std::uint64_t> axes(entry.shape.rbegin(), entry.shape.rend());
        header += tensor(entry.name, axes, 1, offset);
        offset += static_cast<std::uint64_t>(entry.bytes.count + 31) / 32 * 32;
    }
    // The data is a hole; only its size counts.
    class Hole final : public ByteSource {
      public:
        Hole(std::string start, std::uint64_t size) : start_(std::move(start)), size_(size) {}
        [[nodiscard]] std::uint64_t size_bytes() const override { return size_; }
        [[nodiscard]] std::string name() const override { return "hole"; }
        [[nodiscard]] Result<void> read_at(std::uint64_t at, std::span<std::byte> into) override {
            for (std::byte& byte : into) {
                byte = at < start_.size() ? static_cast<std::byte>(start_[at]) : std::byte{0};
                ++at;
            }
            return {};
        }

      private:
        std::string start_;
        std::uint64_t size_;
    };
    Hole source(header, header.size() + 32 + offset);
    const Result<TensorTable> table = read_model(source);
    ASSERT_TRUE(table) << table.error().message;
    const Contents contents = detect_contents(*table);
    EXPECT_EQ(contents.family, Family::Sdxl);
    EXPECT_EQ(contents.everything.params, 2'567'463'684);
}

TEST(ReadGguf, ignores_original_shapes_of_another_size_and_says_so_once) {
    std::string header = head(3, 3);
    for (const std::string name : {"a", "b", "c"})
        header += text("comfy.gguf.orig_shape." + name) + le(9, 4) + le(5, 4) + le(1, 8) +
                  le(name == "a" ? 4 : 0xffffffff, 4);
    header += tensor("a", {2, 2}, 0, 0) + tensor("b", {1}, 0, 32) + tensor("c", {1}, 0, 64);
    const Result<TensorTable> table = read_bytes(padded(header, 96));
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_THAT(table->find("a")->shape, ElementsAre(4));
    EXPECT_THAT(table->find("b")->shape, ElementsAre(1));
    EXPECT_THAT(table->notes, ElementsAre(HasSubstr("2 tensors")));
}

TEST(ReadGguf, refuses_hostile_headers) {
    struct Hostile {
        std::string bytes;
        Errc code;
        std::string says;
    };
    const std::string nested = [] {
        std::string out = text("deep") + le(9, 4);
        for (int i = 0; i < 100; ++i) out += le(9, 4) + le(1, 8);
        return out;
    }();
    const std::vector<Hostile> cases = {
        {"GGUF", Errc::Corrupt, "ends"},
        {head(0, 0, 1), Errc::InvalidInput, "version 1"},
        {"GGUF" + "\0\0\0\3"s + le(0, 16), Errc::InvalidInput, "big-endian"},
        {head(UINT64_MAX, 0), Errc::LimitExceeded, "tensors"},
        {head(0, UINT64_MAX), Errc::LimitExceeded, "key values"},
        {head(1, 0), Errc::Corrupt, "ends"},
        {head(0, 1) + le(UINT64_MAX, 8), Errc::LimitExceeded, "limit 4096"},
        {head(0, 1) + text("k") + le(8, 4) + le(UINT64_MAX, 8), Errc::Corrupt, "expected"},
        {head(0, 1) + text("k") + le(77, 4) + le(0, 8), Errc::Corrupt, "unknown type 77"},
        {head(0, 1) + text("k") + le(9, 4) + le(77, 4) + le(5, 8), Errc::Corrupt,
         "unknown type 77"},
        {head(0, 1) + text("k") + le(9, 4) + le(0, 4) + le(UINT64_MAX, 8), Errc::LimitExceeded,
         "elements"},
        {head(0, 1) + nested, Errc::LimitExceeded, "deeper"},
        {head(0, 1) + text("general.alignment") + le(4, 4) + le(33, 4), Errc::Corrupt,
         "power of two"},
        {head(0, 1) + text("general.alignment") + le(4, 4) + le(0, 4), Errc::Corrupt,
         "alignment 0"},
        {head(0, 1) + text("general.alignment") + le(10, 4) + le(1ULL << 40U, 8), Errc::Corrupt,
         "alignment 1099511627776"},
        {head(1ULL << 60U, 0), Errc::LimitExceeded, "1152921504606846976 tensors"},
        {head(0, 1) + text("k") + le(9, 4) + le(8, 4) + le(1ULL << 60U, 8), Errc::LimitExceeded,
         "1152921504606846976 elements"},
        {head(0, 1) + text("k") + le(9, 4) + le(8, 4) + le(1, 8) + le(1ULL << 60U, 8),
         Errc::Corrupt, "expected"},
        {head(1, 0) + text("a") + le(1000, 4), Errc::LimitExceeded, "1000 axes"},
        {padded(head(1, 0) + tensor("a", {1}, 999, 0), 8), Errc::Corrupt, "unknown type 999"},
        {padded(head(1, 0) + tensor("a", {1ULL << 63U}, 0, 0), 8), Errc::Corrupt, "negative"},
        {padded(head(1, 0) + tensor("a", {1ULL << 32U, 1ULL << 32U}, 0, 0), 8), Errc::Corrupt,
         "1099511627776 elements"},
        {padded(head(1, 0) + tensor("a", {33}, 2, 0), 64), Errc::Corrupt, "block of 32"},
        {padded(head(1, 0) + tensor("a", {3}, 0, 0), 8), Errc::Corrupt, "truncated"},
        {padded(head(1, 0) + tensor("a", {1}, 0, UINT64_MAX - 31), 8), Errc::Corrupt, "truncated"},
        {padded(head(1, 0) + tensor("a", {1}, 0, 4), 64), Errc::Corrupt, "aligned"},
        {padded(head(2, 0) + tensor("a", {16}, 0, 0) + tensor("b", {8}, 0, 32), 64), Errc::Corrupt,
         "overlaps"},
        {padded(head(2, 0) + tensor("a", {8}, 0, 0) + tensor("a", {8}, 0, 32), 64), Errc::Corrupt,
         "twice"},
    };
    for (const Hostile& hostile : cases) {
        const Result<TensorTable> table = read_bytes(hostile.bytes);
        ASSERT_FALSE(table) << hostile.says;
        EXPECT_EQ(table.error().code, hostile.code) << table.error().message;
        EXPECT_THAT(table.error().message, HasSubstr(hostile.says));
        EXPECT_THAT(table.error().message, HasSubstr("model.gguf"));
    }
}

}  // namespace
}  // namespace plimsoll::modelfile
