// SPDX-License-Identifier: Apache-2.0
//
// What base/ adds to the installed plimsoll/error.h: making errors, passing them on, and the table
// that maps a code to each door (JSON name, exit code, HTTP status).
#pragma once
#include <plimsoll/error.h>

#include <string>
#include <string_view>
#include <utility>

namespace plimsoll {

// `return fail(Errc::Corrupt, "...")` from a function that returns a Result.
[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string message) {
    return std::unexpected<Error>(Error{code, std::move(message)});
}

// The error of an inner call with the outer subject in front: `model.safetensors: header is not
// JSON`.
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

// TRY_ASSIGN(auto header, read_header(source)); — binds the value or returns the error. Plain
// statements, so it is safe in coroutines too when co_return is wanted: use CO_TRY_ASSIGN there.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration
#define TRY_ASSIGN(declaration, expression)                                                \
    auto PLIMSOLL_CONCAT(try_result_, __LINE__) = (expression);                            \
    if (!PLIMSOLL_CONCAT(try_result_, __LINE__))                                           \
        return std::unexpected(std::move(PLIMSOLL_CONCAT(try_result_, __LINE__)).error()); \
    declaration = std::move(*PLIMSOLL_CONCAT(try_result_, __LINE__))

#define CO_TRY_ASSIGN(declaration, expression)                                                \
    auto PLIMSOLL_CONCAT(try_result_, __LINE__) = (expression);                               \
    if (!PLIMSOLL_CONCAT(try_result_, __LINE__))                                              \
        co_return std::unexpected(std::move(PLIMSOLL_CONCAT(try_result_, __LINE__)).error()); \
    declaration = std::move(*PLIMSOLL_CONCAT(try_result_, __LINE__))

// TRY_DO(store.record(run)); — for Result<void>. NOLINTEND(bugprone-macro-parentheses)
#define TRY_DO(expression)                                            \
    do {                                                              \
        if (auto try_do_result = (expression); !try_do_result)        \
            return std::unexpected(std::move(try_do_result).error()); \
    } while (false)

#define CO_TRY_DO(expression)                                            \
    do {                                                                 \
        if (auto try_do_result = (expression); !try_do_result)           \
            co_return std::unexpected(std::move(try_do_result).error()); \
    } while (false)
