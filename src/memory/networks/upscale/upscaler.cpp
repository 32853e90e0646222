// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/upscale/upscaler.h"

#include "memory/networks/calls.h"
#include "memory/networks/upscale/compact.h"
#include "memory/networks/upscale/rrdb.h"
#include "memory/networks/upscale/span.h"

#include <utility>

namespace plimsoll::memory {

namespace {

using SharedUpscaler = std::shared_ptr<const Upscaler>;

Result<SharedUpscaler> build(const modelfile::RrdbConfig& config) {
    return build_rrdb(config);
}
Result<SharedUpscaler> build(const modelfile::CompactConfig& config) {
    return build_compact(config);
}
Result<SharedUpscaler> build(const modelfile::SpanConfig& config) {
    return build_span(config);
}

std::int64_t padded(std::int64_t side, std::int64_t multiple) {
    return (side + multiple - 1) / multiple * multiple;
}

}  // namespace

Result<SharedUpscaler> build_upscaler(const modelfile::UpscalerConfig& config) {
    return std::visit([](const auto& c) { return build(c); }, config);
}

Walk simulate_upscale(const Upscaler& network, const UpscaleCall& call) {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    static const std::string kPadding;  // outside of all modules
    const Tensor pixels = tape.input({call.batch, network.colours(), call.height, call.width},
                                     element_type(call.compute));
    const Shape whole{call.batch, network.colours(), padded(call.height, network.multiple()),
                      padded(call.width, network.multiple())};
    const Tensor larger = [&] {
        if (whole[2] == call.height && whole[3] == call.width) return network.forward(tape, pixels);
        const Tensor reflected = ghost::clone(tape, &kPadding, pixels, whole);
        return network.forward(tape, reflected);
    }();
    return finish_walk(tape, network, call.compute, call.rules);
}

}  // namespace plimsoll::memory
