// SPDX-License-Identifier: Apache-2.0
//
// Test fixture: files made of listings of whole networks, and the ghost networks that they give.
#pragma once
#include "memory/built_models.h"
#include "memory/networks/clip_text.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/gz_fixture.h"
#include "memory/networks/text/text_encoder.h"
#include "memory/networks/vae.h"
#include "modelfile/detect.h"
#include "modelfile/sparse_file.h"

#include <memory>
#include <string>
#include <utility>

namespace plimsoll::memory {

// tests/data/modelfile/headers/NAME.json.gz.
[[nodiscard]] inline modelfile::TensorTable listing(const std::string& name) {
    Result<modelfile::TensorTable> table =
        modelfile::parse_listing(recorded_text("modelfile/headers/" + name + ".json.gz"));
    EXPECT_TRUE(table) << name;
    return table ? *std::move(table) : modelfile::TensorTable{};
}

[[nodiscard]] inline BuiltFile build(const modelfile::TensorTable& table) {
    return build_file(std::make_shared<modelfile::Contents>(modelfile::detect_contents(table)));
}

// The first network of a file; nullptr where it has none.
[[nodiscard]] inline const Network* network_of(const BuiltFile& file) {
    if (file.denoiser) return file.denoiser.get();
    if (file.vae) return file.vae.get();
    return file.text_encoders.empty() ? nullptr : &file.text_encoders.front().network();
}

// Elements that a file of it holds.
[[nodiscard]] inline std::int64_t params_of(const Network& network) {
    std::int64_t params = 0;
    for (const ModuleEntry& module : network.modules())
        params += module.elements - module.unsaved_elements;
    return params;
}

[[nodiscard]] inline std::int64_t params_of(const modelfile::TensorTable& table) {
    std::int64_t params = 0;
    for (const modelfile::TensorEntry& tensor : table.tensors)
        params += modelfile::element_count(tensor.shape);
    return params;
}

}  // namespace plimsoll::memory
