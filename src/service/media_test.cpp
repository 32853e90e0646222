// SPDX-License-Identifier: Apache-2.0
//
// Goal: sizes are read from a picture's header, and said in the words of --input. Method: headers
// made by hand, whole and broken.
#include "service/media.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

Result<memory::MediaSize> size_of(const std::string& bytes) {
    MemorySource source(std::as_bytes(std::span(bytes)), "picture");
    return read_picture_size(source);
}

std::string padded(std::string head) {
    head.resize(std::max<std::size_t>(head.size(), 64));
    return head;
}

TEST(PictureSize, is_read_from_the_headers_that_loaders_know) {
    const auto is = [](const std::string& bytes, int width, int height) {
        const auto size = size_of(padded(bytes));
        ASSERT_TRUE(size) << size.error().message;
        EXPECT_EQ(size->width, width);
        EXPECT_EQ(size->height, height);
        EXPECT_EQ(size->frames, 1);
    };
    is("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x03\x40\0\0\x04\xC0"s, 832, 1216);
    is("GIF89a\x40\x01\xF0\0"s, 320, 240);
    // Segments before the frame's header, padding between them.
    is("\xFF\xD8\xFF\xE0\0\x04xx\xFF\xFF\xC2\0\x11\x08\x02\0\x03\0"s, 768, 512);
    is("RIFF....WEBPVP8X........\xFF\x03\0\xFF\x01\0"s, 1024, 512);
    is("RIFF....WEBPVP8 ..........\x40\x01\xF0\0"s, 320, 240);
    is("RIFF....WEBPVP8L....\x2F\x3F\xC1\x3B\0"s, 320, 240);
    is("BM................\x40\x01\0\0\x10\xFF\xFF\xFF"s, 320, 240);
}

TEST(PictureSize, fails_for_what_is_no_picture) {
    EXPECT_EQ(size_of("").error().code, Errc::Corrupt);
    EXPECT_EQ(size_of("hello, world").error().code, Errc::Corrupt);
    EXPECT_EQ(size_of("\xFF\xD8"s).error().code, Errc::Corrupt);
    EXPECT_EQ(size_of(padded("\xFF\xD8\xFF\xE0\0\0"s)).error().code, Errc::Corrupt);
    EXPECT_EQ(size_of(padded("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\x04\xC0"s)).error().code,
              Errc::Corrupt);
    EXPECT_EQ(size_of(padded("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7F\0\0\0\0\0\x04\xC0"s)).error().code,
              Errc::LimitExceeded);
}

TEST(ParseMedia, takes_pictures_videos_and_sounds) {
    const auto video = parse_media("my clip.mp4=832x480x81@16");
    ASSERT_TRUE(video);
    EXPECT_EQ(video->first, "my clip.mp4");
    EXPECT_EQ(video->second.frames, 81);
    EXPECT_DOUBLE_EQ(video->second.frames_per_second, 16);
    EXPECT_DOUBLE_EQ(video->second.seconds, 81.0 / 16);
    EXPECT_EQ(parse_media("a.png=832x1216")->second.height, 1216);
    EXPECT_DOUBLE_EQ(parse_media("a.mp3=30.5s")->second.seconds, 30.5);
}

TEST(ParseMedia, says_what_is_wrong) {
    for (const char* wrong : {"", "a.png", "=832x1216", "a.png="})
        EXPECT_THAT(parse_media(wrong).error().message, HasSubstr("NAME=WxH")) << wrong;
    for (const char* wrong :
         {"a=0x5", "a=5x5x5x5", "a=99999999x5", "a=-5x5", "a=5x5@0", "a=s", "a=no such file"})
        EXPECT_THAT(parse_media(wrong).error().message, HasSubstr("neither a size")) << wrong;
}

}  // namespace
}  // namespace plimsoll::service
