// SPDX-License-Identifier: Apache-2.0
// Goal: the small vocabulary of base/ keeps its promises. Method: values at the edges.
#include "base/base64.h"
#include "base/byte_source.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"
#include "base/units.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

namespace plimsoll {
namespace {

TEST(Bytes, are_binary_in_text) {
    EXPECT_EQ(to_text(Bytes::from_mib(4352)), "4352 MiB");
    EXPECT_EQ(to_text(Bytes::from_mib(3.125)), "3.1 MiB");
    EXPECT_EQ(to_gib_text(Bytes(1342177280)), "1.25 GiB");
}

TEST(Seconds, read_like_a_clock_above_a_hundred) {
    EXPECT_EQ(seconds_text(0.421), "0.42 s");
    EXPECT_EQ(seconds_text(18.26), "18.3 s");
    EXPECT_EQ(seconds_text(245.2), "4 min 05 s");
}

TEST(Numbers, refuse_trailing_text_and_infinity) {
    EXPECT_EQ(parse_integer("12"), 12);
    EXPECT_FALSE(parse_integer("12abc"));
    EXPECT_FALSE(parse_integer(""));
    EXPECT_FALSE(parse_number("inf"));
    EXPECT_FALSE(parse_number("nan"));
    EXPECT_EQ(parse_number("0.15"), 0.15);
}

TEST(Json, names_depth_and_place_of_the_fault) {
    const std::string deep(10'000, '[');
    EXPECT_EQ(parse_json(deep).error().code, Errc::LimitExceeded);
    EXPECT_EQ(parse_json("{\"a\": nope}").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_json("{} x").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_json("").error().code, Errc::Corrupt);
    EXPECT_EQ(find_int(*parse_json("{\"seed\": 18446744073709551615}"), "seed"), std::nullopt);
    EXPECT_EQ(parse_json("[NaN]").error().code, Errc::Corrupt);
}

TEST(Json, holds_no_infinity) {
    EXPECT_EQ(parse_json(R"({"a":[{"b":1e999}]})").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_json("[-1021e3084]").error().code, Errc::Corrupt);
    EXPECT_EQ(parse_json("[1e308, -1e-999]")->as_array().size(), 2U);
}

TEST(Random, repeats_from_its_seed_and_makes_distinct_uuids) {
    Random a(7);
    Random b(7);
    EXPECT_EQ(a.next_u64(), b.next_u64());
    std::set<std::string> ids;
    for (int i = 0; i < 1000; ++i) {
        const std::string id = a.next_uuid();
        ASSERT_EQ(id.size(), 36U);
        ASSERT_EQ(id[14], '4');
        ids.insert(id);
    }
    EXPECT_EQ(ids.size(), 1000U);
}

TEST(NearestNames, prefer_containment_then_distance) {
    const std::vector<std::string> names = {"v1-5-pruned.safetensors", "sd_xl_base_1.0.safetensors",
                                            "anime.safetensors"};
    EXPECT_EQ(nearest_names("sd_xl_base_1.0", names, 1).front(), "sd_xl_base_1.0.safetensors");
    EXPECT_EQ(nearest_names("anmie.safetensors", names, 1).front(), "anime.safetensors");
}

// The vectors of RFC 4648, section 10, and a byte that is no character.
TEST(Base64, pads_what_is_left_over) {
    EXPECT_EQ(encode_base64(""), "");
    EXPECT_EQ(encode_base64("f"), "Zg==");
    EXPECT_EQ(encode_base64("fo"), "Zm8=");
    EXPECT_EQ(encode_base64("foo"), "Zm9v");
    EXPECT_EQ(encode_base64("foobar"), "Zm9vYmFy");
    EXPECT_EQ(encode_base64("\xFF\xFE"), "//4=");
}

TEST(WriteFileAtomically, keeps_the_old_content_when_it_cannot_write) {
    const auto folder = std::filesystem::temp_directory_path() / Random(os_seed()).next_uuid();
    std::filesystem::create_directories(folder);
    const auto path = folder / "preset.json";
    const std::string first = "first";
    ASSERT_TRUE(write_file_atomically(path, std::as_bytes(std::span(first))));
    EXPECT_EQ(*read_text_file(path, 100), "first");
    EXPECT_EQ(read_text_file(path, 2).error().code, Errc::LimitExceeded);
    const std::string second = "second";
    EXPECT_FALSE(write_file_atomically(folder / "missing" / "preset.json",
                                       std::as_bytes(std::span(second))));
    EXPECT_EQ(*read_text_file(path, 100), "first");
    std::filesystem::remove_all(folder);
}

TEST(MemorySource, refuses_reads_past_its_end_without_overflow) {
    const std::string text = "abc";
    MemorySource source(std::as_bytes(std::span(text)));
    std::byte buffer[4];
    EXPECT_EQ(source.read_at(0, buffer).error().code, Errc::Corrupt);
    EXPECT_EQ(source.read_at(UINT64_MAX, std::span(buffer, 1)).error().code, Errc::Corrupt);
    EXPECT_TRUE(source.read_at(1, std::span(buffer, 2)));
}

}  // namespace
}  // namespace plimsoll
