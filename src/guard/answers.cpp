// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI's own routes say about jobs that wait here.
#include "base/json.h"
#include "base/say.h"
#include "base/text.h"
#include "gateway/comfyui_text.h"
#include "guard/guard.h"
#include "guard/jobs_text.h"
#include "guard/saved_latent.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace plimsoll::guard {

using gateway::Answer;
using gateway::ClientRequest;
using gateway::Route;

namespace {

constexpr std::size_t kIdsMax = 100'000;  // chosen: five times what can wait

Answer json_answer(std::string body) {
    return {.status = 200,
            .headers = {{"Content-Type", "application/json; charset=utf-8"}},
            .body = std::move(body)};
}

struct QueueWish {
    bool clear = false;
    std::vector<std::string> ids;
};
QueueWish read_wish(const std::string& body, std::string_view key) {
    QueueWish wish;
    const auto parsed = parse_python_json(body);
    if (!parsed) return wish;
    wish.clear = find_bool(*parsed, "clear").value_or(false);
    const json::value* const ids = plimsoll::find(*parsed, key);
    if (ids == nullptr || !ids->is_array()) return wish;
    for (const json::value& id : ids->get_array())
        if (id.is_string() && wish.ids.size() < kIdsMax) wish.ids.emplace_back(id.get_string());
    return wish;
}

bool asks_for_pending(std::string_view target) {
    const auto at = target.find('?');
    if (at == std::string_view::npos) return true;
    for (const net::QueryField& field : net::parse_query(target.substr(at + 1))) {
        if (field.name == "status" && !field.value.contains("pending")) return false;
        if (field.name == "offset" && field.value != "0") return false;
        if (field.name == "workflow_id") return false;  // nothing here knows of one
    }
    return true;
}

// Which of its history a client asks for. ComfyUI counts `offset` from the oldest; without one
// `max_items` are the newest.
struct HistoryPage {
    bool from_oldest = false;
    std::optional<std::size_t> count;
};
HistoryPage read_page(std::string_view target) {
    HistoryPage page;
    const auto at = target.find('?');
    if (at == std::string_view::npos) return page;
    for (const net::QueryField& field : net::parse_query(target.substr(at + 1))) {
        const auto number = parse_integer(field.value);
        if (field.name == "offset") page.from_oldest = number && *number >= 0;
        if (field.name == "max_items" && number && *number >= 0)
            page.count = static_cast<std::size_t>(*number);
    }
    return page;
}

}  // namespace

std::string Guard::without_our_output(std::string answer) const {
    const auto hide = [&](const std::string& id, const Facts& facts) {
        if (facts.latent && answer.contains(kLatentNode))
            answer = without_output(answer, id, kLatentNode);
    };
    for (const HeldEntry* const entry : queue_.in_order())
        hide(entry->kept.prompt_id, entry->facts);
    for (const EndedJob& ended : ended_.newest_first())
        hide(ended.view.prompt_id, ended.view.facts);
    return answer;
}

bool Guard::wants(Route route) const noexcept {
    switch (route) {
        case Route::GetPrompt:
        case Route::GetQueue:
        case Route::PostQueue:
        case Route::Jobs:
        case Route::Job:
        case Route::CancelJob:
        case Route::CancelJobs:
            return held_ > 0 || has_flights_;
        case Route::Interrupt:
            return held_ > 0 || has_flights_;
        case Route::HistoryItem:
        case Route::GetHistory:
            return has_history_ || has_latents_ || held_ > 0 || has_flights_;
        case Route::PostHistory:
            return has_history_ || has_flights_;
        case Route::Free:
            return true;
        case Route::Other:
        case Route::PostPrompt:
            return false;
    }
    return false;
}

std::vector<std::string> Guard::take_back(const std::vector<std::string>& ids) {
    std::vector<std::string> taken;
    {
        const std::lock_guard lock(mutex_);
        for (const std::string& id : ids) {
            // ComfyUI is asked by the same request; what it does is no failure.
            if (flights_.cancel(id)) continue;
            const auto entry = queue_.take(id);
            if (!entry) continue;
            flights_.erase(id);
            discretion_.clear_end(id);
            note_end(*entry, HeldState::Cancelled, say<"end.cancelled_early">(), std::nullopt);
            taken.push_back(id);
        }
        if (taken.empty()) return taken;
        recount();
        announce();
        woken_ = true;
    }
    const auto dropped = ledger_.drop(taken);
    if (!dropped) warn("history", "", dropped.error().message);
    wake_.notify_all();
    return taken;
}

bool Guard::withholds(std::string_view text) {
    const auto said = parse_client_text(text);
    if (!said) return false;
    const std::lock_guard lock(mutex_);
    if (!discretion_.withholds(*said)) return false;
    recount();
    return true;
}

std::optional<Answer> Guard::answer(const ClientRequest& request) {
    switch (request.route) {
        case Route::PostQueue: {
            QueueWish wish = read_wish(request.body, "delete");
            if (wish.clear) {
                const std::lock_guard lock(mutex_);
                flights_.cancel_waiting();
                for (const HeldEntry* const entry : discretion_.pending())
                    wish.ids.push_back(entry->kept.prompt_id);
            }
            (void)take_back(wish.ids);
            return std::nullopt;
        }
        case Route::Interrupt: {
            const auto parsed = parse_python_json(request.body);
            const auto id = parsed ? find_string(*parsed, "prompt_id") : std::nullopt;
            if (id) {
                (void)take_back({std::string(*id)});
                return std::nullopt;
            }
            // What a person sees as running: the job that is tried again, where none runs.
            std::vector<std::string> rescued;
            {
                const std::lock_guard lock(mutex_);
                flights_.cancel_running();
                if (flights_.empty())
                    for (const HeldEntry* const entry : queue_.in_order())
                        if (entry->kept.mark.attempts > 0) rescued.push_back(entry->kept.prompt_id);
            }
            (void)take_back(rescued);
            return std::nullopt;
        }
        case Route::PostHistory: {
            const QueueWish wish = read_wish(request.body, "delete");
            const std::lock_guard lock(mutex_);
            const auto is_meant = [&](const std::string& id) {
                return wish.clear || std::ranges::find(wish.ids, id) != wish.ids.end();
            };
            flights_.forget_history(is_meant);
            ended_.forget_history(is_meant);
            recount();
            return std::nullopt;
        }
        case Route::Free: {
            const auto parsed = parse_python_json(request.body);
            if (parsed && (find_bool(*parsed, "unload_models").value_or(false) ||
                           find_bool(*parsed, "free_memory").value_or(false))) {
                const std::lock_guard lock(mutex_);
                residents_.forget();
                loaded_.clear();
            }
            return std::nullopt;
        }
        case Route::HistoryItem: {
            const std::lock_guard lock(mutex_);
            // While it is tried again nothing has ended yet.
            if (queue_.find(request.argument) != nullptr &&
                !discretion_.is_closing(request.argument) &&
                flights_.find(request.argument) == nullptr)
                return json_answer("{}");
            const std::string* const history = ended_.find_history(request.argument);
            if (history == nullptr) return std::nullopt;
            return json_answer(
                fmt::format("{{{}: {}}}", gateway::quote_json(request.argument), *history));
        }
        case Route::Job: {
            const std::lock_guard lock(mutex_);
            const HeldEntry* const entry = queue_.find(request.argument);
            const Flight* const flight = flights_.find(request.argument);
            if (entry == nullptr || discretion_.is_closing(request.argument) ||
                (flight != nullptr && !flight->withheld))
                return std::nullopt;
            return json_answer(job_item(*entry, service::JobState::Pending));
        }
        case Route::CancelJob:
            if (!take_back({request.argument}).empty())
                return json_answer(R"({"cancelled": true})");
            return std::nullopt;
        case Route::CancelJobs:
            (void)take_back(read_wish(request.body, "job_ids").ids);
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

std::optional<Answer> Guard::amend(const ClientRequest& request, const Answer& upstream) {
    // Without ComfyUI the jobs that wait here are all that there is to tell.
    const bool is_gone = upstream.status == 502;
    if (!is_gone && upstream.status != 200) return std::nullopt;
    Answer amended = is_gone ? json_answer("") : upstream;
    hear();  // what the client may have heard before it asked
    const std::lock_guard lock(mutex_);
    std::optional<std::string> body;
    switch (request.route) {
        case Route::GetQueue: {
            // With those that ComfyUI has just put down, until it is known how they ended: clients
            // take a job that is in neither list for lost.
            std::vector<const HeldEntry*> held = discretion_.pending();
            for (const auto& [id, flight] : flights_.all())
                if (const HeldEntry* const entry = queue_.find(id);
                    entry != nullptr && !discretion_.is_over(*entry, flight) &&
                    std::ranges::find(held, entry) == held.end())
                    held.push_back(entry);
            body = with_pending(is_gone ? R"({"queue_running": [], "queue_pending": []})"
                                        : std::string_view(upstream.body),
                                held);
            break;
        }
        case Route::GetPrompt:
            body = with_remaining(is_gone ? R"({"exec_info": {"queue_remaining": 0}})"
                                          : std::string_view(upstream.body),
                                  held_);
            break;
        case Route::Jobs:
            if (is_gone) return std::nullopt;
            body = with_jobs(upstream.body,
                             asks_for_pending(request.target) ? discretion_.pending()
                                                              : std::vector<const HeldEntry*>(),
                             [&](const ListedJob& job) {
                                 const HeldEntry* const entry = queue_.find(job.id);
                                 return entry != nullptr &&
                                        discretion_.hides(*entry, job.state, job.error);
                             });
            break;
        case Route::Job: {
            // ComfyUI looks into its history before it looks at what runs.
            const HeldEntry* const entry = queue_.find(request.argument);
            const auto job = is_gone ? std::nullopt : parse_listed_job(upstream.body);
            if (entry == nullptr || !job || !discretion_.hides(*entry, job->state, job->error))
                return std::nullopt;
            const Flight* const flight = flights_.find(request.argument);
            body =
                job_item(*entry, flight != nullptr && flight->started ? service::JobState::Running
                                                                      : service::JobState::Pending);
            break;
        }
        case Route::GetHistory: {
            if (is_gone) return std::nullopt;
            body = has_latents_ ? without_our_output(upstream.body) : upstream.body;
            for (const HeldEntry* const entry : queue_.in_order())
                if (body &&
                    (entry->kept.mark.attempts > 0 ||
                     flights_.find(entry->kept.prompt_id) != nullptr) &&
                    body->contains(entry->kept.prompt_id) &&
                    discretion_.hides_history(*entry, *body))
                    body = without_member(*body, entry->kept.prompt_id);
            // Ours come behind ComfyUI's own: on the page where those end. How many of them there
            // are before an empty page is not known here.
            const HistoryPage page = read_page(request.target);
            std::size_t count = count_members(upstream.body);
            if (page.from_oldest && count == 0) break;
            for (const EndedJob& ended : std::views::reverse(ended_.newest_first())) {
                if (page.from_oldest && page.count && count >= *page.count) break;
                if (!ended.history || !body || body->contains(ended.view.prompt_id)) continue;
                body = with_member(*body, ended.view.prompt_id, *ended.history);
                ++count;
            }
            if (body && page.count && !page.from_oldest)
                body = with_newest_members(*body, *page.count);
            break;
        }
        case Route::HistoryItem: {
            const HeldEntry* const entry = queue_.find(request.argument);
            if (is_gone) return std::nullopt;
            if (entry != nullptr && discretion_.hides_history(*entry, upstream.body)) body = "{}";
            if (!body && has_latents_) body = without_our_output(upstream.body);
            break;
        }
        case Route::PostQueue:
        case Route::Interrupt:
            // What waited here was taken back all the same.
            if (!is_gone) return std::nullopt;
            return Answer{.status = 200, .headers = {}, .body = ""};
        default:
            return std::nullopt;
    }
    if (!body) return std::nullopt;
    amended.body = std::move(*body);
    return amended;
}

}  // namespace plimsoll::guard
