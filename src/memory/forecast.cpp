// SPDX-License-Identifier: Apache-2.0
#include "memory/forecast.h"

namespace plimsoll::memory {

std::string_view phase_kind_name(PhaseKind kind) {
    switch (kind) {
        case PhaseKind::Load:
            return "load";
        case PhaseKind::TextEncode:
            return "text_encode";
        case PhaseKind::ImageEncode:
            return "image_encode";
        case PhaseKind::Sample:
            return "sample";
        case PhaseKind::VaeEncode:
            return "vae_encode";
        case PhaseKind::VaeDecode:
            return "vae_decode";
        case PhaseKind::Upscale:
            return "upscale";
        case PhaseKind::Other:
            return "other";
        case PhaseKind::Unknown:
            return "unknown";
    }
    return "unknown";
}

std::string_view verdict_name(Verdict verdict) {
    switch (verdict) {
        case Verdict::Fits:
            return "fits";
        case Verdict::FitsSlowly:
            return "fits_slowly";
        case Verdict::WillNotFit:
            return "will_not_fit";
        case Verdict::Unknown:
            return "unknown";
    }
    return "unknown";
}

}  // namespace plimsoll::memory
