// SPDX-License-Identifier: Apache-2.0
//
// ImageReader: a network that looks at images and answers with something else than a latent or
// tokens: masks, depths. ComfyUI's nodes resize the images first and hand the answers back in the
// size of the image; both are part of the walk.
#pragma once
#include "memory/networks/layers.h"
#include "modelfile/networks/image_reader_config.h"

#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct ReaderCall {
    int batch = 1;      // images that the node is given
    int height = 1024;  // pixels of one
    int width = 1024;
    int at_once = 1;            // in a forward, where the node lets choose it
    int side = 0;               // pixels of the side that it is resized by; 0: the network's own
    bool shorter_side = false;  // that is the shorter one
    double detail = 1;          // of 0 to 1, where the node lets choose it
    int refinements = 0;        // closer looks at what was found, where the node lets choose it
    bool has_text = true;       // that says what to find; else points or boxes do
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
};

// Who loads it, which decides its types and where it runs.
enum class ReaderLoader : std::uint8_t {
    AsTextEncoder,  // fp16 weights, each operation in the fp32 of the image
    AsDiffusion     // in the card's own type throughout
};

class ImageReader : public RegisteredNetwork {
  public:
    // One forward, from the images on the card to the answers there. Everything that is alive when
    // the node returns.
    [[nodiscard]] virtual std::vector<Tensor> read(Tape& tape, const ReaderCall& call) const = 0;
    [[nodiscard]] virtual ReaderLoader loader() const = 0;
    // Forwards for so many images.
    [[nodiscard]] virtual int forwards(const ReaderCall& call) const { return call.batch; }
    [[nodiscard]] virtual std::string_view title() const = 0;  // "BiRefNet"
};

[[nodiscard]] Result<std::shared_ptr<const ImageReader>> build_image_reader(
    const modelfile::ImageReaderConfig& config);
[[nodiscard]] Walk simulate_reading(const ImageReader& network, const ReaderCall& call);

}  // namespace plimsoll::memory
