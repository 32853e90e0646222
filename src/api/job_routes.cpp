// SPDX-License-Identifier: Apache-2.0
//
// The queue: jobs, their pictures, cancelling.
#include "api/app.h"
#include "api/picture.h"
#include "api/routes.h"
#include "base/text.h"
#include "guard/guard.h"
#include "wire/encode_daemon.h"
#include "wire/encode_held.h"

#include <algorithm>
#include <utility>

namespace plimsoll::api {

namespace {

Answer with_job_id(Call& call, Answer (*use)(Call&, const std::string&)) {
    const std::string id = to_lower_ascii(call.params.front());
    if (!is_uuid(id))
        return answer_error({Errc::InvalidInput, "a job's id is a UUID, see /api/jobs"});
    return use(call, id);
}

}  // namespace

Answer list_jobs(Call& call) {
    json::object answer = wire::encode_jobs(call.app.parts().jobs.list());
    json::array held;
    for (const guard::HeldView& job : call.app.parts().gateway.list())
        held.emplace_back(wire::encode_held_job(job));
    answer["held"] = std::move(held);
    return answer_json(answer);
}

Answer get_job(Call& call) {
    return with_job_id(call, [](Call& of, const std::string& id) {
        const auto job = of.app.parts().jobs.find(id);
        return job ? answer_json(wire::encode_job_detail(*job)) : answer_error(job.error());
    });
}

Answer delete_job(Call& call) {
    return with_job_id(call, [](Call& of, const std::string& id) {
        const auto job = of.app.parts().jobs.cancel(id);
        return job ? answer_json(wire::encode_job(*job)) : answer_error(job.error());
    });
}

Answer get_job_image(Call& call) {
    return with_job_id(call, [](Call& of, const std::string& id) {
        const auto index = parse_integer(of.params.at(1));
        if (!index || *index < 0 || *index > 999)
            return answer_error({Errc::InvalidInput, "the picture's number must be from 0 to 999"});
        const auto job = of.app.parts().jobs.find(id);
        if (!job) return answer_error(job.error());
        if (static_cast<std::size_t>(*index) >= job->images.size())
            return answer_error({Errc::NotFound, "the job has no picture of that number"});
        return answer_picture_file(job->images[static_cast<std::size_t>(*index)]);
    });
}

Answer get_job_preview(Call& call) {
    return with_job_id(call, [](Call& of, const std::string& id) {
        auto preview = of.app.parts().jobs.read_preview(id);
        return preview ? answer_picture(std::move(*preview)) : answer_error(preview.error());
    });
}

}  // namespace plimsoll::api
