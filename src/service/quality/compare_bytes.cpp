// SPDX-License-Identifier: Apache-2.0
//
// Two files of pictures, decoded and measured.
#include "quality/compare.h"
#include "quality/decode/decode.h"
#include "service/quality/draw.h"

#include <span>

namespace plimsoll::service {

namespace {

Result<quality::Image> image_of(std::string_view bytes) {
    TRY_ASSIGN(quality::Decoded decoded,
               quality::decode_image(std::as_bytes(std::span(bytes.data(), bytes.size()))));
    return std::move(decoded.image);
}

}  // namespace

Result<quality::Comparison> compare_picture_bytes(std::string_view reference,
                                                  std::string_view candidate,
                                                  const quality::Models& models) {
    auto original = image_of(reference);
    if (!original) return fail_at("the reference picture", original.error());
    auto drawn = image_of(candidate);
    if (!drawn) return fail_at("the picture", drawn.error());
    return quality::compare(*original, *drawn, models);
}

}  // namespace plimsoll::service
