// SPDX-License-Identifier: Apache-2.0
//
// The daemon itself: is it there, what is wrong, what it counts, what its API is.
#include "api/app.h"
#include "api/routes.h"
#include "guard/guard.h"
#include "service/doctor.h"
#include "wire/encode.h"

#include <algorithm>

namespace plimsoll::api {

Answer get_health(Call& call) {
    const AppParts& parts = call.app.parts();
    const std::shared_ptr<const service::Place> place = parts.lookout.place();
    const bool answers = parts.lookout.latest().has_value();
    const bool known = answers && place->stats && !place->stats->comfyui_version.empty();
    return answer_json(
        {{"status", "ok"},
         {"version", PLIMSOLL_VERSION},
         {"simulated", parts.simulated},
         {"uptimeSeconds", call.app.uptime_seconds()},
         {"comfyui", json::object{{"answers", answers},
                                  {"address", parts.comfyui.address()},
                                  {"version", known ? json::value(place->stats->comfyui_version)
                                                    : json::value(nullptr)}}}});
}

Answer get_doctor(Call& call) {
    const std::shared_ptr<const service::Place> place = call.app.parts().lookout.place();
    auto upstream = call.app.parts().comfyui.reach();
    if (!upstream) return answer_error(upstream.error());
    return answer_json(wire::encode_checkup(service::check_up(place->config, **upstream)));
}

Answer get_metrics(Call& call) {
    const AppParts& parts = call.app.parts();
    const auto jobs = parts.jobs.list();
    parts.metrics.set_jobs_waiting(static_cast<std::size_t>(
        std::ranges::count(jobs, service::QueueState::Queued, &service::QueuedJob::state)));
    parts.metrics.set_gateway(parts.gateway.view());
    parts.metrics.set_streams(parts.events.streams());
    Answer answer;
    answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer.body = parts.metrics.text();
    return answer;
}

Answer get_openapi(Call& call) {
    Answer answer;
    answer.body = std::string(call.app.parts().openapi_json);
    return answer;
}

}  // namespace plimsoll::api
