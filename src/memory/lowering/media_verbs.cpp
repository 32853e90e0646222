// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/verbs.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::NodeOutput;

// Chosen, where a file's size is not known: a square image of the size most models are trained on;
// five seconds of 720p video; a sound of ten seconds.
constexpr MediaSize kUsualImage{.width = 1024, .height = 1024};
constexpr MediaSize kUsualVideo{
    .width = 1280, .height = 720, .frames = 121, .frames_per_second = 24, .seconds = 5};
constexpr MediaSize kUsualSound{.seconds = 10};

const MediaSize* find_media(const InputMedia& media, std::string_view name) {
    if (const auto exact = media.by_name.find(name); exact != media.by_name.end())
        return &exact->second;
    const std::size_t mark = name.rfind(" [");
    if (mark == std::string_view::npos || !name.ends_with(']')) return nullptr;
    const auto bare = media.by_name.find(name.substr(0, mark));
    return bare == media.by_name.end() ? nullptr : &bare->second;
}

MediaSize usual(NodeOutput::Kind kind) {
    if (kind == NodeOutput::Kind::Sound) return kUsualSound;
    return kind == NodeOutput::Kind::Video ? kUsualVideo : kUsualImage;
}

std::string described(NodeOutput::Kind kind, const MediaSize& size) {
    if (kind == NodeOutput::Kind::Sound) return fmt::format("{} seconds", size.seconds);
    if (kind == NodeOutput::Kind::Video)
        return fmt::format("{} frames of {} x {}", size.frames, size.width, size.height);
    return fmt::format("{} x {}", size.width, size.height);
}

// The mask of an image, where the node hands one out, has its size: a second output like it.
Value media_value(NodeOutput::Kind kind, const MediaSize& size) {
    if (kind == NodeOutput::Kind::Sound) return {SoundShape{std::max(0.0, size.seconds)}};
    const ImageShape image{std::clamp(size.frames, 1, kBatchMax),
                           std::clamp(size.height, 1, kSideMax),
                           std::clamp(size.width, 1, kSideMax)};
    if (kind == NodeOutput::Kind::Video)
        return {VideoShape{image, std::max(0.0, size.frames_per_second)}};
    return {image};
}

}  // namespace

Values lower_media_verb(NodeScope& scope, const InputMedia& media) {
    const workflow::NodeKind& kind = scope.kind();
    const auto first = kind.outputs.empty() ? NodeOutput::Kind::Image : kind.outputs.front().kind;
    const std::string name =
        scope.text(kind.files.empty() ? "image" : kind.files.front()).value_or("");
    const MediaSize* known = find_media(media, name);
    const MediaSize size = known != nullptr ? *known : usual(first);
    if (known == nullptr)
        scope.program().warnings.push_back(
            name.empty() ? say<"note.media_here">(scope.node().id, scope.node().class_type,
                                                  described(first, size))
                         : say<"note.media">(scope.node().id, scope.node().class_type, name,
                                             described(first, size)));
    scope.step(CpuStep{});
    Values values;
    for (const NodeOutput& output : kind.outputs) values.push_back(media_value(output.kind, size));
    if (values.empty()) values.push_back(media_value(first, size));
    return values;
}

}  // namespace plimsoll::memory
