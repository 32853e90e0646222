// SPDX-License-Identifier: Apache-2.0
#include "api/answer.h"

#include "base/utf8.h"
#include "wire/encode.h"
#include "wire/encode_phrase.h"

#include <array>
#include <utility>

namespace plimsoll::api {

namespace {

struct RefusalDoor {
    std::string_view json_name;
    int status;
};
constexpr std::array<RefusalDoor, 7> kRefusals{{{"unauthorized", 401},
                                                {"forbidden", 403},
                                                {"not_found", 404},
                                                {"method_not_allowed", 405},
                                                {"limit_exceeded", 413},
                                                {"unsupported_media_type", 415},
                                                {"busy", 429}}};

}  // namespace

Answer answer_json(const json::object& object, int status) {
    Answer answer;
    answer.status = status;
    // File names and texts of other programs may hold anything; JSON may not.
    answer.body = valid_utf8(json::serialize(object));
    return answer;
}

Answer answer_error(const Error& error, json::value details) {
    return answer_json(wire::encode_error(error, std::move(details)),
                       error_door(error.code).http_status);
}

Answer refuse(Refusal why, const Phrase& message) {
    const RefusalDoor& door = kRefusals.at(static_cast<std::size_t>(why));
    Answer answer =
        answer_json({{"error", json::object{{"code", door.json_name},
                                            {"message", message.message()},
                                            {"details", wire::with_phrase(nullptr, message)}}}},
                    door.status);
    if (why == Refusal::Unauthorized) answer.headers.push_back({"WWW-Authenticate", "Bearer"});
    if (why == Refusal::Busy) answer.headers.push_back({"Retry-After", "5"});
    return answer;
}

}  // namespace plimsoll::api
