// SPDX-License-Identifier: Apache-2.0
//
// An answer of the REST API as a value, and the one form that all its errors have. Plain values.
#pragma once
#include "base/error.h"
#include "base/json.h"
#include "base/phrase.h"
#include "net/http_message.h"

#include <string>
#include <string_view>
#include <variant>

namespace plimsoll::api {

struct Answer {
    int status = 200;
    std::string content_type = "application/json";
    net::Headers headers;
    std::string body;
};

// What HTTP knows beside the codes of base/error.h.
enum class Refusal : std::uint8_t {
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    UnsupportedMediaType,
    Busy,
};

[[nodiscard]] Answer answer_json(const json::object& object, int status = 200);
// {"error":{"code","message","details"}} with the status of the code.
[[nodiscard]] Answer answer_error(const Error& error, json::value details = nullptr);
[[nodiscard]] Answer refuse(Refusal why, const Phrase& message);

}  // namespace plimsoll::api
