// SPDX-License-Identifier: Apache-2.0
//
// The gateway's queue: what waits, pause, order, taking back.
#include "api/app.h"
#include "api/routes.h"
#include "base/utf8.h"
#include "guard/guard.h"
#include "wire/encode_held.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

namespace plimsoll::api {

namespace {

constexpr std::size_t kPromptIdMax = 256;  // chosen: clients send UUIDs

std::optional<Answer> bad_id(const std::string& id) {
    if (!id.empty() && id.size() <= kPromptIdMax && is_utf8(id)) return std::nullopt;
    return answer_error(
        {Errc::InvalidInput, fmt::format("a prompt's id has 1 to {} characters", kPromptIdMax)});
}

struct HeldChangeWish {
    std::optional<std::int64_t> priority;
    std::optional<std::string> before;
};
Result<HeldChangeWish> read_wish(const std::string& body) {
    const auto parsed = parse_json(body);
    if (!parsed || !parsed->is_object())
        return fail(Errc::InvalidInput, parsed
                                            ? "the body must be an object with priority or before"
                                            : "the body is no JSON: " + parsed.error().message);
    HeldChangeWish wish;
    for (const auto& [key, value] : parsed->get_object()) {
        if (key == "priority" && value.is_int64()) {
            wish.priority = value.get_int64();
        } else if (key == "before" && value.is_string() &&
                   value.get_string().size() <= kPromptIdMax) {
            wish.before = std::string(value.get_string());
        } else {
            return fail(Errc::InvalidInput,
                        "the body has priority, a whole number, and before, a prompt's id or empty "
                        "text, and nothing else");
        }
    }
    if (!wish.priority && !wish.before) return fail(Errc::InvalidInput, "name priority or before");
    return wish;
}

}  // namespace

Answer get_gateway(Call& call) {
    return answer_json(wire::encode_gateway(call.app.parts().gateway.view()));
}

Answer pause_gateway(Call& call) {
    call.app.parts().gateway.pause();
    return get_gateway(call);
}

Answer resume_gateway(Call& call) {
    call.app.parts().gateway.resume();
    return get_gateway(call);
}

Answer get_held_job(Call& call) {
    const std::string& id = call.params.front();
    if (auto bad = bad_id(id)) return std::move(*bad);
    const auto job = call.app.parts().gateway.find(id);
    return job ? answer_json(wire::encode_held_job(*job)) : answer_error(job.error());
}

Answer patch_held_job(Call& call) {
    const std::string& id = call.params.front();
    if (auto bad = bad_id(id)) return std::move(*bad);
    const auto wish = read_wish(call.body);
    if (!wish) return answer_error(wish.error());
    guard::Guard& guard = call.app.parts().gateway;
    if (wish->priority)
        if (const auto set = guard.set_priority(id, *wish->priority); !set)
            return answer_error(set.error());
    if (wish->before)
        if (const auto moved = guard.move(id, *wish->before); !moved)
            return answer_error(moved.error());
    return get_held_job(call);
}

Answer run_held_job_anyway(Call& call) {
    const std::string& id = call.params.front();
    if (auto bad = bad_id(id)) return std::move(*bad);
    const auto job = call.app.parts().gateway.run_anyway(id);
    return job ? answer_json(wire::encode_held_job(*job)) : answer_error(job.error());
}

Answer delete_held_job(Call& call) {
    const std::string& id = call.params.front();
    if (auto bad = bad_id(id)) return std::move(*bad);
    const auto job = call.app.parts().gateway.cancel(id);
    return job ? answer_json(wire::encode_held_job(*job)) : answer_error(job.error());
}

}  // namespace plimsoll::api
