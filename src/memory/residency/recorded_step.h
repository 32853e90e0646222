// SPDX-License-Identifier: Apache-2.0
//
// A recorded step of ComfyUI's loader as text: what a line asks is read here, what a VAE was called
// with is written. Lines are untrusted.
#pragma once
#include "base/json.h"
#include "memory/built_text_encoders.h"
#include "memory/compute_type.h"
#include "memory/residency/tiles.h"
#include "memory/server.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// The shape under a key, of images [N, C, H, W] or a video [N, C, T, H, W]. NotFound where there is
// none, InvalidInput where a side is out of range.
[[nodiscard]] Result<std::vector<std::int64_t>> shape_at(const json::value& inputs,
                                                         std::string_view key);
// "torch.bfloat16"; nullopt for "None" and what is not there.
[[nodiscard]] std::optional<ComputeType> torch_type(std::optional<std::string_view> name);
[[nodiscard]] std::vector<std::string> words_of(std::string_view text);
[[nodiscard]] Result<Device> read_device(const json::value& card);
// The line lists the types that the encoders have among them: CLIP's, which is the server's choice,
// then the file's own where that is another.
void read_text_types(const json::value* recorded, std::vector<BuiltTextEncoder>& encoders);

// Which loader nodes brought a model. A checkpoint's diffusion model may begin on the card; one
// that a node of its own loads begins on the host.
enum class LoadedBy : std::uint8_t {
    Checkpoint,         // all three parts
    CheckpointAndClip,  // the text encoders by a node after it
    Parts,              // a node for each
};

// The models of the recordings by their names there: the network, then the type of its file.
struct RecordedModel {
    std::string_view name;
    std::string_view architecture;
    LoadedBy loaded_by = LoadedBy::Checkpoint;
};
[[nodiscard]] RecordedModel recorded_model(std::string_view name);

// What a VAE was given: a batch of images, or videos.
struct VaeInput {
    std::int64_t images = 1;
    std::int64_t channels = 4;
    TileSize size;
    bool video = false;
};
[[nodiscard]] json::array calls_of(std::string_view what, std::span<const TileRun> runs,
                                   const VaeInput& input, std::string_view dtype,
                                   std::int64_t images);
// A whole batch in slices: full ones, then the rest.
void append_slices(json::array& calls, std::string_view what, const VaeInput& input, int slice,
                   std::string_view dtype);

}  // namespace plimsoll::memory
