// SPDX-License-Identifier: Apache-2.0
#include "gateway/prompt_hook.h"

namespace plimsoll::gateway {

std::string_view route_name(Route route) {
    switch (route) {
        case Route::Other:
            return "any other route";
        case Route::PostPrompt:
            return "POST /prompt";
        case Route::GetPrompt:
            return "GET /prompt";
        case Route::GetQueue:
            return "GET /queue";
        case Route::PostQueue:
            return "POST /queue";
        case Route::Interrupt:
            return "POST /interrupt";
        case Route::Free:
            return "POST /free";
        case Route::GetHistory:
            return "GET /history";
        case Route::HistoryItem:
            return "GET /history/{prompt_id}";
        case Route::PostHistory:
            return "POST /history";
        case Route::Jobs:
            return "GET /api/jobs";
        case Route::Job:
            return "GET /api/jobs/{id}";
        case Route::CancelJob:
            return "POST /api/jobs/{id}/cancel";
        case Route::CancelJobs:
            return "POST /api/jobs/cancel";
    }
    return "any other route";
}

const Result<PromptBody>& PromptCall::body() {
    std::call_once(parsed_, [this] { body_.emplace(parse_prompt_body(request_.body)); });
    return *body_;
}

}  // namespace plimsoll::gateway
