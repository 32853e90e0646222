// SPDX-License-Identifier: Apache-2.0
//
// The four nodes of the recordings that fail, wait and talk on purpose.
#include "simulator/nodes/registry.h"

#include <array>

namespace plimsoll::simulator {

namespace {

struct FixtureError {
    std::string_view kind;
    std::string_view type;
    std::string_view text;
    bool out_of_memory;
};
// Types and texts as recorded; the two of torch are what it says on a card of 24 GB.
constexpr std::array<FixtureError, 9> kErrors{{
    {"ValueError", "ValueError", "fixture: something is wrong with the value 3.5", false},
    {"RuntimeError_multiline", "RuntimeError", "line one\nline two \"quoted\" \u00e9\u4e2d", false},
    {"assert_empty", "AssertionError", "", false},
    {"custom_exception",
     "/comfyui-extra/custom_nodes/h1_fixture_nodes.FixtureRaise.run.<locals>.FixtureError",
     "('custom class', 42)", false},
    {"memory_error", "MemoryError", "", false},
    {"runtime_cpu_alloc", "RuntimeError",
     "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
     "you tried to allocate 8589934592 bytes. Error code 12 (Cannot allocate memory)",
     false},
    {"accelerator_oom", "torch.AcceleratorError",
     "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other "
     "API call, so the stacktrace below might be incorrect.",
     false},
    {"torch_oom_native", "torch.OutOfMemoryError",
     "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.99 GiB of "
     "which 1.02 GiB is free. Of the allocated memory 21.50 GiB is allocated by PyTorch, and "
     "512.00 MiB is reserved by PyTorch but unallocated.",
     true},
    {"torch_oom_async", "torch.OutOfMemoryError",
     "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
     "Currently allocated     : 22.36 GiB\nRequested               : 1.25 GiB\n"
     "Device limit            : 23.99 GiB\nFree (according to CUDA): 22.88 MiB\n"
     "PyTorch limit (set by user-supplied memory fraction)\n"
     "                        : 17179869184.00 GiB",
     true},
}};

NodeOutcome fixture_raise(NodeContext&, const NodeInputs& inputs) {
    const std::string kind = inputs.text("kind");
    if (kind == "interrupt")
        return std::unexpected(NodeFailure{NodeFailure::Kind::Interrupted, {}, {}, false});
    for (const FixtureError& error : kErrors)
        if (error.kind == kind)
            return std::unexpected(NodeFailure{NodeFailure::Kind::Raised, std::string(error.type),
                                               std::string(error.text), error.out_of_memory});
    return raise("ValueError", "unknown kind " + kind);
}

NodeOutcome pass_image(const NodeInputs& inputs) {
    PLIMSOLL_LINKED(image, ImageValue, "image", "shape");
    return NodeResult{{image}, std::nullopt};
}

NodeOutcome fixture_sleep(NodeContext& context, const NodeInputs& inputs) {
    // Does not look whether the prompt was interrupted meanwhile.
    if (!context.machine.pace.wait(inputs.number("seconds", 1))) return stopped();
    return pass_image(inputs);
}

NodeOutcome fixture_text(NodeContext& context, const NodeInputs& inputs) {
    context.send_text(inputs.text("text"));
    return pass_image(inputs);
}

NodeOutcome fixture_bad_is_changed(NodeContext&, const NodeInputs& inputs) {
    return pass_image(inputs);
}

constexpr std::array<NodeEntry, 4> kNodes{{
    {"FixtureRaise", fixture_raise},
    {"FixtureSleep", fixture_sleep},
    {"FixtureText", fixture_text},
    {"FixtureBadIsChanged", fixture_bad_is_changed},
}};

}  // namespace

std::span<const NodeEntry> fixture_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
