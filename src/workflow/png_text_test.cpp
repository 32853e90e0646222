// SPDX-License-Identifier: Apache-2.0
// Goal: the workflow in a PNG is found in all three kinds of text chunk, and hostile chunks get an
// error. Method: a PNG that ComfyUI saved, and chunks made by hand.
#include "workflow/png_text.h"

#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <span>

namespace plimsoll::workflow {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

std::string be32(std::uint32_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8)
        out += static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xffU);
    return out;
}

std::string chunk(const std::string& type, const std::string& data) {
    const std::string body = type + data;
    const uLong crc =
        crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return be32(static_cast<std::uint32_t>(data.size())) + body +
           be32(static_cast<std::uint32_t>(crc));
}

std::string packed(const std::string& text) {
    uLongf size = compressBound(text.size());
    std::string out(size, '\0');
    compress(reinterpret_cast<Bytef*>(out.data()), &size,
             reinterpret_cast<const Bytef*>(text.data()), text.size());
    out.resize(size);
    return out;
}

std::string png(const std::string& chunks) {
    return "\x89PNG\r\n\x1a\n"s + chunk("IHDR", std::string(13, '\0')) + chunks + chunk("IEND", "");
}

Result<EmbeddedWorkflow> read_bytes(const std::string& bytes) {
    MemorySource source(std::as_bytes(std::span(bytes)));
    return read_png_workflow(source);
}

TEST(ReadPngWorkflow, finds_what_comfyui_saved) {
    const auto source =
        open_file(std::string(PLIMSOLL_TEST_DATA) + "/workflow/txt2img_ComfyUI_00001_.png");
    ASSERT_TRUE(source);
    const Result<EmbeddedWorkflow> found = read_png_workflow(**source);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_TRUE(found->prompt);
    ASSERT_TRUE(found->workflow);
    const Result<Graph> graph = parse_api_workflow(*found->prompt);
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_NE(graph->find("3"), nullptr);
    EXPECT_EQ(graph->find("3")->class_type, "KSampler");
    EXPECT_EQ(parse_api_workflow(*found->workflow).error().code, Errc::InvalidInput);
}

TEST(ReadPngWorkflow, reads_plain_packed_and_international_text) {
    const std::string text = R"({"1":{"class_type":"A"}})";
    for (const std::string& made :
         {chunk("tEXt", "prompt\0"s + text), chunk("zTXt", "prompt\0\0"s + packed(text)),
          chunk("iTXt", "prompt\0\0\0en\0key\0"s + text),
          chunk("iTXt", "prompt\0\1\0\0\0"s + packed(text))}) {
        const Result<EmbeddedWorkflow> found = read_bytes(png(chunk("tEXt", "Comment\0x"s) + made));
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(found->prompt, text);
        EXPECT_FALSE(found->workflow);
    }
}

TEST(ReadPngWorkflow, takes_latin_1_for_what_is_no_utf_8) {
    EXPECT_EQ(read_bytes(png(chunk("tEXt", "prompt\0caf\xe9"s)))->prompt, "caf\xc3\xa9");
    EXPECT_EQ(read_bytes(png(chunk("tEXt", "prompt\0caf\xc3\xa9"s)))->prompt, "caf\xc3\xa9");
}

TEST(ReadPngWorkflow, says_when_there_is_none) {
    const Result<EmbeddedWorkflow> found = read_bytes(png(chunk("IDAT", std::string(1000, 'x'))));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::NotFound);
}

TEST(ReadPngWorkflow, refuses_hostile_chunks) {
    std::string wrong_crc = png(chunk("tEXt", "prompt\0{}"s));
    wrong_crc[8 + 25 + 8 + 7] ^= 1;  // inside the text
    const std::string start = "\x89PNG\r\n\x1a\n"s + chunk("IHDR", std::string(13, '\0'));
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"", "no PNG"},
        {"\x89PNG\r\n\x1a", "no PNG"},
        {"GIF89a__________", "signature"},
        {"\x89PNG\r\n\x1a\n"s + chunk("tEXt", "prompt\0{}"s), "IHDR"},
        {start + be32(0xffffffff) + "tEXt" + std::string(20, 'x'), "claims 4294967295"},
        {start + be32(100) + "tEXt" + std::string(20, 'x'), "claims 100"},
        {wrong_crc, "checksum"},
        {png(chunk("tEXt", "prompt")), "no key"},
        {png(chunk("zTXt", "prompt\0\0not zlib"s)), "does not unpack"},
        {png(chunk("zTXt", "prompt\0\7"s + packed("{}"))), "method"},
        {png(chunk("zTXt", "prompt\0\0"s + packed(std::string(1000, 'x')).substr(0, 8))),
         "does not unpack"},
        {png(chunk("iTXt", "prompt\0\0\0en"s)), "too short"},
        {png(chunk("iTXt", "prompt\0"s)), "too short"},
    };
    for (const auto& [bytes, says] : cases) {
        const Result<EmbeddedWorkflow> found = read_bytes(bytes);
        ASSERT_FALSE(found) << says;
        EXPECT_EQ(found.error().code, Errc::Corrupt);
        EXPECT_THAT(found.error().message, HasSubstr(says));
    }
}

TEST(ReadPngWorkflow, stops_a_bomb_that_unpacks_beyond_the_limit) {
    const Result<EmbeddedWorkflow> found = read_bytes(
        png(chunk("zTXt", "prompt\0\0"s + packed(std::string(kWorkflowBytesMax + 1, ' ')))));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::LimitExceeded);
}

TEST(ReadPngWorkflow, stops_many_bombs_that_each_stay_within_the_limit) {
    // 100 chunks of 60 kB that unpack to 60 MB each.
    const std::string bomb =
        chunk("zTXt", "prompt\0\0"s + packed(std::string(kWorkflowBytesMax / 10 * 6, ' ')));
    std::string bombs;
    for (int i = 0; i < 100; ++i) bombs += bomb;
    const Result<EmbeddedWorkflow> found = read_bytes(png(bombs));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::LimitExceeded);
}

TEST(ReadPngWorkflow, does_not_read_texts_of_other_programs) {
    // Stable Diffusion web UI's "parameters", damaged: nobody asked for it.
    std::string other = chunk("tEXt", "parameters\0"s + std::string(1000, 'x'));
    other[500] = 'y';
    const Result<EmbeddedWorkflow> found = read_bytes(png(other + chunk("tEXt", "prompt\0{}"s)));
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->prompt, "{}");
}

TEST(ReadPngWorkflow, passes_on_every_failed_read) {
    const std::string bytes = png(chunk("tEXt", "prompt\0{}"s));
    MemorySource inner(std::as_bytes(std::span(bytes)));
    for (int n = 0;; ++n) {
        FailingSource source(inner, n);
        const Result<EmbeddedWorkflow> found = read_png_workflow(source);
        if (!source.has_failed()) {
            EXPECT_TRUE(found);
            EXPECT_GT(n, 3);
            break;
        }
        ASSERT_FALSE(found);
        EXPECT_EQ(found.error().code, Errc::Unavailable);
    }
}

}  // namespace
}  // namespace plimsoll::workflow
