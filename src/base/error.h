// SPDX-License-Identifier: Apache-2.0
//
// Error and Result: how every fallible function of Plimsoll answers. Codes say what the caller can do about it, messages
// say what happened, with the numbers and the way out (lower case, no full stop). No exceptions of ours.
#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll {

enum class Errc {
    InvalidInput,   // the caller gave something that cannot be; change it
    NotFound,       // what was named does not exist; the message lists what does where it can
    Corrupt,        // bytes from outside do not follow their format
    LimitExceeded,  // well formed, but larger, deeper or longer than a limit of ours
    Unavailable,    // another party (ComfyUI, disk, card) did not do its part; may work later
    Internal,       // a defect of Plimsoll
};

struct Error {
    Errc code = Errc::Internal;
    std::string message;

    friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

// `return fail(Errc::Corrupt, "...")` from a function that returns a Result.
[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string message) {
    return std::unexpected<Error>(Error{code, std::move(message)});
}

// The error of an inner call with the outer subject in front: `model.safetensors: header is not JSON`.
[[nodiscard]] inline std::unexpected<Error> fail_at(std::string_view subject, Error inner) {
    inner.message = std::string(subject) + ": " + inner.message;
    return std::unexpected<Error>(std::move(inner));
}

// One table for all doors: the JSON name, the exit code and the HTTP status of each code.
struct ErrorDoor {
    std::string_view json_name;
    int exit_code;
    int http_status;
};
[[nodiscard]] ErrorDoor error_door(Errc code);

}  // namespace plimsoll

#define PLIMSOLL_CONCAT_INNER(a, b) a##b
#define PLIMSOLL_CONCAT(a, b) PLIMSOLL_CONCAT_INNER(a, b)

// TRY_ASSIGN(auto header, read_header(source)); — binds the value or returns the error. Plain statements, so it is safe in
// coroutines too when co_return is wanted: use CO_TRY_ASSIGN there.
#define TRY_ASSIGN(declaration, expression)                                                                   \
    auto PLIMSOLL_CONCAT(try_result_, __LINE__) = (expression);                                               \
    if (!PLIMSOLL_CONCAT(try_result_, __LINE__))                                                              \
        return std::unexpected(std::move(PLIMSOLL_CONCAT(try_result_, __LINE__)).error());                    \
    declaration = std::move(*PLIMSOLL_CONCAT(try_result_, __LINE__))

#define CO_TRY_ASSIGN(declaration, expression)                                                                \
    auto PLIMSOLL_CONCAT(try_result_, __LINE__) = (expression);                                               \
    if (!PLIMSOLL_CONCAT(try_result_, __LINE__))                                                              \
        co_return std::unexpected(std::move(PLIMSOLL_CONCAT(try_result_, __LINE__)).error());                 \
    declaration = std::move(*PLIMSOLL_CONCAT(try_result_, __LINE__))

// TRY_DO(store.record(run)); — for Result<void>.
#define TRY_DO(expression)                                                                                    \
    do {                                                                                                      \
        if (auto try_do_result = (expression); !try_do_result)                                                \
            return std::unexpected(std::move(try_do_result).error());                                         \
    } while (false)

#define CO_TRY_DO(expression)                                                                                 \
    do {                                                                                                      \
        if (auto try_do_result = (expression); !try_do_result)                                                \
            co_return std::unexpected(std::move(try_do_result).error());                                      \
    } while (false)
