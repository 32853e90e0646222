// SPDX-License-Identifier: Apache-2.0
#include "memory/trace.h"

#include "base/json.h"
#include "memory/trace/answer.h"

namespace plimsoll::memory {

namespace {

using trace::answer_question;
using trace::has_cu130_build;
using trace::KernelSet;

constexpr std::array<std::string_view, 11> kAnswerFields = {
    "peak_bytes",  "weights_bytes", "params",    "input_bytes", "max_cast_bytes",  "flops",
    "bytes_moved", "kernels",       "peak_site", "top_live",    "peak_bytes_cu130"};

json::array top_live_json(const Walk& walk) {
    json::array list;
    for (const LiveTensor& tensor : walk.top_live) {
        json::array shape;
        for (const std::int64_t dim : tensor.shape) shape.emplace_back(dim);
        list.emplace_back(json::object{{"bytes", tensor.bytes.count},
                                       {"shape", std::move(shape)},
                                       {"dtype", tensor.dtype},
                                       {"op", tensor.op},
                                       {"module", tensor.module}});
    }
    return list;
}

void write_answer(const Walk& walk, json::object& line) {
    const OpCost total = walk.costs.total();
    line["weights_bytes"] = walk.weights.count;
    line["params"] = walk.params;
    line["input_bytes"] = walk.input.count;
    line["peak_bytes"] = walk.peak.count;
    line["max_cast_bytes"] = walk.max_cast.count;
    line["flops"] = total.flops;
    line["bytes_moved"] = total.bytes_moved;
    line["kernels"] = total.kernels;
    line["peak_site"] = json::object{{"module", walk.peak_module}, {"op", walk.peak_op}};
    line["top_live"] = top_live_json(walk);
}

}  // namespace

Result<std::string> answer_trace_line(std::string_view json_line) {
    constexpr JsonLimits kLimits{.bytes_max = 1U << 20U,
                                 .depth_max = 16};  // chosen: recorded lines have 3 KB, depth 3
    TRY_ASSIGN(json::value line, parse_json(json_line, kLimits));
    if (!line.is_object()) return fail(Errc::Corrupt, "a trace line must be a JSON object");
    json::object& fields = line.get_object();
    // Whatever the caller believed about the answer is not ours to repeat.
    for (const std::string_view field : kAnswerFields) fields.erase(field);
    const Result<Walk> walk = answer_question(line);
    if (walk) {
        write_answer(*walk, fields);
        if (has_cu130_build(line)) {
            TRY_ASSIGN(const Walk fused, answer_question(line, KernelSet::Cu130));
            fields["peak_bytes_cu130"] = fused.peak.count;
        }
    } else {
        fields["verdict"] = "unknown";
        fields["reason"] = walk.error().message;
    }
    return json::serialize(line);
}

}  // namespace plimsoll::memory
